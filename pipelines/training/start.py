"""What a training begins with, where that is another one's networks."""

from ats_core import bundle
from ats_core.models import Model
from ats_core.recipes import Recipe
from ats_core.transfer import start_from
from pipelines.training.run_directory import model_files


def begin(model: Model, recipe: Recipe, start: str) -> tuple[str, ...]:
    """Give a fresh model the networks of a trained one, in place; the names of those.

    Args:
        model: of the recipe.
        recipe: its settings.
        start: URI of the run, or of the bundle, that it starts from.

    Raises:
        BundleError: there is none, or it cannot be read.
        RecipeError: a network that does not fit.
    """
    of, weights = bundle.read(model_files(start))
    return start_from(model, recipe, weights, of)
