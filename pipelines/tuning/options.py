"""What a sweep goes over, and how."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from tyro.conf import Suppress, arg

from ats_core.errors import RecipeError
from pipelines.storage import objects
from pipelines.training.options import TrainOptions

Task = Literal["road_scenes", "speed_limits", "german_scenes", "gtsdb", "colon_cancer", "megapixel_mnist", "images"]
Model = Literal["ats", "uniform", "deep_mil", "cnn", "ips"]
Estimator = Literal["unordered", "sequential", "last", "iid", "released"]

USE = {
    "ats": ("n_patches", "estimator", "view_size", "patch_size", "entropy_weight"),
    "uniform": ("n_patches", "estimator", "view_size", "patch_size"),
    "deep_mil": ("patch_size", "entropy_weight", "gated", "chunk"),
    "ips": ("n_patches", "patch_size", "entropy_weight", "chunk"),
    "cnn": ("view_size",),
}
"""Options that change what a model computes; `deep_mil` and `ips` never look at the view."""


@dataclass(frozen=True, kw_only=True)
class SweepOptions(TrainOptions):
    """What is swept, and the options that all trainings share."""

    task: Task | None = None
    """Whose recipe the nets are of; when not given, what the catalog was made of, or generated road scenes."""
    labels: str | None = None
    """Of your own images, `--task images`: a CSV with the columns image,label[,split,group]."""
    models: tuple[Model, ...] = ("ats", "uniform")
    """Models to compare."""
    patch_counts: Annotated[tuple[int, ...], arg(name="n-patches")] = (5, 10, 25, 50)
    """Patches of an image, of the models that draw or choose some."""
    estimators: tuple[Estimator, ...] = ()
    """How drawn patches are weighted; the task's own when not given, as for all lists that follow."""
    view_sizes: tuple[str, ...] = ()
    """Views, as 100x100: height by width. All that the CNN sees."""
    patch_sizes: tuple[int, ...] = ()
    """Sides of a patch, pixels."""
    entropy_weights: tuple[float, ...] = ()
    """Weights of the entropy of the attention; of no use to `uniform` and `cnn`."""
    seeds: tuple[int, ...] = (0,)
    """Independent runs of every setting."""
    folds: int = 5
    """Parts of a data set without a test split of its own (colon cancer)."""
    test_folds: tuple[int, ...] = (0,)
    """Which of these test, each in a training of its own: `0 1 2 3 4` is a whole cross-validation."""
    search: Literal["grid", "optuna"] = "grid"
    """All trials; or --samples of them, chosen by Optuna for a small test loss (the extra `search`)."""
    samples: int = 20
    """Trials of a search."""
    asha: bool = False
    """Stop trials early whose test loss is not among the best third at their 1st, 3rd, 9th ... --grace-epochs."""
    grace_epochs: int | None = None
    """Epochs that every trial gets; a ninth of all when not given. Only epochs that are evaluated count."""
    cpus_per_trial: float = 1.0
    """Reserved for a trial in its own process (--num-workers 0); its threads."""
    gpus_per_trial: float | None = None
    """The same of GPUs, as .25 for four trials on one; when not given a whole one where --device takes GPUs."""
    max_concurrent: int | None = None
    """Trials at once; as many as the cluster holds when not given."""
    name: str | None = None
    """Folder of the results, below OUT/sweeps; named by the settings when not given."""
    dry_run: bool = False
    """Print the trials, what they need and how long they will take; train nothing."""
    num_workers: int = 0
    """Data-parallel workers of each trial; 0 trains in the trial's own process, which the next trial takes over."""

    # What is swept has no single value. `deep_mil` is the model that all options of a single run go with.
    model: Suppress[str] = "deep_mil"
    n_patches: Suppress[int | None] = None
    patch_size: Suppress[int | None] = None
    estimator: Suppress[str | None] = None
    view_size: Suppress[tuple[int, int] | None] = None
    entropy_weight: Suppress[float | None] = None
    seed: Suppress[int] = 0

    def __post_init__(self) -> None:
        """Refuse what no sweep can have."""
        super().__post_init__()
        if self.labels is not None:
            object.__setattr__(self, "labels", objects.absolute(self.labels))
        for name, values in (("models", self.models), ("seeds", self.seeds), ("test_folds", self.test_folds)):
            if not values:
                raise RecipeError(f"--{name.replace('_', '-')}", "it names none", "Give at least one.")
        for name in ("samples", "grace_epochs", "max_concurrent"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise RecipeError(f"{name} {number}", "it must be at least 1", f"Check --{name.replace('_', '-')}.")
        if self.search != "grid" and len(self.seeds) * len(self.test_folds) > 1:
            reason = "a search over them would find the luckiest"
            raise RecipeError("several seeds or test folds", reason, "Search with one, then sweep the best with more.")
        self.views()

    def views(self) -> tuple[tuple[int, int] | None, ...]:
        """Height and width of each view; None, the data set's own, when none is named."""
        return tuple(_size(text) for text in self.view_sizes) or (None,)

    def of_run(self, model: str, seed: int, **swept: Any) -> TrainOptions:
        """The options of one training: what is shared, and of what is swept as much as the model has a use for."""
        shared = {field.name: getattr(self, field.name) for field in fields(TrainOptions)}
        unused = {name: default for name, default in (("gated", False), ("chunk", None)) if name not in USE[model]}
        used = {name: value for name, value in swept.items() if name in USE[model]}
        return TrainOptions(**shared | unused | {"model": model, "seed": seed} | used)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise RecipeError(f"view size {text!r}", "it is no height by width", "Write as 100x100, in --view-sizes.")
    return int(height), int(width)
