"""Runs side by side, from their summaries."""

from collections.abc import Mapping, Sequence
from typing import Any

ROWS = (
    ("test error", "test_error", ".3f"),
    ("test AUROC", "test_auroc", ".3f"),
    ("test loss", "test_loss", ".3f"),
    ("train loss", "train_loss", ".3f"),
)
MORE_ROWS = (
    ("patches on a box", "patches_on_box", ".3f"),
    ("attention on boxes", "attention_on_box", ".3f"),
    ("  either, if uniform", "patches_on_box_uniform", ".3f"),
    ("effective cells", "effective_cells", ".0f"),
    ("test images", "n_test", "d"),
    ("updates", "updates", "d"),
    ("training, images/s", "images_per_second", ".1f"),
    ("  ms/image of a worker", "ms_per_sample", ".0f"),
    ("requests/image", "requests_per_image", ".2f"),
    ("read, MB/image", "mb_per_image", ".2f"),
    ("  decoded tiles/image", "tiles_per_image", ".1f"),
    ("  decoding, ms/image", "decode_ms_per_image", ".1f"),
    ("  storage, ms/request", "storage_ms_per_request", ".1f"),
    ("  repeated requests", "retries", "d"),
    ("  images left out", "images_left_out", "d"),
    ("peak memory, MB", "peak_memory_mb", ".0f"),
    ("  an update, MB/image", "memory_mb_per_sample", ".1f"),
    ("wall, s", "wall_s", ".0f"),
)
"""Title, key of the summary, format; recalls stand between the two."""


def name_of(summary: Mapping[str, Any]) -> str:
    """A run's task and model; patches where the model has any, else the view that it is shown."""
    size = summary["n_patches"] or "x".join(map(str, summary["view_size"]))
    return f"{summary['task']} {summary['model']}-{size}"


def summary_table(summaries: Sequence[Mapping[str, Any]]) -> str:
    """A column a run, a row a measure, in units; the 95 % interval below a measure that has one."""
    recalls = [(f"recall {name[7:]}", name, ".3f") for name in recalls_of(summaries[0])]
    lines = [_line("", [name_of(summary) for summary in summaries])]
    for title, key, form in (*ROWS, *recalls, *MORE_ROWS):
        for row, cell in ((title, _value), ("  95 % interval", _interval)):
            cells = [cell(summary, key, form) for summary in summaries]
            if any(cells):
                lines.append(_line(row, [cell or "-" for cell in cells]))
    return "\n".join(lines)


def recalls_of(summary: Mapping[str, Any]) -> list[str]:
    """The names of the recalls, without the ends of their intervals."""
    ends = {f"{name}_{end}" for name in summary for end in ("low", "high")}
    return [name for name in summary if name.startswith("recall_") and name not in ends]


def _line(title: str, cells: Sequence[str]) -> str:
    return f"{title:<24}" + "".join(f"{cell:>26}" for cell in cells)


def _value(summary: Mapping[str, Any], key: str, form: str) -> str:
    return format(summary[key], form) if key in summary else ""


def _interval(summary: Mapping[str, Any], key: str, form: str) -> str:
    ends = [_value(summary, f"{key}_{end}", form) for end in ("low", "high")]
    return " to ".join(ends) if all(ends) else ""
