"""The model that scores: read once, by whom it is wanted, and named by what it says."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ats_core import bundle
from ats_core.errors import RecipeError
from ats_core.models import CNN, RELEASED, AttentionSampling, Model
from ats_core.recipes import Recipe
from pipelines.scoring.options import ScoreOptions
from pipelines.training.run_directory import model_files

MAX_PATCHES = 200  # of --until, unless it is told


def load(uri: str, *, own_networks: bool = False) -> tuple[Model, Recipe]:
    """The model of a training run or of a bundle, in evaluation mode, and its recipe; BundleError without one."""
    return bundle.loads(model_files(uri), own_networks=own_networks)


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model and how it is asked: all that is written of an image depends on. Picklable; loaded where it is used."""

    files: Mapping[str, bytes]
    recipe: Recipe
    name: str
    """NAME@DIGEST: how people call it, and what rows are valid by."""
    n_patches: int
    """Read of each image at first; 0 of a model that reads none."""
    most: int
    """Drawn of each image."""
    until: float | None
    seed: int
    estimator: str
    """Of the draws."""
    precision: str
    own_networks: bool
    grid: tuple[int, int]
    """Rows and columns of its cells."""
    draws: bool
    """Whether it estimates from a draw, which holds all that the view told; else the view is needed once more."""

    @classmethod
    def of(cls, options: ScoreOptions) -> "Scorer":
        """The model that the options name, asked as they say.

        Raises:
            BundleError: it cannot be read.
            RecipeError: it is asked for what it has not.
        """
        files = model_files(options.model)
        model, recipe = bundle.loads(files, own_networks=options.own_networks)
        first, most = _patches(model, recipe, options)
        parts = [part for part in options.model.split("/") if part and part != "model"]
        asked = {"n_patches": first, "most": most, "until": options.until, "seed": options.seed}
        written = {name: getattr(options, name) for name in ("precision", "attention", "geojson")}
        return cls(
            files=files,
            recipe=recipe,
            name=f"{parts[-1] if parts else 'model'}@{_digest(files, asked | written)}",
            precision=options.precision,
            own_networks=options.own_networks,
            estimator=_estimator(model),
            grid=model.grid.size,
            draws=isinstance(model, AttentionSampling),
            **asked,
        )

    def load(self) -> Model:
        """The model, in evaluation mode, that draws as many cells as are wanted."""
        model, _ = bundle.loads(self.files, own_networks=self.own_networks)
        if isinstance(model, AttentionSampling):
            model.n_patches = self.most
        return model


def _patches(model: Model, recipe: Recipe, options: ScoreOptions) -> tuple[int, int]:
    """Patches of each image: those read first, and those drawn."""
    cells = model.grid.n_cells
    if isinstance(model, CNN) and options.attention:
        raise RecipeError(f"--attention with a model {recipe.model!r}", "it has none", "Leave it out.")
    if not isinstance(model, AttentionSampling):
        for name in ("n_patches", "until"):
            if getattr(options, name) is not None:
                thing = f"--{name.replace('_', '-')} with a model {recipe.model!r}"
                raise RecipeError(thing, "it draws no patches, so that their number is its own", "Leave it out.")
        read = 0 if isinstance(model, CNN) else cells
        return read, read
    first = options.n_patches or recipe.n_patches
    if first > cells:
        raise RecipeError(f"{first} patches", f"the model has {cells} cells to draw from", "Check --n-patches.")
    if options.until is None:
        return first, first
    most = options.max_patches or MAX_PATCHES
    if first > most:
        raise RecipeError(f"{first} patches", f"there are to be {most} at most", "Check --max-patches.")
    return first, min(most, cells)


def _estimator(model: Model) -> str:
    """By which its draws are weighed; a whole grid is what `unordered` draws in the end."""
    if not isinstance(model, AttentionSampling):
        return "unordered"
    return "sequential" if model.estimator == RELEASED else model.estimator


def _digest(files: Mapping[str, bytes], asked: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(repr(sorted(asked.items())).encode())
    for name in (bundle.CONFIG, bundle.WEIGHTS):
        digest.update(files[name])
    return digest.hexdigest()[:12]
