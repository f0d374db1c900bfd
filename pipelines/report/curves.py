"""Learning curves: losses, errors and other measures through training, as in the paper's Figure 2.

Shape suffixes: R trainings of a row, T epochs that all of them have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from pipelines.report.drawing import plain_text, png
from pipelines.report.runs import History, RunError

X = Literal["seconds", "epoch", "updates"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Of Okabe and Ito, which every kind of colour vision tells apart; without their yellow, faint on white."""
STYLES = ("-", "--", ":")
LABELS = {
    "train_loss": "training loss (nats)",
    "test_loss": "test loss (nats)",
    "test_error": "test error",
    "test_auroc": "test AUROC",
    "patches_on_box": "share of patches on a box",
    "attention_on_box": "share of attention on boxes",
    "effective_cells": "effective cells, exp(entropy)",
    "ms_per_sample": "training time (ms/image)",
    "peak_memory_mb": "peak memory (MB)",
}
X_LABELS = {"epoch": "epoch", "updates": "updates"}
TIMES = ((180, 1, "s"), (7200, 60, "min"), (float("inf"), 3600, "h"))
"""Up to so many seconds, seconds of a unit, the unit."""
FEW = 25  # points, up to which each of them is marked
WIDTH = 5.2  # inches: letters of 10 points stay as large as a page's own on a phone
SIDE_BY_SIDE = 3  # panels; more of them make a square


@dataclass(frozen=True, slots=True)
class Curve:
    """A measure of some trainings that differ in seed or fold."""

    x_T: np.ndarray
    """Mean over the trainings."""
    mean_T: np.ndarray
    error_T: np.ndarray
    """Standard error of the mean; 0 for one training."""
    trainings: int


def learning_curves(
    runs: Mapping[str, Sequence[History]],
    measures: Sequence[str] = ("train_loss", "test_error"),
    x: X = "seconds",
) -> bytes:
    """A PNG with a panel a measure and a line a row; see `curves_figure`."""
    return png(curves_figure(runs, measures, x))


@plain_text()
def curves_figure(
    runs: Mapping[str, Sequence[History]], measures: Sequence[str], x: X, *, columns: int | None = None
) -> Figure:
    """A panel a measure, a colour a row: the mean over its trainings, and a band of the standard error of the mean.

    Seconds are those of training alone, without evaluations. Where one row takes ten times as long as another, the
    axis of time is logarithmic; so is that of a loss that falls by more than that. A row is left out where it has no
    such measure, as a CNN has no attention. Of panels in one column the legend is below, and they fit a phone.

    Raises:
        RunError: no row has one of the measures.
    """
    below = columns == 1
    columns = columns or (len(measures) if len(measures) <= SIDE_BY_SIDE else ceil(sqrt(len(measures))))
    rows = ceil(len(measures) / columns)
    size = (WIDTH, 3 * rows + 0.4 + 0.22 * len(runs)) if below else (4.2 * columns + 1.9, 3.2 * rows)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    lines = {}
    for panel, measure in zip(panels, measures, strict=False):
        curves = {row: curve for row, histories in runs.items() if (curve := mean_curve(histories, measure, x))}
        if not curves:
            raise RunError(f"measure {measure!r}", "no run has it", "Check its name against the runs' metrics.jsonl.")
        lines |= _draw(panel, measure, curves, x, {row: style(i) for i, row in enumerate(runs)})
    for unused in panels[len(measures) :]:
        unused.remove()
    title = "mean and standard error" + (" " if below else "\n") + "of n trainings"
    handles, where = [lines[row] for row in runs if row in lines], "lower" if below else "right"
    figure.legend(handles=handles, loc=f"outside {where} center", frameon=False, title=title, title_fontsize=8)
    return figure


def mean_curve(histories: Sequence[History], measure: str, x: X) -> Curve | None:
    """The measure over those epochs of which every training has it; None when there are none."""
    of_trainings = [_points(history, measure, x) for history in histories]
    epochs = sorted(set.intersection(*(set(points) for points in of_trainings)))
    if not epochs:
        return None
    points_RT2 = np.array([[points[epoch] for epoch in epochs] for points in of_trainings])
    x_T, mean_T = points_RT2.mean(axis=0).T
    n = len(of_trainings)
    error_T = points_RT2[..., 1].std(axis=0, ddof=1) / sqrt(n) if n > 1 else np.zeros_like(mean_T)
    return Curve(x_T, mean_T, error_T, n)


def _points(history: History, measure: str, x: X) -> dict[int, tuple[float, float]]:
    """By epoch, where it lies on the x axis and the measure."""
    spent = np.cumsum([row["seconds"] for row in history]) if x == "seconds" else [row[x] for row in history]
    return {row["epoch"]: (at, row[measure]) for at, row in zip(spent, history, strict=True) if measure in row}


def _draw(
    axes: Axes, measure: str, curves: Mapping[str, Curve], x: X, styles: Mapping[str, Mapping[str, str]]
) -> dict[str, object]:
    """Lines by row."""
    unit, x_label = _time_unit(curves) if x == "seconds" else (1, X_LABELS[x])
    lines = {}
    for row, curve in curves.items():
        marker = "o" if len(curve.x_T) <= FEW else ""
        label = f"{row} (n = {curve.trainings})"
        (lines[row],) = axes.plot(
            curve.x_T / unit, curve.mean_T, **styles[row], marker=marker, markersize=3, linewidth=1.6, label=label
        )
        if curve.trainings > 1:
            low_T, high_T = curve.mean_T - curve.error_T, curve.mean_T + curve.error_T
            colour = styles[row]["color"]
            axes.fill_between(curve.x_T / unit, low_T, high_T, color=colour, alpha=0.25, linewidth=0)
    if x == "seconds" and _spread([curve.x_T[-1] for curve in curves.values()]) > 10:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    if measure.endswith("loss") and _spread(np.concatenate([curve.mean_T for curve in curves.values()])) > 10:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_minor_formatter("{x:g}")
    axes.set(xlabel=x_label, ylabel=LABELS.get(measure, measure.replace("_", " ")))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    return lines


def style(i: int) -> dict[str, str]:
    """Colour and dashes of the i-th line: all others differ in one of them, up to 21."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i // len(COLOURS) % len(STYLES)]}


def _time_unit(curves: Mapping[str, Curve]) -> tuple[int, str]:
    longest = max(curve.x_T[-1] for curve in curves.values())
    seconds, unit = next((seconds, unit) for most, seconds, unit in TIMES if longest <= most)
    return seconds, f"training time ({unit})"


def _spread(values: Sequence[float] | np.ndarray) -> float:
    """Largest over smallest; 1 where a logarithm does not exist: a loss less an entropy term can be negative."""
    return max(values) / min(values) if min(values) > 0 else 1.0
