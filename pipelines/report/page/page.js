"use strict";
// Sorting, filters, the gallery's controls and the large view. Without it the page shows everything, in the order made.
document.documentElement.classList.add("js");

const all = (selector, where = document) => [...where.querySelectorAll(selector)];

// --- tables ---------------------------------------------------------------------------------------------------------
function valueOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text === "" ? null : cell.dataset.value === undefined ? text : Number(text);
}

function compare(one, other) {
  return typeof one === "number" ? one - other : one.localeCompare(other, undefined, { numeric: true });
}

function sortBy(table, head) {
  const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, value: valueOf(row, head.cellIndex) }));
  rows.sort((a, b) => {
    if (a.value === null || b.value === null) return (a.value === null) - (b.value === null); // what is missing: last
    return direction * compare(a.value, b.value);
  });
  table.tBodies[0].append(...rows.map(({ row }) => row));
}

all("table.sortable").forEach((table) =>
  all("thead th", table).forEach((head) =>
    head.querySelector("button").addEventListener("click", () => sortBy(table, head))));

all("form[data-filters]").forEach((form) => {
  const rows = all("tbody tr", document.getElementById(form.dataset.filters));
  const filter = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const model = form.elements.model ? form.elements.model.value : "";
    rows.forEach((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word)) || (model !== "" && row.dataset.model !== model);
    });
    const shown = rows.filter((row) => !row.hidden).length;
    form.querySelector(".count").value = `${shown} of ${rows.length} settings`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
});

// --- gallery --------------------------------------------------------------------------------------------------------
const orders = {
  wrong: (a, b) => a.right - b.right || (a.right ? a.probability - b.probability : b.probability - a.probability),
  right: (a, b) => b.right - a.right || (a.right ? b.probability - a.probability : a.probability - b.probability),
  unsure: (a, b) => a.probability - b.probability,
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
};

function saidOf(picture, column) {
  const { right, probability } = picture.querySelector(`[data-column="${column}"]`).dataset;
  const known = right === "" ? 0.5 : Number(right); // without a label: between wrong and right
  return { picture, name: picture.dataset.name, right: known, probability: Number(probability) };
}

all("[data-gallery]").forEach((gallery) => {
  const form = gallery.querySelector("form");
  const pictures = all(".picture", gallery);
  const arrange = () => {
    const by = form.elements.by ? form.elements.by.value : "0";
    const show = form.elements.show ? form.elements.show.value : "";
    const said = pictures.map((picture) => saidOf(picture, by)).sort(orders[form.elements.order.value]);
    said.forEach(({ picture, right }) => { picture.hidden = show !== "" && right !== Number(show === "right"); });
    gallery.querySelector(".pictures").append(...said.map(({ picture }) => picture));
    const shown = pictures.filter((picture) => !picture.hidden).length;
    form.querySelector(".count").value = `${shown} of ${pictures.length} images`;
  };
  const draw = () => {
    gallery.classList.toggle("no-patches", !form.elements.patches.checked);
    const truth = form.elements.truth ? form.elements.truth.value : "";
    ["image", "all"].forEach((where) => gallery.classList.toggle(`truth-${where}`, truth === where));
    gallery.style.setProperty("--attention", form.elements.attention.value / 100);
    all("input[name=column]", form).forEach(({ value, checked }) =>
      all(`[data-column="${value}"]`, gallery).forEach((panel) => { panel.hidden = !checked; }));
  };
  form.addEventListener("input", () => { draw(); arrange(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.reset(); // what a reload remembers is not what the page shows
  arrange();
});

// --- large view -----------------------------------------------------------------------------------------------------
const large = document.getElementById("large");

function open(button) {
  const content = large.querySelector(".content");
  content.replaceChildren(...[...button.children].map((child) => child.cloneNode(true)));
  all(".patches", content).forEach((boxes) => boxes.setAttribute("font-size", boxes.getAttribute("font-size") / 2));
  if (button.matches(".seen > .open")) {
    const beside = document.createElement("div");
    beside.append(...all(":scope > figcaption, :scope > .strip", button.parentElement).map((part) => part.cloneNode(true)));
    content.append(beside);
  }
  const gallery = button.closest("[data-gallery]"); // draws the same layers
  const part = button.closest(".seen") ? "of-model" : "of-image";
  large.className = gallery ? `over-image ${part} ${gallery.className}` : "";
  large.style.setProperty("--attention", gallery ? gallery.style.getPropertyValue("--attention") || 0.6 : 0.6);
  large.querySelector("h2").textContent = button.dataset.title;
  large.showModal(); // Escape closes it, and the focus goes back to the button
}

all("button.open").forEach((button) => button.addEventListener("click", () => open(button)));
large.querySelector(".close").addEventListener("click", () => large.close());
large.addEventListener("click", ({ target }) => { if (target === large) large.close(); }); // beside it
large.addEventListener("close", () => large.querySelector(".content").replaceChildren());
addEventListener("beforeprint", () => all("details").forEach((details) => { details.open = true; }));
