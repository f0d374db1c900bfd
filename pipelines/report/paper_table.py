"""The table of the paper (its Tables 1 and 2), with our columns: a row a setting, the mean over its runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from pipelines.report.estimates import Estimate, estimate, folds_by_seed
from pipelines.report.results import Result, Results

COLUMNS: Mapping[str, str] = {
    "row": "model",
    "n_patches": "patches",
    "runs": "runs",
    "train_loss": "train loss (nats)",
    "test_error": "test error",
    "ms_per_sample": "time (ms/sample)",
    "memory_mb_per_sample": "memory (MB/sample)",
    "peak_memory_mb": "peak memory (MB)",
    "mb_per_image": "read (MB/image)",
    "requests_per_image": "requests/image",
    "error": "not finished",
}
"""Titles by key, with units, in the order in which they are shown."""

FORMS = {
    "train_loss": ".3f",
    "test_error": ".3f",
    "ms_per_sample": ".1f",
    "memory_mb_per_sample": ",.1f",
    "peak_memory_mb": ",.0f",
    "mb_per_image": ".3g",
    "requests_per_image": ".2f",
}
WITH_INTERVAL = ("train_loss", "test_error")
NOTHING = "\N{EN DASH}"


def paper_table(results: Results) -> list[dict[str, Any]]:
    """A row a setting: by each key of `COLUMNS` its number, or None, and by `KEY_text` the same as it is shown.

    "row", "model" and "error" are texts alone. A training loss is of the last epoch. The memory of a sample is what an
    update took beyond what was held before it, an image; the peak is that of a worker's whole process. After the errors
    stands the standard error over runs, or over the folds of a single one; of one run its bootstrap interval. Why runs
    of a row have not finished stands under "error".
    """
    return [_row(row, runs) for row, runs in results.by_row().items()]


def _row(row: str, results: Sequence[Result]) -> dict[str, Any]:
    summary = results[0].summary
    n_patches = summary.get("n_patches")
    cells = {
        "row": row,
        "model": summary.get("model", ""),
        "n_patches": n_patches,
        "n_patches_text": NOTHING if n_patches is None else f"{n_patches:,.0f}",
        "runs": len(folds_by_seed(results)[0]),
        "runs_text": _runs_text(results),
        "error": _failures(results),
    }
    for measure, form in FORMS.items():
        found = estimate(results, measure)
        cells[measure] = found.value if found and isfinite(found.value) else None
        cells[f"{measure}_text"] = _text(found, form, with_interval=measure in WITH_INTERVAL)
    return cells


def _text(found: Estimate | None, form: str, *, with_interval: bool) -> str:
    if found is None:
        return NOTHING
    return found.text(form) if with_interval else format(found.value, form)


def _runs_text(results: Sequence[Result]) -> str:
    """The number of independent runs, where they are cross-validations of how many folds, and those in no mean."""
    whole, parts = folds_by_seed(results)
    if not whole or len(whole[0]) == 1:
        return str(len(whole))
    return f"{len(whole)} x {len(whole[0])} folds" + (f", {len(parts)} of fewer" if parts else "")


def _failures(results: Sequence[Result]) -> str:
    """Every error with the number of runs that it ended; "" where there is none."""
    counts = Counter(result.error for result in results if result.error)
    return "; ".join(f"{n} of {len(results)}: {error}" if len(results) > 1 else error for error, n in counts.items())
