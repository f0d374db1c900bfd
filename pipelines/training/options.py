"""The options that every training job shares, under one name everywhere."""

from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Literal

from ats_core.errors import RecipeError
from ats_core.recipes import Recipe
from ats_core.sampling import Sampling
from pipelines.storage import objects
from pipelines.storage.patches import ImagesIn, OnError

Precision = Literal["auto", "float32", "bfloat16"]

OF_RECIPE = (
    *("model", "n_patches", "patch_size", "estimator", "anomaly", "chunk"),
    *("epochs", "batch_size", "lr", "entropy_weight"),
)
"""Options that replace the recipe's setting of that name."""
NEW_SETTINGS = ("anomaly",)
"""Of these, what earlier runs do not know, which had 0: a run that does not use them is called as it was then."""


def default_out() -> str:
    """`runs` here; in the home folder when this one is a copy that Ray made for a job, and will delete."""
    return str(Path.home() / "runs") if "working_dir_files" in Path.cwd().parts else "runs"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a training run; what is left unset comes from the task's recipe (ats_core/recipes.py)."""

    catalog: str | None = None
    """URI of a catalog made by jobs/build_catalog.py. Without it one is built under --out from --images."""
    images: str | None = None
    """Folder or URI prefix of the data set in its original layout."""
    out: str = field(default_factory=default_out)
    """Folder or URI (s3://...) for catalogs and runs. With several nodes it must be shared by all."""
    view_size: tuple[int, int] | None = None
    """Height and width of the low-resolution view; the data set's own when not given. All that the CNN sees."""
    model: Literal["ats", "uniform", "deep_mil", "cnn", "ips"] = "ats"
    """Attention sampling; uniform sampling; Deep MIL on a grid; a CNN on the view; iterative patch selection."""
    n_patches: int | None = None
    """Patches read and classified for each image, N; kept by `ips`; of no use to `deep_mil` (all) and `cnn` (none)."""
    patch_size: int | None = None
    """Side of a patch, in pixels of the full image; the task's own when not given."""
    estimator: Literal["unordered", "sequential", "last", "iid", "released"] | None = None
    """How drawn patches are weighted; `released` is the authors' biased backward, for comparison."""
    start_from: str | None = None
    """URI of a run or a model: begin with its networks; of another kind of model, with what both have of patches."""
    anomaly: float | None = None
    """Of `ats`: begin with attention on colours that are rare in their view, to this power; try 1 for small things."""
    epochs: int | None = None
    """Passes over the training split."""
    batch_size: int | None = None
    """Images an update, over all workers."""
    lr: float | None = None
    """Learning rate of Adam; `ips` on features of 512 (colon cancer) learns at 1e-4, and not at 1e-3."""
    entropy_weight: float | None = None
    """Weight of the entropy of the attention, which keeps draws exploring; unless given, 0 for all models but `ats`."""
    gated: bool = False
    """`deep_mil` with gated attention."""
    chunk: int | None = None
    """Patches in one pass of `ips`, or of `deep_mil`, which computes each twice then; for less memory than all."""
    eval_sampling: Sampling = "drawn"
    """Patches of an evaluation: drawn as in training, those of most attention, or exactly: all, an image at a time."""
    seed: int = 0
    """Seed of initial weights, order, augmentation and draws; and of the split where the data has none."""
    num_workers: int = 1
    """Data-parallel training workers; 0 trains in the job's own process, which starts at once and is not replaced."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where workers train; `auto` takes GPUs if there are enough now, `gpu` waits until the cluster has grown them."""
    precision: Precision = "auto"
    """Of the networks; `auto` is bfloat16 where the hardware computes in it. All else stays in float32 or more."""
    read_ahead: int = 1
    """Batches whose patches are read ahead of their step; 0 is the paper's exact order, and what `released` needs."""
    images_in: ImagesIn = "bucket"
    """Where images live: read anew each time; in each worker's memory, decoded or as stored; or on its accelerator."""
    memory_limit_mb: float = 4096
    """Of images in a worker's memory or on its accelerator; those beyond it are read again each time."""
    on_error: OnError = "raise"
    """An image that cannot be read ends the run; or `skip` it, or `mask` what cannot be had; 5 % of all at most."""
    eval_every: int | None = None
    """Epochs between evaluations, each with a checkpoint; a twentieth of the run when not given."""
    smoke: bool = False
    """One epoch on a few images: does it run here at all?"""

    def __post_init__(self) -> None:
        """Refuse what no run can have; relative paths become absolute, since workers run in folders of their own."""
        least = dict.fromkeys(("num_workers", "anomaly", "seed", "read_ahead"), 0) | dict.fromkeys(
            ("epochs", "eval_every", "n_patches", "patch_size", "batch_size", "chunk"), 1
        )
        for name, smallest in least.items():
            if (number := getattr(self, name)) is not None and number < smallest:
                remedy = f"Check --{name.replace('_', '-')}."
                raise RecipeError(f"{name} {number}", f"it must be at least {smallest}", remedy)
        if self.lr is not None and not self.lr > 0:
            raise RecipeError(f"lr {self.lr}", "nothing would be learned", "Check --lr.")
        for name, models in (("gated", ("deep_mil",)), ("chunk", ("deep_mil", "ips"))):
            if getattr(self, name) and self.model not in models:
                thing, remedy = f"--{name} with --model {self.model}", f"It is an option of {' and '.join(models)}."
                raise RecipeError(thing, "the model has no use for it", remedy)
        for name in ("catalog", "images", "out", "start_from"):
            if (uri := getattr(self, name)) is not None:
                object.__setattr__(self, name, objects.absolute(uri))

    def recipe(self, recipe: Recipe) -> Recipe:
        """The task's recipe with what the user has set."""
        given = {name: value for name in OF_RECIPE if (value := getattr(self, name)) is not None}
        if self.model != "ats":
            # They do not draw by attention, so that there is nothing to keep exploring, and nowhere to start from.
            given = {"entropy_weight": 0.0} | given | {"anomaly": 0.0}
        if self.model == "deep_mil":
            given |= {"n_patches": prod(recipe.mil_grid), "gated": self.gated}
        elif self.model == "cnn":
            given |= {"n_patches": 0}
        return replace(recipe, **given | ({"epochs": 1} if self.smoke else {}))
