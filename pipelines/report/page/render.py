"""Results, table, figures and galleries -> one HTML file that asks nothing of the network."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from pipelines.report import cost, paper_table
from pipelines.report.estimates import finished
from pipelines.report.gallery import Picture
from pipelines.report.page.images import figure_svg
from pipelines.report.page.origins import origins_of
from pipelines.report.page.panels import Views, panels_of
from pipelines.report.results import Results

HERE = Path(__file__).parent
FIGURES = "figures"
"""The folder beside the page with the same figures as files."""
FEW_BOXES = 10  # on an image: more would hide its attention
LOWEST = tuple(paper_table.FORMS)
"""Columns of which the lowest value is the best."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that a report shows."""

    results: Results
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """By the stem of their files; see `figures.figures_of`."""
    galleries: Mapping[str, Sequence[Picture]] = field(default_factory=dict)
    """By task."""
    costs: Sequence[Mapping[str, Any]] = ()
    """Rows of `cost.cost_table`."""
    notes: Sequence[str] = ()
    """What the reader must know of what is missing."""
    made: str = ""
    """When and by what the page was made."""


def render(page: Page) -> str:
    """The page as HTML. All text of it that comes from data is escaped, and its policy lets no foreign script run."""
    css, js = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"css": Markup(css), "js": Markup(js), "policy": _policy(css, js)}
    return environment.get_template("page.html.j2").render(_context(page))


def _policy(css: str, js: str) -> str:
    """The content security policy: our style, our script, inlined images, and nothing else from anywhere."""
    style, script = (b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, js))
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _context(page: Page) -> dict[str, Any]:
    results, views = page.results, Views()
    tasks = list(dict.fromkeys(result.summary.get("task", "") for result in results.results))
    rows = _with_best(paper_table.paper_table(results), LOWEST if len(tasks) == 1 else ())
    galleries = [_gallery(task, pictures, views) for task, pictures in page.galleries.items() if pictures]
    sections = {"results": "Results", "figures": "Figures", "gallery": "Gallery", "cost": "Cost", "runs": "Runs"}
    empty = {"figures": not page.figures, "gallery": not galleries, "cost": not page.costs}
    is_link = results.dashboard.startswith(("http://", "https://"))
    return {
        "title": results.title,
        "kind": results.kind,
        "facts": _facts(results, rows, tasks),
        "one_task": len(tasks) == 1,
        "sections": {id_: name for id_, name in sections.items() if not empty.get(id_)},
        "dashboard": results.dashboard if is_link else "",
        "notes": page.notes,
        "table": {"columns": _columns(rows), "rows": rows},
        "models": list(dict.fromkeys(row["model"] for row in rows)),
        "figures": [_figure(name, figure) for name, figure in page.figures.items()],
        "galleries": galleries,
        "views": list(views.shown.values()),
        "costs": {"columns": cost.COLUMNS, "rows": [{"model": "", "best": ()} | dict(row) for row in page.costs]},
        "runs": origins_of(results),
        "made": page.made,
    }


def _facts(results: Results, rows: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> list[dict[str, str]]:
    """What is said first of all."""
    done, every = len(finished(results.results)), len(results.results)
    facts = [
        {"name": "task" if len(tasks) == 1 else "tasks", "value": ", ".join(task.replace("_", " ") for task in tasks)},
        {"name": "finished runs", "value": str(done), "of": f"of {every}" if done < every else ""},
        {"name": "settings", "value": str(len(rows))},
    ]
    errors = [row for row in rows if row["test_error"] is not None]
    if errors and len(tasks) == 1:
        best = min(errors, key=lambda row: row["test_error"])
        name = "lowest test error" if len(rows) > 1 else "test error"
        facts.append({"name": name, "value": best["test_error_text"], "of": best["row"] if len(rows) > 1 else ""})
    return [{"of": ""} | fact for fact in facts]


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Those of the paper's table; failures where there are any."""
    failed = any(row["error"] for row in rows)
    return {key: title for key, title in paper_table.COLUMNS.items() if key != "error" or failed}


def _with_best(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """The rows, each with those of some columns in which no other is lower; none where all are equal."""
    columns = {key: [row[key] for row in rows if row[key] is not None] for key in keys}
    lowest = {key: min(values) for key, values in columns.items() if len(set(values)) > 1}
    return [dict(row) | {"best": [key for key, least in lowest.items() if row[key] == least]} for row in rows]


def _figure(name: str, figure: Figure) -> dict[str, Any]:
    stem, _, task = name.partition("-")
    width, height = figure.get_size_inches() * 100
    return {
        "stem": stem,
        "task": task.replace("_", " "),
        "light": figure_svg(figure),
        "dark": figure_svg(figure, dark=True),
        "width": round(width),
        "height": round(height),
        "file": f"{FIGURES}/{quote(name)}",
    }


def _gallery(task: str, pictures: Sequence[Picture], views: Views) -> dict[str, Any]:
    shown = [panels_of(picture, views) for picture in pictures]
    return {
        "task": task.replace("_", " "),
        "rows": [seen["row"] for seen in shown[0]["seen"]],
        "truth": _truth([picture["n_truth"] for picture in shown]),
        "pictures": shown,
    }


def _truth(counts: Sequence[int]) -> str:
    """Where boxes are drawn at first: many would hide the attention. "" where there are none."""
    return "" if not any(counts) else "all" if max(counts) <= FEW_BOXES else "image"
