"""Results, table, figures and galleries -> one HTML file that asks nothing of the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from pipelines.report import cost, paper_table
from pipelines.report.estimates import finished
from pipelines.report.gallery import Picture
from pipelines.report.page.origins import origins_of
from pipelines.report.page.parts import html, shown
from pipelines.report.results import Results

LOWEST = tuple(paper_table.FORMS)
"""Columns of which the lowest value is the best."""
LOOKED = {
    "title": "What the models looked at",
    "lead": "Test images as each model sees them.",
    "error": "at most one",
}
"""Of the gallery."""


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
    """The page as HTML."""
    return html("results.html.j2", _context(page))


def _context(page: Page) -> dict[str, Any]:
    results, of_page = page.results, shown(page.figures, page.galleries)
    tasks = list(dict.fromkeys(result.summary.get("task", "") for result in results.results))
    rows = _with_best(paper_table.paper_table(results), LOWEST if len(tasks) == 1 else ())
    sections = {"results": "Results", "figures": "Figures", "gallery": "Gallery", "cost": "Cost", "runs": "Runs"}
    empty = {"figures": not of_page["figures"], "gallery": not of_page["galleries"], "cost": not page.costs}
    is_link = results.dashboard.startswith(("http://", "https://"))
    return of_page | {
        "title": results.title,
        "kind": results.kind,
        "facts": _facts(results, rows, tasks),
        "one_task": len(tasks) == 1,
        "sections": {id_: name for id_, name in sections.items() if not empty.get(id_)},
        "dashboard": results.dashboard if is_link else "",
        "notes": page.notes,
        "table": {"columns": _columns(rows), "rows": rows},
        "models": list(dict.fromkeys(row["model"] for row in rows)),
        "costs": {"columns": cost.COLUMNS, "rows": [{"model": "", "best": ()} | dict(row) for row in page.costs]},
        "looked": LOOKED,
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
