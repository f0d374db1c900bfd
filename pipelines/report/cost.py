"""What runs cost: where their time went, what they read, how much memory they held."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from pipelines.report.curves import COLOURS, TIMES, WIDTH
from pipelines.report.labels import in_two_lines
from pipelines.report.runs import History

COLUMNS: Mapping[str, str] = {
    "row": "model",
    "wall_s": "wall (s)",
    "training_s": "training (s)",
    "waiting_s": "of it a worker waiting for patches (s)",
    "computing_share": "of it computing",
    "images": "images trained on",
    "mb_read": "read (MB)",
    "requests": "requests",
    "retries": "repeated requests of a worker",
    "decoding_s": "decoding, in threads of all workers (s)",
    "peak_memory_mb": "peak memory of a worker (MB)",
}
"""Titles by key, with units; each a mean over the runs of a row."""
PARTS = {
    "computing_s": ("computing", COLOURS[0]),
    "waiting_s": ("waiting for patches", COLOURS[5]),
    "other_s": ("start, tests, saving, pauses", "#bbbbbb"),
}
PANELS = {
    "mb_read": "read from storage",
    "requests": "requests to it",
    "decoding_s": "decoding, in threads of all workers",
    "peak_memory_mb": "peak memory of a worker",
}
"""Below that of the time, each left out where it is nothing."""
BAR, HEAD = 0.3, 0.35  # inches of a bar, and of what else a panel has


@dataclass(frozen=True, slots=True)
class Trained:
    """A run that has been trained, or is being."""

    summary: Mapping[str, Any]
    """Of a `Result`."""
    history: History
    """Of all its epochs."""


Rows = Mapping[str, Sequence[Trained]]
"""The runs of each row."""


def cost_of(run: Trained) -> dict[str, float]:
    """What one run cost in all its epochs, by the keys of `COLUMNS` and `PARTS`.

    Waiting, repeated requests and memory are those of the first worker. Bytes, requests and decoding are of all: what
    the first spent on an image, times the images. Wall time is from the first start to the end, with all pauses of a
    run that was resumed; before the run has ended that of training alone.
    """
    history = run.history
    images_T = np.array([row["images_per_second"] * row["seconds"] for row in history])

    def total(of_image: str) -> float:
        return float(images_T @ [row[of_image] for row in history])

    training, waiting = (sum(row[name] for row in history) for name in ("seconds", "read_wait_s"))
    wall = run.summary.get("wall_s", training)
    return {
        "wall_s": wall,
        "training_s": training,
        "computing_s": training - waiting,
        "waiting_s": waiting,
        "other_s": max(0.0, wall - training),
        "computing_share": 1 - waiting / training,
        "images": float(images_T.sum()),
        "mb_read": total("mb_per_image"),
        "requests": total("requests_per_image"),
        "retries": sum(row["retries"] for row in history),
        "decoding_s": total("decode_ms_per_image") / 1e3,
        "peak_memory_mb": max(row["peak_memory_mb"] for row in history),
    }


def costs_of(rows: Rows) -> dict[str, dict[str, float]]:
    """By row, the means of what its runs cost."""
    of_runs = {row: [cost_of(run) for run in runs] for row, runs in rows.items()}
    return {row: {name: mean(cost[name] for cost in costs) for name in costs[0]} for row, costs in of_runs.items()}


def cost_table(rows: Rows) -> list[dict[str, Any]]:
    """A row a setting: by each key of `COLUMNS` its number, and by `KEY_text` the same as it is shown."""
    return [{"row": row} | _cells(cost) for row, cost in costs_of(rows).items()]


def cost_figure(rows: Rows) -> Figure | None:
    """Bars of where the time went, of bytes, requests, decoding and memory; None without any run."""
    costs = costs_of(rows)
    if not costs:
        return None
    panels = [name for name in PANELS if any(cost[name] for cost in costs.values())]
    height = (1 + len(panels)) * (HEAD + BAR * len(costs)) + 0.3
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    time, *others = figure.subplots(1 + len(panels), 1, squeeze=False)[:, 0]
    _draw_time(time, costs)
    for axes, name in zip(others, panels, strict=True):
        values = np.array([cost[name] for cost in costs.values()])
        axes.barh(range(len(costs)), values, color=COLOURS[4], height=0.62)
        _dress(axes, costs, values, [_with_unit(name, value) for value in values], PANELS[name])
    return figure


def _cells(cost: Mapping[str, float]) -> dict[str, Any]:
    values = {name: cost[name] for name in COLUMNS if name != "row"}
    texts = {name: f"{value:.1%}" if name == "computing_share" else _number(value) for name, value in values.items()}
    return values | {f"{name}_text": text for name, text in texts.items()}


def _number(value: float) -> str:
    """Three digits, or all of a larger one."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _with_unit(name: str, value: float) -> str:
    """Three digits with the unit that suits: 3.6 TB, 144 M, 20 min."""
    if name.endswith("_s"):
        return _duration(value)
    digits = float(f"{value:.3g}")
    return EngFormatter("B")(digits * 1e6) if "mb" in name else EngFormatter()(digits)


def _duration(value: float) -> str:
    seconds, unit = next((seconds, unit) for most, seconds, unit in TIMES if value <= most)
    return f"{value / seconds:.3g} {unit}"


def _draw_time(axes: Axes, costs: Mapping[str, Mapping[str, float]]) -> None:
    """The parts end to end; beside them all together, and the share of training that was spent computing."""
    ends = np.zeros(len(costs))
    for name, (label, colour) in PARTS.items():
        values = np.array([cost[name] for cost in costs.values()])
        axes.barh(range(len(costs)), values, left=ends, color=colour, height=0.62, label=label)
        ends += values
    texts = [f"{_duration(cost['wall_s'])}; {cost['computing_share']:.0%}" for cost in costs.values()]
    _dress(axes, costs, ends, texts, "time of a run; share of its training spent computing")
    axes.figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=8, columnspacing=1.2)


def _dress(axes: Axes, costs: Mapping[str, Any], ends: np.ndarray, texts: Sequence[str], title: str) -> None:
    """The names of the rows, from the top; at the end of each bar its text, which stands for an axis."""
    for i, (end, text) in enumerate(zip(ends, texts, strict=True)):
        axes.annotate(text, (end, i), (3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(costs)), map(in_two_lines, costs), fontsize=8, linespacing=1.0)
    axes.set_title(title, fontsize=9, loc="left", pad=3)
    axes.set(xlim=(0, 1.3 * max(ends) or 1), xticks=[])
    axes.invert_yaxis()
    axes.tick_params(left=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
