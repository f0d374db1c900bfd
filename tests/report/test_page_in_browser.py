"""The report in a real browser, headless: what a reader does with it, by mouse and by keyboard."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from pipelines.report.page.write import write_report
from tests.report.trained import write_catalog, write_trained
from tests.scoring.rows import Scored, failed, write_scores

MARKUP = '<img src=x onerror="window.hacked=1">\'</script><script>window.hacked=1</script>'
SAID = {MARKUP: (4.0, 0.0), "b": (2.0, 0.0), "c": (0.1, 0.0), "d": (0.0, 3.0)}
CLASSES = ("Lymphangioma" * 11, "Haemangioma" * 12)  # words that no line holds
WIDTHS = (360, 800, 1440)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, for this module alone: Playwright keeps an event loop running in its thread."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no `chromium` on the PATH: apt-get install chromium")
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses root
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=root)
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("browser")
    catalog = write_catalog(folder / "catalog", list(SAID), {"b": [(4.0, 8.0, 12.0, 20.0)]})
    runs = folder / "<b>runs"
    write_trained(str(runs / "ats"), catalog, SAID, kept=["b"], classes=CLASSES)
    write_trained(str(runs / "ats-2"), catalog, SAID | {"c": (0.0, 1.0)}, n_patches=2, classes=CLASSES)
    write_trained(
        str(runs / "uniform"), catalog, SAID | {"b": (0.0, 1.0)}, model="uniform", n_patches=10, classes=CLASSES
    )
    write_trained(str(runs / "cnn"), catalog, SAID, model="cnn", n_patches=0, classes=CLASSES)
    return f"file://{write_report(str(runs), str(folder / 'out'))}"


class Seen:
    """What a page did that a reader does not see."""

    def __init__(self, page: Page) -> None:
        self.messages: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


@pytest.fixture
def page(browser: Browser, report: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1000, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    opened = context.new_page()
    seen = Seen(opened)
    opened.goto(report)
    yield opened
    context.close()
    assert seen.messages == []
    assert [url for url in seen.requests if not url.startswith("data:")] == [report]


def column(page: Page, number: int) -> list[str]:
    return page.locator(f"#results-table tbody tr:visible > :nth-child({number})").all_inner_texts()


def names(page: Page) -> list[str]:
    return page.locator(".picture:visible").evaluate_all("all => all.map(one => one.dataset.name)")


def focused(page: Page) -> Locator:
    return page.locator(":focus")


def test_it_loads_without_an_error_and_without_the_network(page: Page) -> None:
    expect(page.locator("h1")).to_have_text("<b>runs")
    broken = page.locator("img").evaluate_all("all => all.filter(one => !one.complete || !one.naturalWidth).length")
    assert broken == 0
    assert page.locator("svg.image").first.evaluate("one => one.getBoundingClientRect().height") > 50


def test_its_policy_lets_no_script_ask_the_network(browser: Browser, report: str) -> None:
    context = browser.new_context()
    opened = context.new_page()
    seen = Seen(opened)
    opened.goto(report)
    asked = "fetch('https://example.invalid').then(() => 'sent', error => error.name)"
    assert opened.evaluate(asked) == "TypeError"
    assert "violates the following Content Security Policy" in seen.messages[0]
    context.close()


def test_a_column_is_sorted_by_its_numbers(page: Page) -> None:
    patches = page.get_by_role("columnheader", name="patches").first
    assert column(page, 2) == ["2", "3", "10", "0"]
    patches.get_by_role("button").click()
    assert column(page, 2) == ["0", "2", "3", "10"]
    expect(patches).to_have_attribute("aria-sort", "ascending")
    patches.get_by_role("button").click()
    assert column(page, 2) == ["10", "3", "2", "0"]
    page.get_by_role("columnheader", name="model").first.get_by_role("button").click()
    assert column(page, 1) == ["ats-2", "ats-3", "cnn-12x16", "uniform-10"]
    assert page.locator("#results-table th[aria-sort]").count() == 1


def test_the_keyboard_reaches_the_sort_buttons_and_shows_where_it_is(page: Page) -> None:
    page.get_by_label("Filter").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        if focused(page).inner_text().startswith("patches"):
            break
    assert focused(page).evaluate("one => one.tagName") == "BUTTON"
    assert focused(page).evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert column(page, 2) == ["0", "2", "3", "10"]
    page.keyboard.press("Space")
    assert column(page, 2) == ["10", "3", "2", "0"]


def test_rows_are_filtered_by_text_and_by_model(page: Page) -> None:
    count = page.locator("#results .count")
    expect(count).to_have_text("4 of 4 settings")
    page.get_by_label("Filter").fill("ATS")
    assert column(page, 1) == ["ats-2", "ats-3"]
    expect(count).to_have_text("2 of 4 settings")
    page.get_by_label("Filter").fill("")
    page.locator("#results select[name=model]").select_option("uniform")
    assert column(page, 1) == ["uniform-10"]
    page.locator("#results select[name=model]").select_option("all models")
    assert len(column(page, 1)) == 4


def test_an_image_opens_large_and_escape_gives_the_focus_back(page: Page) -> None:
    button = page.locator(".seen button.open").first
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog.locator("h2")).to_have_text(button.get_attribute("data-title") or "")
    assert dialog.locator("svg.image").bounding_box()["width"] > 2 * button.bounding_box()["width"]
    assert dialog.locator(".strip img").count() == button.locator("xpath=..").locator(".strip img").count() > 0
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert button.evaluate("one => one === document.activeElement")
    button.click()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    assert button.evaluate("one => one === document.activeElement")


def test_figures_and_the_attention_through_training_open_large_too(page: Page) -> None:
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="Open large: Error against time").click()
    expect(dialog.locator("img")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="through training").first.click()
    assert dialog.locator(".epoch").count() == 3
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_a_name_with_markup_is_inert(page: Page) -> None:
    expect(page.locator("h3").filter(has_text=MARKUP)).to_have_count(1)
    page.locator(f"[data-name={quoted(MARKUP)}] button.open").first.click()
    expect(page.get_by_role("dialog").locator("h2")).to_have_text(MARKUP)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x]").count() == 0


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def test_images_are_ordered_and_chosen_by_what_a_model_says_of_them(page: Page) -> None:
    said = page.locator(".picture").evaluate_all(
        """all => all.map(one => [one.dataset.name, [...one.querySelectorAll("[data-column]")].map(
            seen => [Number(seen.dataset.right), Number(seen.dataset.probability)])])"""
    )
    for by in range(4):
        page.get_by_label("Judged by").select_option(str(by))
        of_model = {name: columns[by] for name, columns in said}
        page.get_by_label("Order").select_option("unsure")
        assert names(page) == sorted(of_model, key=lambda name: of_model[name][1])
        page.get_by_label("Order").select_option("right")
        sure = {name: p if right else -p for name, (right, p) in of_model.items()}
        assert names(page) == sorted(sure, key=lambda name: -sure[name])
        page.get_by_label("Order").select_option("wrong")
        assert names(page) == sorted(sure, key=lambda name: sure[name])
        for show, wanted in (("wrong", 0), ("right", 1)):
            page.get_by_label("Show").select_option(show)
            assert set(names(page)) == {name for name, (right, _) in of_model.items() if right == wanted}
        page.get_by_label("Show").select_option("")
    assert len(names(page)) == len(SAID)


def test_layers_and_models_can_be_hidden(page: Page) -> None:
    shown = page.locator("[data-name=b]")
    expect(shown.locator(".seen .truth").first).to_be_visible()
    page.get_by_label("Ground truth").select_option("hidden")
    expect(shown.locator(".seen .truth").first).to_be_hidden()
    expect(shown.locator(".seen .patches").first).to_be_visible()
    page.get_by_label("patches", exact=True).uncheck()
    expect(shown.locator(".seen .patches").first).to_be_hidden()
    page.get_by_label("Opacity of the attention, percent").fill("20")
    opacity = shown.locator(".attention").first.evaluate("one => getComputedStyle(one).opacity")
    assert float(opacity) == pytest.approx(0.2)
    page.get_by_label("cnn-12x16", exact=True).uncheck()
    expect(shown.locator(".seen:visible")).to_have_count(3)


def test_a_sort_button_is_called_as_its_column(page: Page) -> None:
    page.get_by_role("columnheader", name="patches", exact=True).first.get_by_role(
        "button", name="patches", exact=True
    ).click()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator(".seen button.open").first.click()
    box = page.get_by_role("dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_it_is_dark_where_the_reader_wants_it_and_white_on_paper(page: Page) -> None:
    def brightness() -> float:
        colour = page.locator("body").evaluate("one => getComputedStyle(one).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(", "))) / 3

    def figure() -> str:
        return page.locator("picture img").first.evaluate("one => one.currentSrc")

    light = figure()
    assert brightness() > 240
    page.emulate_media(color_scheme="dark")
    assert brightness() < 40
    page.wait_for_function("before => document.querySelector('picture img').currentSrc !== before", arg=light)
    page.emulate_media(color_scheme="dark", media="print")
    assert brightness() == 255
    expect(page.locator("form").first).to_be_hidden()


def test_without_its_script_it_shows_everything(browser: Browser, report: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(report)
    expect(opened.locator(".picture:visible")).to_have_count(len(SAID))
    expect(opened.locator("form").first).to_be_hidden()
    context.close()


def test_of_scores_too_what_is_wrong_or_not_known_is_told_apart(browser: Browser, tmp_path: Path) -> None:
    scored = Scored(tmp_path, [MARKUP, "right", "wrong", "unknown"])
    said = {row["image_id"]: row for row in scored.rows(etag="")}
    for image_id, right in (("right", True), ("wrong", False), (MARKUP, False)):
        other = {"yes": "no", "no": "yes"}[said[image_id]["prediction"]]
        said[image_id]["label"] = said[image_id]["prediction"] if right else other
    said["unknown"]["label"] = ""
    rows = [*said.values(), failed("gone", "missing", MARKUP)]
    uri = write_scores(scored.out, rows, model=scored.run, catalog=scored.catalog)
    context = browser.new_context(viewport={"width": 360, "height": 800})
    opened = context.new_page()
    seen = Seen(opened)
    opened.goto(f"file://{write_report(uri, str(tmp_path / 'report'))}")
    assert set(names(opened)[:2]) == {MARKUP, "wrong"}
    assert names(opened)[2:] == ["unknown", "right"]
    opened.get_by_label("Order").select_option("right")
    assert names(opened)[:2] == ["right", "unknown"]
    for show, wanted in (("wrong", {MARKUP, "wrong"}), ("right", {"right"})):
        opened.get_by_label("Show").select_option(show)
        assert set(names(opened)) == wanted
    opened.get_by_role("columnheader", name="images", exact=True).get_by_role("button").click()
    assert column(opened, 1) == ["missing", "ok"]
    assert opened.evaluate("document.documentElement.scrollWidth") == 360
    context.close()
    assert seen.messages == []
