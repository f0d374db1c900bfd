"""Colon cancer, the paper's Table 1, and what goes below it: 5 cross-validations of 5 folds each, a row a model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ats_core.recipes import Augmentation, ColonCancer, Recipe
from benchmarks.paper.trials import Trial
from pipelines.catalog.sources.colon_cancer import ColonCancer as Source
from pipelines.training.options import TrainOptions
from pipelines.training.train import fold_splits

FOLDS = 5
EPOCHS = 70
"""Or 1,120 updates; fewer where a step takes from a tenth of a second to a second of a core."""

PAPER = {  # train loss, test error: mean and standard error of 5 runs
    "U-10": ("0.210 +- 0.031", "0.156 +- 0.006"),
    "U-50": ("0.075 +- 0.000", "0.124 +- 0.010"),
    "CNN 0.5": ("0.002 +- 0.000", "0.104 +- 0.009"),
    "CNN 1": ("0.002 +- 0.000", "0.092 +- 0.012"),
    "Deep MIL": ("0.007 +- 0.000", "0.093 +- 0.004"),
    "ATS-10": ("0.083 +- 0.019", "0.093 +- 0.014"),
    "ATS-50": ("0.028 +- 0.002", "0.093 +- 0.019"),
}

MODELS: Mapping[str, Mapping[str, Any]] = {
    "ATS-10": {"model": "ats", "n_patches": 10},
    "U-10": {"model": "uniform", "n_patches": 10},
    "ATS-50": {"model": "ats", "n_patches": 50},
    "U-50": {"model": "uniform", "n_patches": 50},
    "CNN 0.5": {"model": "cnn", "view_size": (250, 250), "epochs": 40},
    "CNN 1": {"model": "cnn", "view_size": (500, 500), "epochs": 20},
    "Deep MIL": {"model": "deep_mil", "epochs": 10},
    "IPS-50": {"model": "ips", "n_patches": 50, "lr": 1e-4, "epochs": 40},
}

ESTIMATORS: Mapping[str, Mapping[str, Any]] = {
    f"{estimator}, entropy {weight:g}": {"estimator": estimator, "entropy_weight": weight, "read_ahead": 0}
    for weight in (0.0, 0.01)
    for estimator in ("unordered", "sequential", "iid", "released")
}

ENTROPY: Mapping[str, Mapping[str, Any]] = {
    f"entropy {weight:g}": {"entropy_weight": weight} for weight in (0.0, 0.01, 0.1, 1.0)
}

_RECIPE = ColonCancer()
_COLOURS = Augmentation(contrast=0.2, brightness=0.1)
_STAINS = replace(_RECIPE, augmentation=replace(_RECIPE.augmentation, stain=0.4))
BELOW: Mapping[str, tuple[Recipe, Mapping[str, Any]]] = {
    "paper's augmentation": (replace(_RECIPE, augmentation=_COLOURS), {}),
    "and flips": (_RECIPE, {}),
    "and flips, in float32": (_RECIPE, {"precision": "float32"}),
    "and stains": (_STAINS, {}),
    "and stains, twice as long": (_STAINS, {"epochs": 2 * EPOCHS}),
    "and flips, lower rate at the end": (replace(_RECIPE, lr_drop=0.6), {}),
    "and flips, view of 200": (_RECIPE, {"view_size": (200, 200)}),
}


def models(images: str, out: str, runs: int) -> list[Trial]:
    """Table 1: every model, all folds of a run before the next run."""
    return [
        _trial(row, ColonCancer(), images, out, seed, fold, **options)
        for seed in range(runs)
        for row, options in MODELS.items()
        for fold in range(FOLDS)
    ]


def estimators(images: str, out: str, runs: int) -> list[Trial]:
    """The same training by each estimator, at two entropy weights, same seeds; all draw from the present attention."""
    return _variants(ESTIMATORS, images, out, runs)


def entropy(images: str, out: str, runs: int) -> list[Trial]:
    """Supplement E: weights of the entropy; first folds alone, whose test images show the attention over epochs."""
    return _variants(ENTROPY, images, out, runs, folds=1)


def below(images: str, out: str, runs: int) -> list[Trial]:
    """What augmentation, precision, a lower learning rate at the end and a finer view bring."""
    return [
        _trial(row, recipe, images, out, seed, fold, **options)
        for seed in range(runs)
        for row, (recipe, options) in BELOW.items()
        for fold in range(FOLDS)
    ]


def _variants(
    rows: Mapping[str, Mapping[str, Any]], images: str, out: str, runs: int, folds: int = FOLDS
) -> list[Trial]:
    return [
        _trial(row, ColonCancer(), images, out, seed, fold, **options)
        for seed in range(runs)
        for row, options in rows.items()
        for fold in range(folds)
    ]


def _trial(
    row: str, recipe: Recipe, images: str, out: str, seed: int, fold: int, epochs: int = EPOCHS, **options: Any
) -> Trial:
    return Trial(
        row=row,
        source=Source(images=images, folds=FOLDS, seed=seed),
        recipe=recipe,
        options=TrainOptions(
            out=out,
            seed=seed,
            epochs=epochs,
            eval_every=max(1, epochs // 7),
            num_workers=0,
            images_in="memory",
            **options,
        ),
        splits=fold_splits(FOLDS, fold),
    )
