"""A trained model as two files: `config.json`, the recipe, and `model.safetensors`, the weights; nothing unpickled."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from ats_core.errors import AtsError, BundleError
from ats_core.models import Model
from ats_core.recipes import Augmentation, Recipe

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FORMAT = 1
SAVE_AGAIN = "Save the model again with this version."
SAME_CONFIG = f"Its {CONFIG} must be the one that it was saved with."


def dumps(model: Model, recipe: Recipe) -> dict[str, bytes]:
    """The files of a bundle by name."""
    config = {"format": FORMAT, "recipe": asdict(recipe)}
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    return {CONFIG: json.dumps(config, indent=2).encode(), WEIGHTS: tensors_to_bytes(weights)}


def loads(files: Mapping[str, bytes], *, own_networks: bool = False) -> tuple[Model, Recipe]:
    """The model, in evaluation mode, and its recipe.

    Args:
        files: contents by name, as `dumps` made them.
        own_networks: allow networks named as `package.module:function`. Importing them runs that package's code,
            so a bundle from a stranger is refused unless this is set.

    Raises:
        BundleError: a file is missing, unreadable or does not fit the other.
        RecipeError: the recipe names something that is not known here.
    """
    recipe = _recipe_of(files)
    for name in (recipe.attention, recipe.features, recipe.backbone):
        if ":" in name and not own_networks:
            remedy = "If you trust that package, load with own_networks=True."
            raise BundleError(f"bundle's network {name!r}", "loading it would run foreign code", remedy)
    with _reading(CONFIG, SAVE_AGAIN):
        model = recipe.build()
    weights = _weights_of(files)
    with _reading(WEIGHTS, SAME_CONFIG):
        model.load_state_dict(weights)
    return model.eval(), recipe


def read(files: Mapping[str, bytes]) -> tuple[Recipe, dict[str, Tensor]]:
    """The recipe, and the weights by name; no network is built, so that no foreign code can run.

    Raises:
        BundleError: a file is missing or unreadable.
        RecipeError: the recipe has a setting that no model can have.
    """
    return _recipe_of(files), _weights_of(files)


def save(model: Model, recipe: Recipe, directory: str | Path) -> None:
    """Write a bundle into a local directory, made if need be."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name, content in dumps(model, recipe).items():
        (Path(directory) / name).write_bytes(content)


def load(directory: str | Path, *, own_networks: bool = False) -> tuple[Model, Recipe]:
    """Read a bundle from a local directory; see `loads`."""
    paths = {name: Path(directory) / name for name in (CONFIG, WEIGHTS)}
    return loads({name: path.read_bytes() for name, path in paths.items() if path.is_file()}, own_networks=own_networks)


@contextmanager
def _reading(name: str, remedy: str) -> Iterator[None]:
    """Whatever a damaged file raises, as a BundleError; typed errors say more and pass."""
    try:
        yield
    except AtsError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise BundleError(name, f"{type(error).__name__}: {error}", remedy) from error


def _recipe_of(files: Mapping[str, bytes]) -> Recipe:
    _require_both(files)
    with _reading(CONFIG, SAVE_AGAIN):
        content = json.loads(files[CONFIG])
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
        return recipe_from_dict(content["recipe"])


def _weights_of(files: Mapping[str, bytes]) -> dict[str, Tensor]:
    with _reading(WEIGHTS, SAME_CONFIG):
        return tensors_from_bytes(files[WEIGHTS])


def _require_both(files: Mapping[str, bytes]) -> None:
    for name in (CONFIG, WEIGHTS):
        if name not in files:
            raise BundleError(f"bundle without {name}", "it needs both files", "Save it again with `bundle.save`.")


def recipe_from_dict(settings: Mapping[str, Any]) -> Recipe:
    """A recipe from `asdict` of one, after a passage through JSON."""
    unknown = set(settings) - {f.name for f in fields(Recipe)}
    if unknown:
        raise ValueError(f"unknown settings {sorted(unknown)}")
    tuples = {name: tuple(value) for name, value in settings.items() if isinstance(value, list)}
    return Recipe(**{**settings, **tuples, "augmentation": Augmentation(**settings["augmentation"])})
