"""Weights to begin from: those of a model that was trained on something else."""

from collections.abc import Mapping

from torch import Tensor

from ats_core.errors import RecipeError
from ats_core.models import Model
from ats_core.recipes import Recipe

FEATURES = "features"
"""What different models have in common: the network of patches."""
CLASSIFIER = "classifier"
COLOURS = "standardise"
"""Not learned, and the task's own."""


def start_from(model: Model, recipe: Recipe, weights: Mapping[str, Tensor], of: Recipe) -> tuple[str, ...]:
    """Take over the networks of a trained model, in place; the names of those taken.

    Of the same kind of model these are all; but a classifier of other classes means nothing, and begins as it was
    initialised. Of another kind it is the feature network alone.

    Args:
        model: freshly built.
        recipe: of that model.
        weights: of the trained one, by name, as `bundle.read` gives them.
        of: the recipe of the trained one.

    Raises:
        RecipeError: the two have no network in common, or one of another shape in the same place.
    """
    parts = _shared(model, recipe, of)
    for name in parts:
        within = f"{name}."
        of_part = {key.removeprefix(within): value for key, value in weights.items() if key.startswith(within)}
        try:
            getattr(model, name).load_state_dict(of_part)
        except RuntimeError as error:  # weights of other names or shapes, or none
            remedy = "Choose the networks and options that it was trained with, as its patch size and its anomaly."
            raise RecipeError(f"{name} of the model to start from", "it is another network", remedy) from error
    return parts


def _shared(model: Model, recipe: Recipe, of: Recipe) -> tuple[str, ...]:
    names = dict(model.named_children())
    if of.model != recipe.model:
        if "cnn" in (of.model, recipe.model):
            reason = "they have no network in common"
            raise RecipeError(f"{recipe.model} that starts from {of.model}", reason, f"Start from a {recipe.model}.")
        return (FEATURES,)
    own = {COLOURS} if of.classes == recipe.classes else {COLOURS, CLASSIFIER}
    return tuple(name for name in names if name not in own)
