"""The numbers that matter, and what they should be."""

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]

GOALS = {
    "scoring_8192_over_whole_image_cpu": ("at least", 20),
    "scoring_8192_bytes_fraction": ("at most", 0.1),
    "scoring_memory_growth": ("at most", 1.05),
}
OURS, CATALOG, WHOLE = "ours", "ours, catalog", "whole image"


def of_rows(rows: Rows, small: int, middle: int, large: int) -> dict[str, float | None]:
    """By the sides of the images. What latency does not change is taken at 20 ms."""
    at_20 = {(row["side"], row["way"]): row for row in rows if row["latency ms"] == 20}
    found: dict[str, float | None] = {}
    for name, way in (("", OURS), ("_catalog", CATALOG)):
        ours, theirs = at_20[middle, way], at_20[middle, WHOLE]
        found |= {
            f"scoring_8192_over_whole_image_cpu{name}": theirs["CPU s/image"] / ours["CPU s/image"],
            f"scoring_8192_bytes_fraction{name}": ours["of file"],
            f"scoring_memory_growth{name}": at_20[large, way]["worker MB"] / at_20[small, way]["worker MB"],
        }
        for side in (small, middle, large):
            row = at_20[side, way]
            found |= {
                f"scoring_{side}{name}_images_per_second_20ms": row["images/s"],
                f"scoring_{side}{name}_cpu_s": row["CPU s/image"],
            }
    found["scoring_images_per_second"] = at_20[small, CATALOG]["images/s"]
    return found


def beside_goals(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a goal."""
    rows = []
    for name, (bound, goal) in GOALS.items():
        value = result[name]
        reached = value <= goal if bound == "at most" else value >= goal
        rows.append(
            {"claim": name, "measured": value, "goal": f"{bound} {goal}", "reached": "yes" if reached else "no"}
        )
    return rows
