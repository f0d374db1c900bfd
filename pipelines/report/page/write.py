"""From a URI of results to the page and its figures."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from matplotlib.figure import Figure

from pipelines.provenance import commit
from pipelines.report.cost import cost_table
from pipelines.report.estimates import distinct, finished
from pipelines.report.figures import figures_of, histories_of, write_figures, write_file
from pipelines.report.gallery import Picture, gallery_of
from pipelines.report.page.parts import FIGURES
from pipelines.report.page.render import Page, render
from pipelines.report.page.scores import pictures_of, render_scores, strange_labels
from pipelines.report.results import Result, Results, results_of
from pipelines.report.score_columns import columns_of
from pipelines.report.score_figures import score_figures
from pipelines.report.scores import is_scores, scores_of
from pipelines.storage import objects

NAME = "report.html"


def write_report(uri: str, out: str, *, images: int = 12, models: int = 6) -> str:
    """Write the page of what lies at a URI, and its figures as PNG and PDF below; the page's URI.

    Args:
        uri: of a run, a sweep, a folder of them, or of scores.
        out: a folder, local or in a bucket.
        images: in the gallery, of each task; 0 for no gallery.
        models: settings side by side in it, at most.

    Raises:
        RunError: there are no results.
    """
    made = f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by commit {commit()}."
    html, figures = _of_scores(uri, images, made) if is_scores(uri) else _of_results(uri, images, models, made)
    write_figures(figures, objects.join(out, FIGURES))
    path = objects.join(out, NAME)
    write_file(path, html.encode())
    return path


def _of_results(uri: str, images: int, models: int, made: str) -> tuple[str, Mapping[str, Figure]]:
    results = results_of(uri)
    histories = histories_of(results)
    figures = figures_of(results, histories)
    galleries, notes = _galleries(results, images, models) if images else ({}, [])
    page = Page(
        results=results,
        figures=figures,
        galleries=galleries,
        costs=cost_table(histories),
        notes=[*_unfinished(results), *_repeated(results), *notes],
        made=made,
    )
    return render(page), figures


def _of_scores(uri: str, images: int, made: str) -> tuple[str, Mapping[str, Figure]]:
    scores = scores_of(uri)
    columns = columns_of(scores)
    figures = score_figures(columns, scores.classes)
    pictures, notes = pictures_of(scores, images) if images else ([], [])
    return render_scores(scores, columns, figures, pictures, [*strange_labels(columns), *notes], made), figures


def _galleries(results: Results, images: int, models: int) -> tuple[dict[str, list[Picture]], list[str]]:
    """By task; and why runs are left out. A report of runs whose images are gone still has all the rest."""
    galleries, notes = {}, []
    for task, of_task in _by_task(results.results).items():
        galleries[task], errors = gallery_of(of_task, images=images, models=models)
        if galleries[task]:
            notes += [f"The gallery of {task} is without {name}. {error}" for name, error in errors.items()]
        else:
            notes += [f"There is no gallery of {task}. {error}" for error in dict.fromkeys(map(str, errors.values()))]
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
    return [f"{len(errors)} of {len(results.results)} runs have not finished; the table's last column says why."]


def _repeated(results: Results) -> list[str]:
    n = sum(len(finished(runs)) - len(distinct(runs)) for runs in results.by_row().values())
    if not n:
        return []
    return [f"Of {len(results.results)} runs, {n} left out: another has the same setting, seed and test splits."]
