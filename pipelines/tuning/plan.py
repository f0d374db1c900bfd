"""From the options of a sweep to its trials; combinations that are the same training are one."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ats_core.recipes import Recipe
from pipelines.storage import objects
from pipelines.training.options import TrainOptions
from pipelines.training.run_directory import RunDirectory
from pipelines.training.train import Splits, run_name
from pipelines.tuning.data import Data
from pipelines.tuning.options import USE, SweepOptions

Choice = Mapping[str, Any]
"""A value for the model and for each of AXES; None leaves it to the task."""
AXES = ("n_patches", "estimator", "view_size", "patch_size", "entropy_weight")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training of a sweep."""

    name: str
    """Unique in the sweep: its row, its test fold where there are several, its seed."""
    row: str
    """The setting that it shares with those of other seeds and folds."""
    task: Recipe
    """The task's recipe, which the options change."""
    recipe: Recipe
    """As it is trained."""
    options: TrainOptions
    catalog: str
    splits: Splits

    @property
    def run(self) -> str:
        """The URI of its run directory."""
        return objects.join(self.options.out, run_name(self.recipe, self.options, self.catalog, self.splits))

    def summary(self) -> dict[str, Any] | None:
        """What it gave; None before it has ended."""
        return RunDirectory(self.run).read("summary.json")

    def began(self) -> bool:
        """Whether there is anything in its run directory."""
        return objects.exists(objects.join(self.run, "config.json"))


def choices(options: SweepOptions) -> dict[str, Sequence[Any]]:
    """What can be chosen of the model and of each of AXES."""
    values = (options.patch_counts, options.estimators, options.views(), options.patch_sizes, options.entropy_weights)
    return {"model": options.models} | {axis: of or (None,) for axis, of in zip(AXES, values, strict=True)}


def combinations(options: SweepOptions) -> Iterator[Choice]:
    """Every combination, the same trainings among them."""
    axes = choices(options)
    return (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))


def trials_of(options: SweepOptions, data: Data) -> list[Trial]:
    """All trainings, every setting of the first seed and fold before those of the next."""
    found: dict[Any, Trial] = {}
    for seed, splits, choice in product(options.seeds, data.splits, list(combinations(options))):
        trial = trial_of(options, data, choice, seed, splits)
        found.setdefault((trial.recipe, seed, splits), trial)
    return list(found.values())


def trial_of(options: SweepOptions, data: Data, choice: Choice, seed: int, splits: Splits) -> Trial:
    """The training of a combination."""
    model, swept = choice["model"], {axis: choice[axis] for axis in AXES if axis in USE[choice["model"]]}
    view = swept.pop("view_size", None) or data.recipe.view_size
    task = data.recipe_at(view)
    run = options.of_run(model, seed, **swept)
    recipe = run.recipe(task)
    row = _row(recipe, [axis for axis, values in choices(options).items() if len(values) > 1])
    name = row if len(data.splits) == 1 else f"{row} test={'+'.join(splits.test)}"
    return Trial(
        name=f"{name} seed={seed}",
        row=row,
        task=task,
        recipe=recipe,
        options=run,
        catalog=data.catalog(view),
        splits=splits,
    )


def _row(recipe: Recipe, several: Sequence[str]) -> str:
    """The model and its patches, or its view where it has none; then what else there are several of."""
    view = "x".join(map(str, recipe.view_size))
    shown = [axis for axis in ("estimator", "view_size", "patch_size", "entropy_weight") if axis in several]
    if recipe.model == "cnn":
        return f"cnn-{view}"
    values = {axis: view if axis == "view_size" else getattr(recipe, axis) for axis in shown}
    changes = [f" {axis}={value}" for axis, value in values.items() if axis in USE[recipe.model]]
    return f"{recipe.model}-{recipe.n_patches}" + "".join(changes)


def sweep_name(options: SweepOptions, trials: Sequence[Trial]) -> str:
    """A name that is readable, and unique to the trials and how they are chosen."""
    chosen = (options.search, options.samples if options.search != "grid" else 0, options.asha, options.grace_epochs)
    digest = hashlib.sha256(repr((*(trial.run for trial in trials), chosen)).encode()).hexdigest()[:8]
    return options.name or f"{trials[0].recipe.task}-{digest}"
