"""GTSDB, needles in real scenes: what makes attention find signs of which no box is known.

A frame of 800 x 1360 has 1,450 cells, and in less than half of the frames a prohibitory sign lies in 1.3 % of them.
Patches are small, and as many as a CPU classifies in a tenth of a second.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ats_core.recipes import GermanSigns
from benchmarks.paper.trials import Trial
from pipelines.catalog.sources.gtsdb import Gtsdb
from pipelines.training.options import TrainOptions

EPOCHS, WARM_UP = 16, 10
RECIPE = replace(GermanSigns(), patch_size=48, n_patches=24, batch_size=16, lr=3e-3, entropy_weight=0.0, lr_drop=0.8)

LEVERS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "anomaly": {"anomaly": 2.0},
    "warm-up": {"warm_up": WARM_UP},
    "anomaly and warm-up": {"anomaly": 2.0, "warm_up": WARM_UP},
}


def levers(images: str, out: str, runs: int) -> list[Trial]:
    """Each lever alone, and both, on the task `prohibitory`."""
    return [_trial(row, images, out, seed, **options) for seed in range(runs) for row, options in LEVERS.items()]


def _trial(row: str, images: str, out: str, seed: int, **options: Any) -> Trial:
    return Trial(
        row=row,
        source=Gtsdb(images=images, seed=seed),
        recipe=RECIPE,
        options=TrainOptions(
            out=out, seed=seed, epochs=EPOCHS, eval_every=2, num_workers=0, images_in="memory", **options
        ),
    )
