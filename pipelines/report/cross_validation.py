"""The parts of a cross-validation, put together."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any

MEASURES = ("test_error", "test_auroc", "test_loss", "train_loss", "ms_per_sample", "wall_s")


def cross_validation_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Each measure over the folds, as mean and standard error; the error is also of all images together."""
    wrong = sum(run["test_error"] * run["n_test"] for run in runs)
    images = sum(run["n_test"] for run in runs)
    lines = [
        f"{runs[0]['task']} {runs[0]['model']}-{runs[0]['n_patches']}, {len(runs)} folds",
        f"{'wrong images':<16}{wrong:.0f} of {images}: error {wrong / images:.3f}",
    ]
    for measure in MEASURES:
        values = [run[measure] for run in runs if measure in run]
        if values:
            error = stdev(values) / sqrt(len(values)) if len(values) > 1 else float("nan")
            lines.append(f"{measure:<16}{mean(values):.3f} +- {error:.3f}")
    return "\n".join(lines)
