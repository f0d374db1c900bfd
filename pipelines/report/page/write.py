"""From a URI of results to the page and its figures."""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ats_core.errors import AtsError
from pipelines.provenance import commit
from pipelines.report.cost import cost_table
from pipelines.report.figures import figures_of, histories_of, write_figures
from pipelines.report.gallery import Picture, gallery_of
from pipelines.report.page.render import FIGURES, Page, render
from pipelines.report.results import Result, Results, results_of
from pipelines.storage import objects

NAME = "report.html"


def write_report(uri: str, out: str, *, images: int = 12, models: int = 6) -> str:
    """Write the page of a run, a sweep or a folder of them, and its figures as PNG and PDF below; the page's URI.

    Args:
        uri: of the results.
        out: a folder, local or in a bucket.
        images: test images in the gallery of a task; 0 for no gallery.
        models: settings side by side in it, at most.

    Raises:
        RunError: there are no results.
    """
    results = results_of(uri)
    figures = figures_of(results)
    write_figures(figures, objects.join(out, FIGURES))
    galleries, notes = _galleries(results, images, models) if images else ({}, [])
    page = Page(
        results=results,
        figures=figures,
        galleries=galleries,
        costs=cost_table(histories_of(results, len(results.results))),
        notes=[*_unfinished(results), *notes],
        made=f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by commit {commit()}.",
    )
    path = objects.join(out, NAME)
    _write_html(path, render(page))
    return path


def _galleries(results: Results, images: int, models: int) -> tuple[dict[str, list[Picture]], list[str]]:
    """By task; and where a task has none, why. A report of runs whose images are gone still has all the rest."""
    galleries, notes = {}, []
    for task, of_task in _by_task(results.results).items():
        try:
            galleries[task] = gallery_of(of_task, images=images, models=models)
        except AtsError as error:
            notes.append(f"There is no gallery of {task}. {error}")
    return galleries, notes


def _by_task(results: Sequence[Result]) -> dict[str, list[Result]]:
    tasks: dict[str, list[Result]] = {}
    for result in results:
        tasks.setdefault(result.summary.get("task", ""), []).append(result)
    return tasks


def _unfinished(results: Results) -> list[str]:
    errors = [result for result in results.results if result.error]
    if not errors:
        return []
    return [f"{len(errors)} of {len(results.results)} runs gave no result; the table's last column says why."]


def _write_html(uri: str, html: str) -> None:
    """As a file that is uploaded: a bucket then serves it as what its name says, and a browser shows it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        path.write_text(html, encoding="utf-8")
        objects.upload(path, uri)
