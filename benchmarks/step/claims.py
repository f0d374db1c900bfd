"""The numbers that matter, and what they should be."""

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]

RATIOS = {
    "colon_deep_mil_over_ats10": ("colon", "Deep MIL", "ATS-10"),
    "colon_cnn_over_ats10": ("colon", "CNN 1", "ATS-10"),
    "speed_limits_deep_mil_over_ats5": ("speed_limits", "Deep MIL", "ATS-5"),
    "speed_limits_cnn_over_ats5": ("speed_limits", "CNN 1", "ATS-5"),
    "mnist_deep_mil_over_ats10": ("mnist", "Deep MIL", "ATS-10"),
    "mnist_cnn_over_ats10": ("mnist", "CNN 1", "ATS-10"),
}
GOALS = {
    "colon_deep_mil_over_ats10_time": 25.0,
    "colon_deep_mil_over_ats10_memory": 30.0,
    "speed_limits_deep_mil_over_ats5_time": 10.0,
    "speed_limits_deep_mil_over_ats5_memory": 17.0,
}


def of_costs(costs: Mapping[str, Rows], time: str) -> dict[str, float | None]:
    """Ratios at batch 1 of the column `time` and of memory; None for what was not measured."""
    found: dict[str, float | None] = {}
    for name, (task, above, below) in RATIOS.items():
        models = {row["model"]: row for row in costs.get(task, ())}
        for suffix, column in (("time", time), ("memory", "MB")):
            top, bottom = (models.get(model, {}).get(column) for model in (above, below))
            found[f"{name}_{suffix}"] = top / bottom if top and bottom else None
    return found


def of_phases(rows: Rows) -> dict[str, float | None]:
    """What the feature network takes of a step, and of the peak, at the largest batch; images/s there."""
    found: dict[str, float | None] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        batch = max(row["batch"] for row in rows if row["task"] == task)
        parts = {row["phase"]: row for row in rows if (row["task"], row["batch"]) == (task, batch)}
        step_ms = parts["step"]["ms"]
        found |= {
            f"{task}_ats_images_per_second": step_ms and 1000 / step_ms,
            f"{task}_ats_step_of_peak": parts["step"]["of peak"],
            f"{task}_ats_features_of_step": parts["features"]["of step"],
            f"{task}_ats_features_of_peak": parts["features"]["of peak"],
        }
    return found


def beside_goals(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a goal that was measured."""
    return [
        {"claim": name, "measured": result[name], "goal": f"at least {goal:g}", "reached": reached(result[name], goal)}
        for name, goal in GOALS.items()
    ]


def reached(value: float | None, goal: float) -> str | None:
    """In a word; None where nothing was measured."""
    return None if value is None else "yes" if value >= goal else "no"
