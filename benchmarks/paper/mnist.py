"""Megapixel MNIST, the paper's Figures 2 and 3: error against the number of patches, estimators, and the CNN.

The paper's 1500 x 1500 take an accelerator. Scaled down to 300, a uniform patch of 32 x 32 holds the centre of one of
the five digits with a chance of 5.7 %, against .6 % of the paper's patches, so that learning starts within minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ats_core.recipes import MegapixelMNIST, Recipe
from benchmarks.paper.trials import Trial
from pipelines.catalog.sources.megapixel_mnist import MegapixelMNIST as Source
from pipelines.storage import objects
from pipelines.training.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the task is."""

    side: int
    patch_size: int
    n_noise: int
    n_train: int
    n_test: int
    epochs: int
    batch_size: int


PAPER = Scale(side=1500, patch_size=50, n_noise=50, n_train=5000, n_test=1000, epochs=500, batch_size=128)
SMALL = Scale(side=300, patch_size=32, n_noise=4, n_train=2000, n_test=500, epochs=16, batch_size=32)

PATCHES: Mapping[str, Mapping[str, Any]] = {f"ATS-{n}": {"n_patches": n} for n in (5, 10, 25, 50, 100)}
CNN: Mapping[str, Mapping[str, Any]] = {"CNN": {"model": "cnn"}}
ESTIMATORS: Mapping[str, Mapping[str, Any]] = {
    name + title: {"estimator": name, "n_patches": 10, "read_ahead": 0, **weight}
    for title, weight in (("", {}), (", no entropy", {"entropy_weight": 0.0}))
    for name in ("unordered", "sequential", "iid", "released")
}

ANOMALY: Mapping[str, Mapping[str, Any]] = {
    f"anomaly {power:g}": {"anomaly": power, "n_patches": 10} for power in (0.0, 1.0, 2.0)
}


def patches(digits: str, out: str, runs: int, scale: Scale) -> list[Trial]:
    """Figure 2: more patches, less error; and the CNN on all pixels, but not at the paper's size: 40 GB of views."""
    return _trials(PATCHES if scale is PAPER else PATCHES | CNN, digits, out, runs, scale)


def estimators(digits: str, out: str, runs: int, scale: Scale) -> list[Trial]:
    """The same training by each estimator, with the paper's weight of the entropy and without any."""
    return _trials(ESTIMATORS, digits, out, runs, scale)


def anomaly(digits: str, out: str, runs: int, scale: Scale) -> list[Trial]:
    """How long attention takes to find the digits from an even start, and from what is rare."""
    return _trials(ANOMALY, digits, out, runs, scale)


def _trials(rows: Mapping[str, Mapping[str, Any]], digits: str, out: str, runs: int, scale: Scale) -> list[Trial]:
    return [_trial(row, digits, out, seed, scale, options) for seed in range(runs) for row, options in rows.items()]


def _trial(row: str, digits: str, out: str, seed: int, scale: Scale, options: Mapping[str, Any]) -> Trial:
    source = Source(
        images=objects.join(out, f"mnist-{scale.side}"),
        mnist=digits,
        **{name: getattr(scale, name) for name in ("side", "n_noise", "n_train", "n_test")},
    )
    view_size = (scale.side, scale.side) if options.get("model") == "cnn" else None
    return Trial(
        row=row,
        source=source,
        recipe=recipe_at(scale),
        options=TrainOptions(
            out=out,
            seed=seed,
            num_workers=0,
            images_in="memory-encoded" if scale is PAPER else "memory",  # 5,000 large images decoded have 34 GB
            eval_every=max(1, scale.epochs // 8),
            view_size=view_size,
            **options,
        ),
    )


def recipe_at(scale: Scale) -> Recipe:
    """The paper's settings at a scale."""
    return replace(MegapixelMNIST(), patch_size=scale.patch_size, epochs=scale.epochs, batch_size=scale.batch_size)
