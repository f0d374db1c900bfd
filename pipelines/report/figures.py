"""All figures of a report, by the stem of their files, and the files."""

import io
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from pipelines.report.cost import Rows, Trained, cost_figure
from pipelines.report.curves import curves_figure, mean_curve
from pipelines.report.drawing import plain_text, png
from pipelines.report.estimates import best_first, distinct
from pipelines.report.results import READERS, Result, Results
from pipelines.report.runs import History, RunError, history
from pipelines.report.tradeoff import error_over_patches, error_over_time
from pipelines.storage import objects

MOST_ROWS = 7  # whose curves and bars are shown, as many as there are colours
MEASURES = ("train_loss", "test_error")


@plain_text()
def figures_of(results: Results, histories: Rows | None = None) -> dict[str, Figure]:
    """The figures that the results can show, among "error_over_time", "error_over_patches", "learning_curves", "cost".

    `histories` are those of `histories_of`, read when not given. Of several tasks, whose errors do not compare, each
    figure is drawn for each: its name ends in "-" and the task.
    """
    histories = histories_of(results) if histories is None else histories
    tasks = list(dict.fromkeys(result.summary.get("task", "") for result in results.results))
    if len(tasks) <= 1:
        return _of_task(results, histories)
    parts = {task: tuple(r for r in results.results if r.summary.get("task", "") == task) for task in tasks}
    drawn = {task: _of_task(replace(results, results=part), histories) for task, part in parts.items()}
    return {f"{name}-{task}": figure for task, figures in drawn.items() for name, figure in figures.items()}


def histories_of(results: Results) -> dict[str, list[Trained]]:
    """By row that has any, its finished runs with their histories, or the unfinished where there are no others."""
    rows = {row: distinct(runs) or runs for row, runs in results.by_row().items()}
    with ThreadPoolExecutor(READERS) as pool:
        found = {row: [run for run in pool.map(_trained, runs) if run.history] for row, runs in rows.items()}
    return {row: runs for row, runs in found.items() if runs}


def write_figures(figures: Mapping[str, Figure], folder: str) -> list[str]:
    """Write each as PNG and as PDF to a folder, local or in a bucket; the URIs of the files."""
    files = {}
    for name, figure in tqdm(figures.items(), "figures", unit="figure", disable=None):  # only on a terminal
        files[objects.join(folder, f"{name}.png")] = png(figure)
        files[objects.join(folder, f"{name}.pdf")] = pdf(figure)
    for uri, content in files.items():
        write_file(uri, content)
    return list(files)


def write_file(uri: str, content: bytes) -> None:
    """As a file that is uploaded: a bucket then serves it as what its name says, and a browser shows it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / uri.rsplit("/", 1)[-1]
        path.write_bytes(content)
        objects.upload(path, uri)


@plain_text()
def pdf(figure: Figure) -> bytes:
    """The figure as a PDF, the same bytes each time."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf", metadata={"CreationDate": None})
    return buffer.getvalue()


def _of_task(results: Results, histories: Rows) -> dict[str, Figure]:
    of_rows = results.by_row()
    best = best_first({row: runs for row, runs in of_rows.items() if row in histories})[:MOST_ROWS]
    rows = {row: histories[row] for row in of_rows if row in best}
    drawn = {
        "error_over_time": error_over_time(results),
        "error_over_patches": error_over_patches(results),
        "learning_curves": _learning_curves({row: [run.history for run in runs] for row, runs in rows.items()}),
        "cost": cost_figure(rows),
    }
    if len(rows) == MOST_ROWS < len(of_rows):
        for name in ("learning_curves", "cost"):
            _note(drawn[name], f"the {MOST_ROWS} best of {len(of_rows)} rows, of each model first the best")
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
