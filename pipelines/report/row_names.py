"""What a run is called among others: its model and patches, and the settings in which it differs from them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ats_core.recipes import Augmentation
from pipelines.report.table import name_of
from pipelines.training.options import NEW_SETTINGS, OF_RECIPE

IN_NAME = ("task", "model", "n_patches")
"""Of a recipe, what the first part of a name says."""
OF_IMAGES = ("mean", "std")
"""Of a recipe, what is measured on the training images, and so differs with the split."""
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
    named = (*IN_NAME, *OF_IMAGES)
    if not recipe["n_patches"]:  # the name of a model without patches has its view
        named = (*named, "view_size")
    of_recipe = dict.fromkeys(NEW_SETTINGS, 0.0) | {name: value for name, value in recipe.items() if name not in named}
    of_recipe["augmentation"] = asdict(Augmentation()) | recipe.get("augmentation", {})
    of_options = {"start_from": None} | {name: value for name, value in options.items() if name not in NOT_A_SETTING}
    return of_options | dict(_flat(of_recipe))


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value


@dataclass(frozen=True, slots=True)
class Usual:
    """What the runs of a model have of one setting."""

    value: str | None
    """What more than half have of those that have any; None where there is no such value."""
    texts: Mapping[str, str]
    """How each value is shown: of URIs the last part, where that tells them apart."""


def _usual(settings: Sequence[Mapping[str, Any]]) -> dict[str, Usual]:
    """By setting."""
    names = dict.fromkeys(name for own in settings for name in own)
    return {name: _usual_of([_text(own[name]) for own in settings if name in own]) for name in names}


def _usual_of(values: Sequence[str]) -> Usual:
    most, n = Counter(values).most_common(1)[0]
    short = {value: value.rstrip("/").rsplit("/", 1)[-1] for value in values}
    alike = Counter(short.values())
    return Usual(
        most if 2 * n > len(values) else None,
        {value: last if alike[last] == 1 else value for value, last in short.items()},
    )


def _unusual(own: Mapping[str, Any], usual: Mapping[str, Usual]) -> list[str]:
    """A setting and its value; of a switch its name alone where it is on, and "no" before one that has none."""
    values = {name: _text(own[name]) for name in usual if name in own}
    said = {name: usual[name].texts[value] for name, value in values.items() if value != usual[name].value}
    return [{"True": name, "None": f"no {name}"}.get(value, f"{name} {value}") for name, value in said.items()]


def _text(value: Any) -> str:
    """Sizes as 100x100, names as a+b."""
    if not isinstance(value, list | tuple):
        return str(value)
    return ("+" if any(isinstance(part, str) for part in value) else "x").join(map(str, value))
