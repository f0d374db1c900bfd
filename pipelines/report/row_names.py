"""What a run is called among others: its model and patches, and the settings in which it differs from them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ats_core.recipes import Augmentation
from pipelines.report.table import name_of
from pipelines.training.options import NEW_SETTINGS, OF_RECIPE

IN_NAME = ("task", "model", "n_patches", "classes")
"""Of a recipe, what the first part of a name says; the classes come from the catalog."""
NOT_A_SETTING = ("seed", "fold", "runs", "out", "view_size", "eval_every", "memory_limit_mb", *OF_RECIPE)
"""Of a run's options, which of several equal runs it is, where it lies, what does not change it, and the recipe's."""


def row_names(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each run of some config.json, the same for those that differ in seed or test split alone.

    Model and patches, after the task where there are several; then the settings in which runs of this model differ, as
    "ats-10, entropy_weight 0.1". A value that most of these runs have goes unsaid. A setting that an older run does
    not know is not one that it differs in.
    """
    tasks = {config["recipe"]["task"] for config in configs}
    settings = [_settings(config) for config in configs]
    kinds = [(config["recipe"]["task"], config["recipe"]["model"]) for config in configs]
    usual = {kind: _usual([s for s, k in zip(settings, kinds, strict=True) if k == kind]) for kind in set(kinds)}
    names = (_first_part(config["recipe"], with_task=len(tasks) > 1) for config in configs)
    return [
        ", ".join([name, *_unusual(own, usual[kind])]) for name, own, kind in zip(names, settings, kinds, strict=True)
    ]


def _first_part(recipe: Mapping[str, Any], *, with_task: bool) -> str:
    name = name_of(recipe)
    return name if with_task else name.removeprefix(f"{recipe['task']} ")


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    recipe, options = config["recipe"], config.get("options", {})
    named = IN_NAME if recipe["n_patches"] else (*IN_NAME, "view_size")  # the name of a model without patches has it
    of_recipe = dict.fromkeys(NEW_SETTINGS, 0.0) | {name: value for name, value in recipe.items() if name not in named}
    of_recipe["augmentation"] = asdict(Augmentation()) | recipe.get("augmentation", {})
    of_options = {name: value for name, value in options.items() if name not in NOT_A_SETTING}
    return of_options | dict(_flat(of_recipe))


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value


def _usual(settings: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """By setting, the value that more than half have of those that have any; None where there is no such value."""
    names = dict.fromkeys(name for own in settings for name in own)
    counts = {name: Counter(_text(own[name]) for own in settings if name in own) for name in names}
    most = {name: count.most_common(1)[0] for name, count in counts.items()}
    return {name: value if 2 * n > counts[name].total() else None for name, (value, n) in most.items()}


def _unusual(own: Mapping[str, Any], usual: Mapping[str, str | None]) -> list[str]:
    """A setting and its value; of a switch its name alone where it is on."""
    values = {name: _text(own[name]) for name in usual if name in own}
    said = {name: value for name, value in values.items() if value != usual[name]}
    return [name if value == "True" else f"{name} {value}" for name, value in said.items()]


def _text(value: Any) -> str:
    """A value as it is shown; of a URI, the last part."""
    if isinstance(value, list | tuple):
        return "x".join(map(_text, value))
    return str(value).rstrip("/").rsplit("/", 1)[-1]
