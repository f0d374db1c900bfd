"""The folds of a cross-validation put together, and several cross-validations."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any

from pipelines.report.table import name_of

Run = Sequence[Mapping[str, Any]]
"""The summaries of the folds of one cross-validation."""

MEASURES = (
    *("test_error", "test_auroc", "test_loss", "train_loss", "patches_on_box", "attention_on_box"),
    *("patches_on_box_uniform", "effective_cells", "ms_per_sample", "memory_mb_per_sample", "peak_memory_mb", "wall_s"),
)


def cross_validation_table(folds: Run) -> str:
    """Each measure of one run, as mean and standard error over its folds; the error is also of all images together."""
    wrong, images = sum(fold["test_error"] * fold["n_test"] for fold in folds), sum(fold["n_test"] for fold in folds)
    return "\n".join(
        [
            f"{name_of(folds[0])}, seed {folds[0]['seed']}: mean and standard error over {len(folds)} folds",
            f"{'wrong images':<24}{wrong:.0f} of {images}: error {wrong / images:.3f}",
            *_lines(folds),
        ]
    )


def runs_table(runs: Sequence[Run]) -> str:
    """Each measure as mean and standard error over independent runs, each the mean of its folds, as in the paper."""
    head = f"{name_of(runs[0][0])}: mean and standard error over {len(runs)} runs of {len(runs[0])} folds"
    return "\n".join([head, *_lines([mean_of_folds(run) for run in runs])])


def mean_of_folds(run: Run) -> dict[str, float]:
    """The mean over the folds of every measure that all of them have."""
    return {name: mean(fold[name] for fold in run) for name in MEASURES if all(name in fold for fold in run)}


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error, which is NaN for a single value."""
    return mean(values), stdev(values) / sqrt(len(values)) if len(values) > 1 else float("nan")


def _lines(rows: Sequence[Mapping[str, float]]) -> list[str]:
    found = ((name, [row[name] for row in rows if name in row]) for name in MEASURES)
    return ["{:<24}{:.3f} +- {:.3f}".format(name, *mean_and_error(values)) for name, values in found if values]
