"""What a scoring gave, drawn: classes, probabilities, patches, errors of the draw, calibration, failures."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from pipelines.report.curves import COLOURS, WIDTH
from pipelines.report.drawing import MAP_COLOURS, plain_text
from pipelines.report.score_columns import Columns

MOST_BARS = 20
FEW = 30  # numbers of patches, up to which each is a bar
BINS = 10  # of a reliability diagram
RIGHT, WRONG, UNKNOWN, FAINT = COLOURS[0], COLOURS[1], "#bbbbbb", "#555555"
HEIGHT = 3.4


@plain_text()
def score_figures(columns: Columns, classes: Sequence[str]) -> dict[str, Figure]:
    """The figures that the scores can show, by the stem of their files."""
    drawn = {
        "predictions": _predictions(columns, classes),
        "probabilities": _probabilities(columns),
        "reliability": _reliability(columns),
        "patches_used": _patches_used(columns),
        "error_over_margin": _error_over_margin(columns),
        "failures": _failures(columns),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _predictions(columns: Columns, classes: Sequence[str]) -> Figure | None:
    """None where nothing was scored."""
    counts = dict(zip(classes, np.bincount(columns.said_n, minlength=len(classes)).tolist(), strict=True))
    return _bars(counts, RIGHT) if len(columns.said_n) else None


def _failures(columns: Columns) -> Figure | None:
    """None where nothing failed."""
    counts = {row["status"]: row["images"] for row in columns.by_status if row["status"] != "ok"}
    return _bars(counts, WRONG) if counts else None


def _bars(counts: Mapping[str, int], colour: str) -> Figure:
    """A bar a name, the longest first; the smallest of many together."""
    names = sorted(counts, key=lambda name: -counts[name])
    if len(names) > MOST_BARS:
        names, rest = names[: MOST_BARS - 1], names[MOST_BARS - 1 :]
        counts = dict(counts) | {(others := f"{len(rest):,} others"): sum(counts[name] for name in rest)}
        names.append(others)
    figure, axes = _axes(0.28 * len(names) + 0.9)
    bars = axes.barh(names[::-1], [counts[name] for name in names[::-1]], color=colour, height=0.65)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    axes.set(xlabel="images")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    return figure


def _probabilities(columns: Columns) -> Figure | None:
    """Of images with labels, those that are wrong apart; None where nothing was scored."""
    top_n, known_n = columns.two_n2[:, 1], columns.known_n
    if not len(top_n):
        return None
    figure, axes = _axes()
    parts = {"no label": (top_n[~known_n], UNKNOWN if known_n.any() else RIGHT)}
    for name, wrong, colour in (("right", False, RIGHT), ("wrong", True, WRONG)):
        parts[name] = (top_n[known_n][columns.wrong_m == wrong], colour)
    shown = {name: part for name, part in parts.items() if len(part[0])}
    values, colours = zip(*shown.values(), strict=True)
    ends = min(float(top_n.min()), 0.99), 1.0
    axes.hist(values, bins=40, range=ends, stacked=True, color=colours, label=list(shown))
    axes.set(xlabel="largest probability", ylabel="images")
    axes.yaxis.get_major_locator().set_params(integer=True)
    if known_n.any():
        figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return figure


def _patches_used(columns: Columns) -> Figure | None:
    """None where all images had as many."""
    numbers, images = np.unique(columns.patches_n, return_counts=True)
    if len(numbers) < 2:
        return None
    figure, axes = _axes()
    if len(numbers) <= FEW:
        axes.bar([f"{n:,}" for n in numbers], images, color=RIGHT, width=0.75)
        axes.tick_params(axis="x", rotation=90 if len(numbers) > 12 else 0)
    else:
        axes.hist(columns.patches_n, bins=40, color=RIGHT)
    mean = columns.patches_n.mean()
    axes.set(xlabel="patches of an image", ylabel="images")
    axes.yaxis.get_major_locator().set_params(integer=True)
    _note(figure, f"mean {mean:,.1f}, at most {numbers[-1]:,}")
    return figure


def _error_over_margin(columns: Columns) -> Figure | None:
    """Both in logits; None where no image has a standard error above 0."""
    told_n = np.isfinite(columns.error_n) & (columns.error_n > 0)
    if not told_n.any():
        return None
    least = np.finfo(np.float32).tiny
    margin_n = np.diff(np.log(np.maximum(columns.two_n2[told_n], least)), axis=1)[:, 0]
    error_n = columns.error_n[told_n]
    figure, axes = _axes()
    density = axes.hexbin(margin_n, error_n, gridsize=(36, 22), bins="log", mincnt=1, cmap=MAP_COLOURS, linewidths=0.2)
    figure.colorbar(density, ax=axes, label="images", pad=0.02, format="{x:,.0f}").minorticks_off()
    right, top = axes.get_xlim()[1], axes.get_ylim()[1]
    axes.plot([0, 2 * top], [0, top], color=FAINT, linestyle=(0, (4, 2)), linewidth=1.4)
    axes.set(xlim=(0, right), ylim=(0, top))
    axes.set(xlabel="margin between the two largest logits", ylabel="its standard error")
    near = (margin_n < 2 * error_n).mean()
    _note(figure, f"{near:.1%} of {len(error_n):,} images are above the line: a margin under two standard errors")
    return figure


def _reliability(columns: Columns) -> Figure | None:
    """None where no image has a label."""
    top_m, right_m = columns.labelled_mC.max(1), ~columns.wrong_m
    if not len(top_m):
        return None
    bin_m = np.minimum((top_m * BINS).astype(int), BINS - 1)
    bins = [(top_m[bin_m == b], right_m[bin_m == b]) for b in np.unique(bin_m)]
    x, y = (np.array([values.mean() for values in column]) for column in zip(*bins, strict=True))
    ends = [binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson") for _, right in bins]
    bars = np.clip([y - [end.low for end in ends], [end.high for end in ends] - y], 0, 1)
    gap = float(np.average(np.abs(x - y), weights=[len(top) for top, _ in bins]))
    figure, axes = _axes()
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=(0, (4, 2)), linewidth=1.4)
    axes.errorbar(x, y, bars, color=RIGHT, marker="o", markersize=5, linewidth=1.6, elinewidth=1, capsize=2)
    axes.set(xlabel="largest probability", ylabel="share right", ylim=(0, 1.02), xlim=(float(x.min()) - 0.06, 1.02))
    _note(figure, f"bars: 95 % intervals; mean distance from the line {gap:.3f}, of {len(top_m):,} images")
    return figure


def _note(figure: Figure, text: str) -> None:
    """Above all axes: the layout makes axes narrower for a title that is wider than they are, at each drawing anew."""
    figure.suptitle(text, x=0.02, ha="left", fontsize=8, color=FAINT)


def _axes(height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes
