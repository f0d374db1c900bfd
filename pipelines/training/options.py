"""The options that every training job shares, under one name everywhere."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ats_core.errors import RecipeError
from ats_core.recipes import Recipe
from pipelines.storage import objects
from pipelines.storage.patches import ImagesIn, OnError


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
    model: Literal["ats", "uniform"] = "ats"
    """Attention sampling, or the baseline that draws its patches uniformly."""
    n_patches: int | None = None
    """Patches read and classified for each image, N."""
    estimator: Literal["unordered", "sequential", "last", "iid", "released"] | None = None
    """How drawn patches are weighted; `released` is the authors' biased backward, for comparison."""
    epochs: int | None = None
    """Passes over the training split."""
    batch_size: int | None = None
    """Images an update, over all workers."""
    lr: float | None = None
    """Learning rate of Adam."""
    entropy_weight: float | None = None
    """Weight of the entropy of the attention, which keeps it from collapsing early."""
    seed: int = 0
    """Seed of the initial weights, the order, the augmentation and the draws."""
    num_workers: int = 1
    """Data-parallel training workers."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where workers train; `auto` takes GPUs if there are enough now, `gpu` waits until the cluster has grown them."""
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
        """Relative paths become absolute, since workers run in folders of their own."""
        for name in ("num_workers", "epochs", "n_patches", "batch_size"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise RecipeError(
                    f"{name} {number}", "there must be at least one", f"Check --{name.replace('_', '-')}."
                )
        for name in ("catalog", "images", "out"):
            if (uri := getattr(self, name)) is not None:
                object.__setattr__(self, name, objects.absolute(uri))

    def recipe(self, recipe: Recipe) -> Recipe:
        """The task's recipe with what the user has set."""
        names = ("model", "n_patches", "estimator", "epochs", "batch_size", "lr", "entropy_weight")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return replace(recipe, **given | ({"epochs": 1} if self.smoke else {}))
