"""The figures of adaptive scoring: stated against actual standard errors, and error against patches."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.scoring import savings
from benchmarks.scoring.prefixes import FIXED, Prefixes
from pipelines.report.drawing import plain_text, png

FIGURES = Path(__file__).parents[2] / "docs" / "figures"
STYLES = {  # colour, marker, label
    "fixed": ("#222222", "o", "a fixed number"),
    "until": ("#d1495b", "s", "until the error is small beside the margin"),
    "absolute": ("#8d96a3", "D", "until the error is small in itself"),
}
SIDE = 4.2  # inches, of a panel


@plain_text()
def calibration_figure(found: Mapping[str, Prefixes]) -> bytes:
    """A PNG with a panel a row: a point an image and number of patches, of the margin's standard error."""
    figure = Figure(figsize=(SIDE * len(found) + 1.2, SIDE + 0.5), layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (name, prefixes) in zip(panels, found.items(), strict=True):
        _calibrated(axes, prefixes)
        axes.set(title=name, xlabel="actual: spread of the margin over repeated draws")
    panels[0].set_ylabel("stated: mean over these draws")
    panels[-1].legend(title="patches", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2)
    return png(figure)


def _calibrated(axes: Axes, found: Prefixes) -> None:
    sizes = [(s, int(n)) for s, n in enumerate(found.sizes_S) if n in FIXED]
    actual_IS, stated_IS = found.margin_IRS.std(1, ddof=1), found.margin_stated_IRS.mean(1)
    colours = _colours(len(sizes))
    for (s, n), colour in zip(sizes, colours, strict=True):
        axes.scatter(actual_IS[:, s], stated_IS[:, s], s=6, alpha=0.6, color=colour, linewidths=0, label=str(n))
    shown = np.concatenate([values[:, [s for s, _ in sizes]].ravel() for values in (actual_IS, stated_IS)])
    shown = shown[np.isfinite(shown) & (shown > 0)]
    ends = (shown.min() / 1.3, shown.max() * 1.3)
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=6))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _colours(n: int) -> np.ndarray:
    return colormaps["viridis"](np.linspace(0, 0.9, n))


@plain_text()
def savings_figure(found: Mapping[str, Prefixes]) -> bytes:
    """A PNG with a column a row: error, and changed predictions, against the mean number of patches."""
    figure = Figure(figsize=(SIDE * len(found) + 0.6, 1.6 * SIDE), layout="constrained")
    panels = figure.subplots(2, len(found), squeeze=False, sharex="col")
    for column, (name, prefixes) in zip(panels.T, found.items(), strict=True):
        column[0].set_title(name)
        for axes, measure in zip(column, ("error", "changed"), strict=True):
            _curves(axes, prefixes, measure)
        column[1].set_xlabel("patches an image, mean")
    panels[0][0].set_ylabel("test error")
    panels[1][0].set_ylabel(f"predictions that change up to {found[next(iter(found))].sizes_S[-1]} patches")
    panels[0][0].legend(frameon=False)
    return png(figure)


def _curves(axes: Axes, found: Prefixes, measure: str) -> None:
    for rule, (colour, marker, label) in STYLES.items():
        rows = savings.fixed(found) if rule == "fixed" else savings.until(found, rule)
        values = [(row["patches"], row[measure]) for row in rows]
        axes.plot(*zip(*values, strict=True), color=colour, marker=marker, markersize=3, linewidth=1, label=label)
    axes.set_xscale("log")
    ticks = [n for n in FIXED if n <= found.sizes_S[-1]]
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
