"""The model that a training begins with."""

from ats_core import bundle
from ats_core.models import Model
from ats_core.recipes import Recipe
from ats_core.transfer import start_from
from pipelines.training.run_directory import model_files


def begin(recipe: Recipe, start: str | None) -> tuple[Model, tuple[str, ...]]:
    """A fresh model, from torch's global generator, and which of its networks are those of a model that was trained.

    Args:
        recipe: of the model.
        start: URI of the run, or of the bundle, that it starts from; None for none.

    Raises:
        BundleError: there is none, or it cannot be read.
        RecipeError: a name, a size or a network that does not fit.
    """
    model = recipe.build()
    if start is None:
        return model, ()
    of, weights = bundle.read(model_files(start))
    return model, start_from(model, recipe, weights, of)
