"""GTSDB, needles in real scenes: what makes attention find signs of which no box is known.

A frame of 800 x 1360 has 1,450 cells, and in less than half of the frames a prohibitory sign lies in 1.3 % of them.
Patches are small, and as many as a CPU classifies in a tenth of a second.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ats_core.recipes import GermanScenes as Scenes
from ats_core.recipes import GermanSigns
from benchmarks.paper.trials import Trial
from pipelines.catalog.sources.german_scenes import GermanScenes
from pipelines.catalog.sources.gtsdb import Gtsdb
from pipelines.storage import objects
from pipelines.training.options import TrainOptions
from pipelines.training.train import TRAIN_TEST, Splits, fold_splits

Task = Literal["prohibitory", "speed_limit"]
Light = Literal["clear", "adverse"]
FOLDS = 5
RECIPE = GermanSigns()

LEVERS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"anomaly": 0.0},
    "anomaly": {},
    "anomaly, 48 patches": {"n_patches": 48},
    "anomaly, 10 of 100 x 100": {"n_patches": 10, "patch_size": 100},
    "anomaly, entropy .01": {"entropy_weight": 0.01},
}
MODELS: Mapping[str, Mapping[str, Any]] = {
    "ATS-24": {},
    "U-24": {"model": "uniform"},
    "CNN 0.3": {"model": "cnn"},
    "Deep MIL": {"model": "deep_mil", "chunk": 952},
    "IPS-24": {"model": "ips"},
}
"""The grid of those that read whole frames has 476 patches; two frames a pass, since a step of all takes gigabytes."""

LESSONS: Mapping[Task, Sequence[tuple[Task, Light]]] = {
    "prohibitory": (("prohibitory", "clear"), ("prohibitory", "adverse")),
    "speed_limit": (("prohibitory", "clear"), ("speed_limit", "clear"), ("speed_limit", "adverse")),
}
"""Painted scenes, one after the other: what a sign is comes before what is written on it."""
FROM_SCENES: Mapping[str, Any] = {"lr": 1e-3, "epochs": 8}
"""Of a training that starts from painted scenes, of which half of the updates are enough."""
FEWER: Mapping[str, Mapping[str, Any]] = {"Deep MIL": {"epochs": 4}}
"""Of the model whose frames take longest."""


def levers(images: str, out: str, runs: int) -> list[Trial]:
    """Anomaly, with one option more each, and the recipe without; task `prohibitory`, the split of the seed."""
    return [
        _trial(row, Gtsdb(images=images, seed=seed), TRAIN_TEST, out, seed, **options)
        for seed in range(runs)
        for row, options in LEVERS.items()
    ]


def models(images: str, out: str, runs: int, task: Task) -> list[Trial]:
    """Every model, from frames alone and from painted scenes, all folds of a run before the next run."""
    rows = [(row, options, None) for row, options in MODELS.items()]
    rows += [
        (f"{row}, from scenes", options | FROM_SCENES | FEWER.get(row, {}), scenes(out, task, options))
        for row, options in MODELS.items()
    ]
    return [
        _trial(
            row,
            Gtsdb(images=images, task=task, seed=seed, folds=FOLDS),
            fold_splits(FOLDS, fold),
            out,
            seed,
            start=start,
            **options,
        )
        for seed in range(runs)
        for row, options, start in rows
        for fold in range(FOLDS)
    ]


def scenes(out: str, task: Task, options: Mapping[str, Any]) -> Trial:
    """The training on painted scenes that all seeds and folds start from: for a CNN of a CNN, else of attention."""
    model = "cnn" if options.get("model") == "cnn" else "ats"
    trial: Trial | None = None
    for of, light in LESSONS[task]:
        trial = Trial(
            row=f"{model} on {light} scenes of {of}",
            source=GermanScenes(images=objects.join(out, "images", f"german-{of}-{light}"), task=of, light=light),
            recipe=Scenes(),
            options=TrainOptions(out=out, model=model, num_workers=0, images_in="memory", memory_limit_mb=5000),
            start=trial,
        )
    assert trial
    return trial


def _trial(
    row: str, source: Gtsdb, splits: Splits, out: str, seed: int, *, start: Trial | None = None, **options: Any
) -> Trial:
    return Trial(
        row=row,
        source=source,
        recipe=RECIPE,
        options=TrainOptions(out=out, seed=seed, eval_every=2, num_workers=0, images_in="memory", **options),
        splits=splits,
        start=start,
    )
