"""What the scores of a bucket say together: counted from their columns, never from rows."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from pipelines.provenance import commit
from pipelines.scoring.model import Scorer
from pipelines.scoring.progress import Progress

COLUMNS = ("status", "label", "prediction", "n_patches", "standard_error", "requests", "bytes_read")


def summary_of(scores: pads.Dataset, scorer: Scorer, progress: Progress) -> dict[str, Any]:
    """What there is, and what this run did of it."""
    rows = scores.to_table(columns=list(COLUMNS))
    good = rows.filter(pc.equal(rows["status"], "ok"))
    failed = {status: count for status, count in _counts(rows["status"]).items() if status != "ok"}
    return {
        "task": scorer.recipe.task,
        "model": scorer.name,
        "images": len(rows),
        "scored_now": progress.done,
        "failed": failed,
        "failed_share": sum(failed.values()) / len(rows),
        "predictions": _counts(good["prediction"]),
        **_error(good),
        "patches_per_image": _mean(good["n_patches"]),
        "requests_per_image": _mean(rows["requests"]),
        "mb_per_image": _mean(rows["bytes_read"]) / 1e6,
        "wall_s": progress.seconds,
        "images_per_second": progress.done / progress.seconds if progress.done else 0.0,
        "commit": commit(),
    }


def _error(good: pa.Table) -> dict[str, Any]:
    """The share of wrong predictions, where labels are known."""
    labelled = good.filter(pc.not_equal(good["label"], ""))
    if not len(labelled):
        return {}
    wrong = pc.not_equal(labelled["label"], labelled["prediction"])
    return {"test_error": pc.mean(wrong).as_py(), "n_test": len(labelled)}


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counts = {row["values"]: row["counts"] for row in column.value_counts().to_pylist()}
    return dict(sorted(counts.items()))


def _mean(column: pa.ChunkedArray) -> float:
    return pc.mean(column).as_py() or 0.0


def table(summary: Mapping[str, Any]) -> str:
    """The summary, for people."""
    lines = [
        ("images", f"{summary['images']}, of which {summary['scored_now']} now"),
        ("failed", _told(summary["failed"]) or "none"),
        ("predictions", _told(summary["predictions"]) or "none"),
        ("patches an image", f"{summary['patches_per_image']:.1f}"),
        ("requests an image", f"{summary['requests_per_image']:.1f}"),
        ("MB an image", f"{summary['mb_per_image']:.3f}"),
        ("images/s", f"{summary['images_per_second']:.1f} in {summary['wall_s']:.1f} s"),
    ]
    if "test_error" in summary:
        lines.insert(3, ("error", f"{summary['test_error']:.3f} of {summary['n_test']} with a label"))
    return "\n".join(f"{name:18} {value}" for name, value in lines)


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
