"""How long the trials of a sweep will take: as long as finished runs of the same settings, else measured here."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

import torch
from torch.optim import Adam

from ats_core.heap import keep_freed_memory
from ats_core.models import Model
from ats_core.recipes import Recipe
from ats_core.step import train_step
from pipelines.storage.layouts import CHANNELS
from pipelines.training.train import SMOKE_IMAGES
from pipelines.tuning.data import Data
from pipelines.tuning.plan import Trial

PIXELS = 2**22
"""Of the views and patches of a probe: some 2 GB of activations at most."""

How = Literal["finished", "a finished run", "a probe"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The time of a trial, and where that is known from."""

    seconds: float
    how: How
    updates: int


def estimates(trials: Sequence[Trial], data: Data, *, threads: int = 1) -> dict[str, Estimate]:
    """By trial the time that it will still take by so many threads; a setting that never finished is measured once."""
    summaries = {trial.name: trial.summary() for trial in trials}
    by_row: dict[str, list[float]] = {}
    for trial in trials:
        if (summary := summaries[trial.name]) is not None:
            by_row.setdefault(trial.row, []).append(summary["wall_s"])
    probed: dict[Recipe, float] = {}
    found = {}
    for trial in trials:
        updates = updates_of(trial, data)
        if summaries[trial.name] is not None:
            found[trial.name] = Estimate(0.0, "finished", updates)
        elif trial.row in by_row:  # the shortest: the time of an interrupted run has its pause in it
            found[trial.name] = Estimate(min(by_row[trial.row]), "a finished run", updates)
        else:
            as_slow = replace(trial.recipe, estimator="unordered", entropy_weight=0.0)
            if as_slow not in probed:
                probed[as_slow] = seconds_per_update(as_slow, threads, on_cpu=trial.options.device == "cpu")
            found[trial.name] = Estimate(updates * probed[as_slow], "a probe", updates)
    return found


def updates_of(trial: Trial, data: Data) -> int:
    """Updates of a whole training."""
    images = SMOKE_IMAGES if trial.options.smoke else data.n_train(trial.recipe.view_size, trial.splits)
    return trial.recipe.epochs * ceil(images / trial.recipe.batch_size)


@torch.random.fork_rng()
def seconds_per_update(recipe: Recipe, threads: int = 1, *, on_cpu: bool) -> float:
    """Time of one update of a model on random pixels, on this machine; the second one, since the first warms up.

    Reading, evaluation and the start are not in it. A batch too large to try is tried in part, and scaled.
    """
    device = torch.device("cuda" if torch.cuda.is_available() and not on_cpu else "cpu")
    if device.type == "cpu":
        keep_freed_memory()
    model = recipe.build().to(device, memory_format=torch.channels_last).train()
    height, width = recipe.view_size
    pixels = height * width + recipe.n_patches * recipe.patch_size**2
    n = min(recipe.batch_size, max(2, PIXELS // pixels))
    optimizer, before = Adam(model.parameters(), lr=recipe.lr, fused=True), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        _update(model, optimizer, recipe, n)
        began = time.perf_counter()
        _update(model, optimizer, recipe, n)
        return (time.perf_counter() - began) * recipe.batch_size / n
    finally:
        torch.set_num_threads(before)


def _update(model: Model, optimizer: Adam, recipe: Recipe, n: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def pixels(*shape: int) -> torch.Tensor:
        return torch.randint(256, (*shape, CHANNELS), dtype=torch.uint8, generator=generator)

    views = model.standardise(pixels(n, *recipe.view_size))
    draw = model.propose(views, generator=torch.Generator(views.device).manual_seed(0))
    patches = model.standardise(pixels(n, draw.cells.shape[1], model.patch_size, model.patch_size))
    labels_B = torch.arange(n, device=views.device) % len(recipe.classes)
    train_step(
        model,
        optimizer,
        views,
        draw,
        patches,
        labels_B,
        entropy_weight=recipe.entropy_weight,
        clip_norm=recipe.clip_norm,
    )


def duration(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
