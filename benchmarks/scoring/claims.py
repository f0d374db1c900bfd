"""The numbers that matter, and what they should be."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

Rows = Sequence[Mapping[str, Any]]

GOALS = {
    "scoring_8192_over_whole_image_cpu": ("at least", 20),
    "scoring_8192_bytes_fraction": ("at most", 0.1),
    "scoring_memory_growth": ("at most", 1.05),
}
OURS, CATALOG, WHOLE = "ours", "ours, catalog", "whole image"


def of_rows(rows: Rows, small: int, middle: int, large: int) -> dict[str, float | None]:
    """By the sides of the images. Images a second and memory are those at 20 ms."""
    at_20 = {(row["side"], row["way"]): row for row in rows if row["latency ms"] == 20}
    whole_cpu_s = cpu_s(rows, middle, WHOLE)
    found: dict[str, float | None] = {}
    for name, way in (("", OURS), ("_catalog", CATALOG)):
        found |= {
            f"scoring_8192_over_whole_image_cpu{name}": whole_cpu_s / cpu_s(rows, middle, way),
            f"scoring_8192_bytes_fraction{name}": at_20[middle, way]["of file"],
            f"scoring_memory_growth{name}": at_20[large, way]["worker MB"] / at_20[small, way]["worker MB"],
        }
        for side in (small, middle, large):
            found |= {
                f"scoring_{side}{name}_images_per_second_20ms": at_20[side, way]["images/s"],
                f"scoring_{side}{name}_cpu_s": cpu_s(rows, side, way),
            }
    found["scoring_images_per_second"] = at_20[small, CATALOG]["images/s"]
    found["whole_image_8192_cpu_s"] = whole_cpu_s
    return found


def cpu_s(rows: Rows, side: int, way: str) -> float:
    """CPU seconds of an image: the mean of both latencies, which should change nothing of it."""
    return fmean(row["CPU s/image"] for row in rows if (row["side"], row["way"]) == (side, way))


def of_light_nets(rows: Rows, middle: int, nets: str) -> dict[str, float | None]:
    """The same ratio by other nets, by what follows their ways' names."""
    whole_cpu_s = cpu_s(rows, middle, WHOLE + nets)
    ratios = {name: whole_cpu_s / cpu_s(rows, middle, way + nets) for name, way in (("", OURS), ("_catalog", CATALOG))}
    return {f"scoring_8192_over_whole_image_cpu{name}_light_nets": ratio for name, ratio in ratios.items()}


def without_networks(rows: Rows, middle: int, network_cpu_s: float, one_by_one_cpu_s: float) -> dict[str, float | None]:
    """How much less CPU than whole images where an accelerator has the networks: every way computes the same ones.

    Of images that are opened on the way: by a catalog nothing is left that can be told from nothing. Whole images go
    through the networks one by one.
    """
    whole, ours = cpu_s(rows, middle, WHOLE) - one_by_one_cpu_s, cpu_s(rows, middle, OURS) - network_cpu_s
    return {"scoring_8192_over_whole_image_cpu_without_networks": whole / ours}


def of_adaptive(results: Path) -> dict[str, float | str | None]:
    """What `--until` saves, of the record of `benchmarks.scoring.adaptive`, and of which commit that is."""
    adaptive = json.loads((results / "scoring_adaptive.json").read_text())
    name = "adaptive_patches_saved"
    return {name: adaptive[name], f"{name}_commit": adaptive["commit"]}


def where_time_goes(rows: Rows, network_cpu_s: float, reading_cpu_s: float) -> list[dict[str, Any]]:
    """CPU seconds of an image without a catalog, by what they are spent on.

    Opening is what a catalog saves. Of networks and reading it is given what they take alone; the rest is Ray, and what
    the processes hand to each other.
    """
    found = []
    for side in dict.fromkeys(row["side"] for row in rows if row["way"] == OURS):
        ours, catalog = (cpu_s(rows, side, way) for way in (OURS, CATALOG))
        parts = {"networks": network_cpu_s, "opening": ours - catalog, "reading patches": reading_cpu_s}
        found.append({"side": side, **parts, "rest": ours - sum(parts.values()), "all": ours})
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
