"""All figures of a report, by the stem of their files, and the files."""

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf, isfinite

from matplotlib.figure import Figure

from pipelines.report.cost import Trained, cost_figure
from pipelines.report.curves import curves_figure, mean_curve
from pipelines.report.drawing import png
from pipelines.report.estimates import estimate, finished
from pipelines.report.results import READERS, Result, Results
from pipelines.report.runs import History, RunError, history
from pipelines.report.tradeoff import error_over_patches, error_over_time
from pipelines.storage import objects

MOST_ROWS = 7  # whose curves and bars are shown, as many as there are colours
MEASURES = ("train_loss", "test_error")


def figures_of(results: Results) -> dict[str, Figure]:
    """The figures that the results can show, among "error_over_time", "error_over_patches", "learning_curves", "cost".

    Of several tasks, whose errors do not compare, each figure is drawn for each: its name ends in "-" and the task.
    """
    tasks = list(dict.fromkeys(result.summary.get("task", "") for result in results.results))
    if len(tasks) <= 1:
        return _of_task(results)
    parts = {task: tuple(r for r in results.results if r.summary.get("task", "") == task) for task in tasks}
    drawn = {task: _of_task(replace(results, results=part)) for task, part in parts.items()}
    return {f"{name}-{task}": figure for task, figures in drawn.items() for name, figure in figures.items()}


def histories_of(results: Results, most: int = MOST_ROWS) -> dict[str, list[Trained]]:
    """By row, its finished runs with their histories, or the unfinished where there are no others.

    Of more than `most` rows the best of each model, then the second best, and so on; in the order of the results.
    """
    rows = {row: finished(runs) or runs for row, runs in results.by_row().items()}
    with ThreadPoolExecutor(READERS) as pool:
        found = {row: [run for run in pool.map(_trained, runs) if run.history] for row, runs in rows.items()}
    chosen = _best({row: rows[row] for row, runs in found.items() if runs})[:most]
    return {row: runs for row, runs in found.items() if row in chosen}


def write_figures(figures: Mapping[str, Figure], folder: str) -> list[str]:
    """Write each as PNG and as PDF to a folder, local or in a bucket; the URIs of the files."""
    files = {}
    for name, figure in figures.items():
        files[objects.join(folder, f"{name}.png")] = png(figure)
        files[objects.join(folder, f"{name}.pdf")] = pdf(figure)
    for uri, content in files.items():
        objects.write_bytes(uri, content)
    return list(files)


def pdf(figure: Figure) -> bytes:
    """The figure as a PDF, the same bytes each time."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf", metadata={"CreationDate": None})
    return buffer.getvalue()


def _of_task(results: Results) -> dict[str, Figure]:
    rows = histories_of(results)
    drawn = {
        "error_over_time": error_over_time(results),
        "error_over_patches": error_over_patches(results),
        "learning_curves": _learning_curves({row: [run.history for run in runs] for row, runs in rows.items()}),
        "cost": cost_figure(rows),
    }
    if len(rows) == MOST_ROWS < len(results.by_row()):
        for name in ("learning_curves", "cost"):
            _note(drawn[name], f"the {MOST_ROWS} best of {len(results.by_row())} rows, of each model first the best")
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _learning_curves(runs: Mapping[str, Sequence[History]]) -> Figure | None:
    """None where no run has two epochs."""
    if max((len(history) for of_row in runs.values() for history in of_row), default=0) < 2:
        return None
    measures = [name for name in MEASURES if any(mean_curve(of_row, name, "seconds") for of_row in runs.values())]
    return curves_figure(runs, measures, "seconds", columns=1) if measures else None


def _trained(result: Result) -> Trained:
    """With an empty history where there is none: a trial that failed at once, or left it on another machine."""
    try:
        return Trained(result.summary, history(result.run) if result.run else ())
    except RunError:
        return Trained(result.summary, ())


def _note(figure: Figure | None, note: str) -> None:
    """Below the title of the legend, if it has one."""
    for legend in figure.legends if figure else ():
        title = legend.get_title()
        legend.set_title(f"{title.get_text()}\n{note}" if title.get_visible() else note, prop={"size": 8})


def _best(rows: Mapping[str, Sequence[Result]]) -> list[str]:
    """The rows, best first: by their rank among those of their model, then by test error."""
    by_error = sorted(rows, key=lambda row: _error(rows[row]))
    models = [rows[row][0].summary.get("model") for row in by_error]
    rank = {row: models[:i].count(models[i]) for i, row in enumerate(by_error)}
    return sorted(by_error, key=rank.__getitem__)


def _error(runs: Sequence[Result]) -> float:
    """Infinite where there is none; the row then comes last."""
    found = estimate(runs, "test_error")
    return found.value if found and isfinite(found.value) else inf
