"""Compute against error: the dial of the paper. Error over time, and error and loss over patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.report.curves import LABELS, WIDTH, style
from pipelines.report.estimates import Estimate, estimate
from pipelines.report.labels import in_two_lines, label_points
from pipelines.report.results import Result, Results

MARKERS = "osD^vP"  # one less than colours: 42 looks
FRONT = "#555555"
LABELLED = 12  # rows, up to which all are named, and not those of the front alone
WIDE = 10  # largest over smallest, from which on an axis is logarithmic
INTERVALS = {
    "runs": "standard error over runs",
    "folds": "standard error over folds",
    "images": "95 % interval of one run",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the results: one point of a figure."""

    row: str
    line: str
    """The row's name without its patches: what a line against patches joins."""
    model: str
    n_patches: int
    time: Estimate | None
    """Milliseconds of training a sample."""
    error: Estimate | None
    loss: Estimate | None
    """Of training, nats."""


def settings_of(results: Results) -> list[Setting]:
    """The rows that have a finished run, in their order."""
    found = (_setting(row, runs) for row, runs in results.by_row().items())
    return [setting for setting in found if setting.time or setting.error or setting.loss]


def _setting(row: str, runs: Sequence[Result]) -> Setting:
    model, n_patches = runs[0].summary.get("model", ""), int(runs[0].summary.get("n_patches", 0))
    line = row.replace(f"{model}-{n_patches}", model, 1) if n_patches else row
    measures = (_finite(estimate(runs, measure)) for measure in ("ms_per_sample", "test_error", "train_loss"))
    return Setting(row, line, model, n_patches, *measures)


def _finite(found: Estimate | None) -> Estimate | None:
    """None for a mean that training in vain made NaN or infinite."""
    return found if found and isfinite(found.value) else None


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The points that no other beats: none is as low in both coordinates and lower in one. By the first, ascending."""
    order = sorted(range(len(points)), key=lambda i: points[i])
    front: list[int] = []
    for i in order:
        if not front or points[i][1] < points[front[-1]][1] or points[i] == points[front[-1]]:
            front.append(i)
    return front


def error_over_time(results: Results) -> Figure | None:
    """Test error against training time a sample, with the Pareto front; None where fewer than two rows have both."""
    settings = [setting for setting in settings_of(results) if setting.time and setting.error]
    if len(settings) < 2:
        return None
    points = [(setting.time.value, setting.error.value) for setting in settings]
    front = pareto_front(points)
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.subplots()
    handles = _draw_points(axes, settings)
    _scale_time(axes, [x for x, _ in points])
    axes.set(xlabel="training time (ms/sample)", ylabel=LABELS["test_error"])
    _dress(axes, [setting.error for setting in settings])
    drawn_front_L22 = _draw_front(axes, np.array([points[i] for i in front]))
    named = front if len(points) > LABELLED else [*front, *(i for i in range(len(points)) if i not in front)]
    if len(named) < len(points):
        figure.legend(handles=handles, loc="outside lower center", frameon=False, fontsize=9, ncols=2)
    names = [in_two_lines(setting.row) for setting in settings]
    label_points(axes, np.array(points), named, names, np.concatenate([_crosses(settings), drawn_front_L22]))
    return figure


def error_over_patches(results: Results) -> Figure | None:
    """Test error and training loss against patches an image; None where no two rows differ in their number.

    A line a model, or a setting of it, if it was tried at several. A model tried at one number is a point, and one
    that reads no patches a horizontal line.
    """
    settings = [setting for setting in settings_of(results) if setting.error and setting.loss]
    if len({setting.n_patches for setting in settings if setting.n_patches}) < 2:
        return None
    shown = {i: line for i, line in enumerate(_lines(settings).items()) if _has_a_place(line[1], settings)}
    ticks = sorted({setting.n_patches for _, line in shown.values() for setting in line if setting.n_patches})
    figure = Figure(figsize=(WIDTH, 6.4 + 0.1 * len(shown)), layout="constrained")
    for axes, measure in zip(figure.subplots(2, 1), ("error", "loss"), strict=True):
        handles = [_draw_line(axes, name, line, measure, i) for i, (name, line) in shown.items()]
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
        axes.minorticks_off()
        axes.set(xlabel="patches an image, N", ylabel=LABELS["test_error" if measure == "error" else "train_loss"])
        _dress(axes, [getattr(setting, measure) for _, line in shown.values() for setting in line])
    figure.legend(handles=handles, loc="outside lower center", frameon=False, fontsize=9, ncols=2)
    return figure


def _lines(settings: Sequence[Setting]) -> dict[str, list[Setting]]:
    """The settings of each line, by patches."""
    lines: dict[str, list[Setting]] = {}
    for setting in sorted(settings, key=lambda setting: setting.n_patches):
        lines.setdefault(setting.line, []).append(setting)
    return {line: lines[line] for line in dict.fromkeys(setting.line for setting in settings)}


def _has_a_place(line: Sequence[Setting], settings: Sequence[Setting]) -> bool:
    """Whether it has several points, or its model has no line that has."""
    of_model = [other for other in _lines(settings).values() if other[0].model == line[0].model]
    return len(line) > 1 or not any(len(other) > 1 for other in of_model)


def _draw_points(axes: Axes, settings: Sequence[Setting]) -> list[Artist]:
    """A point a row, in the colour of its line; the handles of a legend."""
    handles: list[Artist] = []
    for i, (line, of_line) in enumerate(_lines(settings).items()):
        x_M, y_M = (_values(of_line, name) for name in ("time", "error"))
        look = {"color": style(i)["color"], "marker": _marker(i), "markersize": 7, "linestyle": "none"}
        bars = {"xerr": _bars(of_line, "time"), "yerr": _bars(of_line, "error"), "elinewidth": 1}
        handles.append(axes.errorbar(x_M, y_M, **bars, ecolor=(style(i)["color"], 0.5), **look, label=line, zorder=3))
    return handles


def _draw_front(axes: Axes, front_M2: np.ndarray) -> np.ndarray:
    """A step line: at each time, the least error to be had in it; its pieces [L, 2, 2]."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x_M, y_M = front_M2.T
    x_L, y_L = np.repeat([*x_M, right], 2)[:-1], np.repeat([top, *y_M], 2)[1:]
    axes.plot(x_L, y_L, color=FRONT, linewidth=1.4, linestyle=(0, (4, 2)), zorder=2, label="Pareto front")
    axes.set(xlim=(left, right), ylim=(bottom, top))
    corners_L2 = np.stack([x_L, y_L], axis=1)
    return np.stack([corners_L2[:-1], corners_L2[1:]], axis=1)


def _crosses(settings: Sequence[Setting]) -> np.ndarray:
    """[2 M, 2, 2]: the ends of the bars of every point."""
    bars = [
        (((time.low, error.value), (time.high, error.value)), ((time.value, error.low), (time.value, error.high)))
        for time, error in ((setting.time, setting.error) for setting in settings)
    ]
    return np.array(bars, float).reshape(-1, 2, 2)


def _draw_line(axes: Axes, line: str, settings: Sequence[Setting], measure: str, i: int) -> Artist:
    """A line with a band where it has several points, or bars at a single one; the handle of a legend."""
    look, y_M, bars_2M = style(i), _values(settings, measure), _bars(settings, measure)
    (low_M, high_M), colour = (y_M - bars_2M[0], y_M + bars_2M[1]), look["color"]
    if not settings[0].n_patches:
        axes.axhspan(low_M[0], high_M[0], color=colour, alpha=0.12, linewidth=0)
        return axes.axhline(y_M[0], **look | {"linestyle": "--"}, linewidth=1.6, label=f"{line}, no patches")
    n_M = [setting.n_patches for setting in settings]
    axes.fill_between(n_M, low_M, high_M, color=colour, alpha=0.2, linewidth=0)
    return axes.errorbar(
        n_M, y_M, bars_2M, **look, marker=_marker(i), markersize=5, linewidth=1.6, elinewidth=1, capsize=2, label=line
    )


def _values(settings: Sequence[Setting], measure: str) -> np.ndarray:
    return np.array([getattr(setting, measure).value for setting in settings])


def _bars(settings: Sequence[Setting], measure: str) -> np.ndarray:
    """[2, M]: how far the intervals reach below and above."""
    found = [getattr(setting, measure) for setting in settings]
    return np.array([[one.value - one.low for one in found], [one.high - one.value for one in found]])


def _scale_time(axes: Axes, times: Sequence[float]) -> None:
    axes.margins(x=0.15)
    if max(times) > WIDE * min(times):
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")


def _dress(axes: Axes, shown: Sequence[Estimate]) -> None:
    """What the bars are, above; from zero on, unless a loss less its entropy term is below; a faint grid."""
    if said := [text for of, text in INTERVALS.items() if any(one.of == of for one in shown)]:
        axes.set_title(f"bars: {', '.join(said)}", fontsize=8, loc="left", color=FRONT)
    if min(one.low for one in shown) >= 0:
        axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _marker(i: int) -> str:
    return MARKERS[i % len(MARKERS)]
