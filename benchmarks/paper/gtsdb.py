"""GTSDB, needles in real scenes: what makes attention find signs of which no box is known.

A frame of 800 x 1360 has 1,450 cells, and in less than half of the frames a prohibitory sign lies in 1.3 % of them.
Patches are small, and as many as a CPU classifies in a tenth of a second.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from ats_core.recipes import GermanSigns
from benchmarks.paper.trials import Trial
from pipelines.catalog.sources.gtsdb import Gtsdb
from pipelines.training.options import TrainOptions
from pipelines.training.train import TRAIN_TEST, Splits, fold_splits

FOLDS = 5
EPOCHS = 16
RECIPE = replace(GermanSigns(), patch_size=48, n_patches=24, batch_size=16, lr=3e-3, entropy_weight=0.0, lr_drop=0.8)

ANOMALY: Mapping[str, Any] = {"anomaly": 2.0}
LEVERS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "anomaly": ANOMALY,
    "anomaly, 48 patches": ANOMALY | {"n_patches": 48},
    "anomaly, 10 of 100 x 100": ANOMALY | {"n_patches": 10, "patch_size": 100},
    "anomaly, entropy .01": ANOMALY | {"entropy_weight": 0.01},
}
MODELS: Mapping[str, Mapping[str, Any]] = {
    "ATS-24": ANOMALY,
    "U-24": {"model": "uniform"},
    "CNN 0.3": {"model": "cnn"},
    "Deep MIL": {"model": "deep_mil", "patch_size": 100},
    "IPS-24": {"model": "ips", "patch_size": 100},
}
"""The grid of those that read whole frames is of patches of 100, which cover them; a step of Deep MIL holds 20 GB."""


def levers(images: str, out: str, runs: int) -> list[Trial]:
    """Anomaly, with one option more each, and the recipe without; task `prohibitory`, the split of the seed."""
    return [
        _trial(row, Gtsdb(images=images, seed=seed), TRAIN_TEST, out, seed, **options)
        for seed in range(runs)
        for row, options in LEVERS.items()
    ]


def models(images: str, out: str, runs: int, task: Literal["prohibitory", "speed_limit"]) -> list[Trial]:
    """Every model, all folds of a run before the next run."""
    return [
        _trial(row, Gtsdb(images=images, task=task, seed=seed, folds=FOLDS), fold_splits(FOLDS, fold), out, seed, **of)
        for seed in range(runs)
        for row, of in MODELS.items()
        for fold in range(FOLDS)
    ]


def _trial(row: str, source: Gtsdb, splits: Splits, out: str, seed: int, **options: Any) -> Trial:
    return Trial(
        row=row,
        source=source,
        recipe=RECIPE,
        options=TrainOptions(
            out=out, seed=seed, epochs=EPOCHS, eval_every=2, num_workers=0, images_in="memory", **options
        ),
        splits=splits,
    )
