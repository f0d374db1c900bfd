"""Weights to begin from: those of a model that was trained on something else."""

from collections.abc import Mapping

from torch import Tensor

from ats_core.errors import RecipeError
from ats_core.models import Model
from ats_core.recipes import Recipe

OF_MEANS = ("ats", "uniform", "deep_mil")
"""Models that classify a mean of features: a classifier of one reads what another's does."""
OF_NETWORKS = {"attention": ("attention", "anomaly"), "features": ("features",), "backbone": ("backbone",)}
"""Of a part that is a network, the settings that decide what its weights mean."""


def start_from(model: Model, recipe: Recipe, weights: Mapping[str, Tensor], of: Recipe) -> tuple[str, ...]:
    """Take over what a trained model has learned, in place; the names of the parts taken.

    Of the same kind of model these are all, but of another kind the feature network alone. A classifier is taken where
    it tells the same classes from the same means; else it begins as it was initialised. How pixels are standardised is
    no part of it: that is the task's own.

    Args:
        model: freshly built.
        recipe: of that model.
        weights: of the trained one, by name, as `bundle.read` gives them.
        of: the recipe of the trained one.

    Raises:
        RecipeError: the two have no network in common, or another in the same place.
    """
    parts = _shared(model, recipe, of)
    for name in parts:
        for setting in OF_NETWORKS.get(name, ()):
            if (theirs := getattr(of, setting)) != (ours := getattr(recipe, setting)):
                raise _misfit(name, f"it has {setting} {theirs}, not {ours}")
        of_part = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        try:
            getattr(model, name).load_state_dict(of_part)
        except RuntimeError as error:  # weights of other names or shapes
            raise _misfit(name, "its weights are of other shapes") from error
    return parts


def _shared(model: Model, recipe: Recipe, of: Recipe) -> tuple[str, ...]:
    same_classes = of.classes == recipe.classes
    if of.model == recipe.model:
        own = {"standardise"} if same_classes else {"standardise", "classifier"}
        return tuple(name for name, _ in model.named_children() if name not in own)
    if "cnn" in (of.model, recipe.model):
        thing, reason = f"{recipe.model} that starts from {of.model}", "they have no network in common"
        raise RecipeError(thing, reason, f"Start from a {recipe.model}.")
    of_means = {of.model, recipe.model} <= set(OF_MEANS)
    return ("features", "classifier") if same_classes and of_means else ("features",)


def _misfit(name: str, reason: str) -> RecipeError:
    remedy = "Choose the networks and options that it was trained with."
    return RecipeError(f"{name} of the model to start from", reason, remedy)
