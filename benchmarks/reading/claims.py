"""The numbers that matter, and what they should be."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.reading.data import Data

Rows = Sequence[Mapping[str, Any]]

GOALS = {
    "slide_n10_bytes_ratio": ("at most", 1.1),
    "slide_n10_round_trips": ("at most", 1.0),
    "slide_n10_bytes_fraction_of_file": ("at most", 0.01),
    "photo_n10_images_per_second_20ms": ("at least", 100),
    "local_n10_cpu_over_pyvips": ("at most", 1.5),
    "photo_local_n10_cpu_over_pyvips": ("at most", 1.5),
    "peak_memory_growth": ("at most", 1.05),
}


def of_ours(rows: Rows) -> dict[str, Any]:
    """Costs at 20 ms; speed as the best of those at once."""
    found: dict[str, Any] = {}
    for row in rows:
        if not row["latency ms"]:
            continue
        case = f"{row['data']}_n{row['patches']}"
        speeds = {name: speed for name, speed in row.items() if name.startswith("images/s") and speed}
        best = max(speeds, key=speeds.__getitem__)
        found |= {
            f"{case}_requests": row["requests"],
            f"{case}_bytes_ratio": row["bytes ratio"],
            f"{case}_round_trips": row["round trips"],
            f"{case}_cpu_ms": row["CPU ms"],
            f"{case}_images_per_second_20ms": speeds[best],
            f"{case}_images_at_once_20ms": int(best.split()[1]),
        }
    return found


def of_slide(rows: Rows, slide: Data) -> dict[str, Any]:
    """What a slide costs beside its file, and in the catalog."""
    (read,) = (row["kB"] for row in rows if (row["data"], row["patches"], row["latency ms"]) == ("slide", 10, 20))
    image = slide.images[0]
    return {"slide_n10_bytes_fraction_of_file": 1000 * read / image.n_bytes, "index_bytes": len(image.index)}


def of_local(rows: Rows) -> dict[str, Any]:
    """CPU over that of pyvips, 10 patches; None where it is not installed."""
    ratios = {row["data"]: row["ratio"] for row in rows if row["patches"] == 10}
    return {
        "local_n10_cpu_over_pyvips": ratios.get("slide"),
        "photo_local_n10_cpu_over_pyvips": ratios.get("photo"),
    }


def of_memory(rows: Rows) -> dict[str, Any]:
    """Peak for the largest image, and over that for the smallest."""
    peaks = [row["peak MB"] for row in rows]
    return {"peak_memory_mb": peaks[-1], "peak_memory_growth": peaks[-1] / peaks[0]}


def beside_goals(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a goal."""
    rows = []
    for name, (bound, goal) in GOALS.items():
        value = result[name]
        reached = value is not None and (value <= goal if bound == "at most" else value >= goal)
        verdict = None if value is None else "yes" if reached else "no"
        rows.append({"claim": name, "measured": value, "goal": f"{bound} {goal}", "reached": verdict})
    return rows
