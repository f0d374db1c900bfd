"""The paper's three tasks, generated and German roads, and your own images: all settings of a run but input and output.

A recipe is a plain dataclass, and builds its model. Its docstring gives the paper, the expected figure, the cost and
the command.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, TypeVar, cast

from ats_core.anomaly import AnomalyAttention
from ats_core.attention import ATTENTION_NETWORKS, AttentionNetwork
from ats_core.backbones import BACKBONES
from ats_core.errors import RecipeError
from ats_core.features import FEATURE_NETWORKS, FeatureNetwork
from ats_core.models import CNN, AttentionSampling, DeepMIL, Model, PatchSelection, Uniform
from ats_core.pixels import Standardise

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of a training image; geometry acts on the view and the centres, colour on view and patches."""

    shift: int = 0
    """Largest shift along each axis, in image pixels, zero fill."""
    flip: bool = False
    """Mirror left-right, up-down and along the diagonal, each with probability 1/2; needs square images."""
    contrast: float = 0.0
    """I becomes a I with a in 1 +- this."""
    brightness: float = 0.0
    """I becomes I + b with b in +- this, in units of the full range."""
    stain: float = 0.0
    """The density of each stain of a histological image is multiplied by a factor in 1 +- this (`pixels.STAINS`)."""
    probability: float = 0.8
    """How often an image is shifted, and how often its colour is changed."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings common to all tasks."""

    task: str
    classes: tuple[str, ...]
    view_size: tuple[int, int]
    """Height and width of the low-resolution view."""
    patch_size: int
    """Side of a full-resolution patch, in image pixels."""
    attention: str
    """A name of `ATTENTION_NETWORKS`, or `package.module:function` taking `channels`."""
    features: str
    """A name of `FEATURE_NETWORKS`, or `package.module:function` taking `channels` and `patch_size`."""
    backbone: str = "resnet16"
    """The CNN's: a name of `BACKBONES`, or `package.module:function` taking `channels`."""
    model: str = "ats"
    """A name of `MODELS`."""
    channels: int = 3
    n_patches: int = 10
    """Patches drawn (ats, uniform) or selected (ips)."""
    mil_grid: tuple[int, int] = (12, 16)
    """Rows and columns of patches for the models that read them all (deep_mil, ips)."""
    gated: bool = False
    """The gated form of Deep MIL's attention."""
    chunk: int | None = None
    """Patches a pass where all are read; `deep_mil` computes each twice then, for less memory than all at once."""
    estimator: str = "unordered"
    anomaly: float = 0.0
    """Power of the anomaly of a cell's colours that the attention starts from (`AnomalyAttention`); 0 starts evenly."""
    smoothing: float = 1e-4
    """Share of the attention that is spread evenly over all cells."""
    entropy_weight: float = 0.01
    epochs: int = 100
    batch_size: int = 32
    lr: float = 1e-3
    lr_drop: float = 1.0
    """Share of the epochs after which the learning rate falls to a tenth; 1 keeps it fixed."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    balance_classes: bool = False
    """Weigh each class by the inverse of its share of the training set."""
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Mean of each channel over the task's images, in units of the full range."""
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    """Standard deviation of each channel, likewise."""
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Refuse what would broadcast, divide by zero, or fail only once a batch is there."""
        if not len(self.mean) == len(self.std) == self.channels:
            reason = f"it has {len(self.mean)} means and {len(self.std)} standard deviations"
            raise RecipeError(f"recipe of {self.channels} channels", reason, "Give one of each for every channel.")
        if not all(deviation > 0 for deviation in self.std):
            raise RecipeError(f"recipe with std {self.std}", "pixels are divided by it", "Give positive numbers.")
        if self.augmentation.stain and self.channels != 3:
            reason = "stains are told apart in red, green and blue"
            raise RecipeError(f"stain of {self.channels} channels", reason, "Leave `stain` at 0.")
        for name in ("view_size", "mil_grid"):
            if len(sizes := getattr(self, name)) != 2 or not all(_is_count(size) for size in sizes):
                raise RecipeError(f"{name} {sizes}", "it is no height and width", "Give two whole numbers from 1 on.")
        for name in ("patch_size", "epochs", "batch_size", "chunk"):
            if (size := getattr(self, name)) is not None and not _is_count(size):
                raise RecipeError(f"{name} {size}", "it is no number of things", "Give a whole number from 1 on.")

    def build(self) -> Model:
        """A fresh model; its weights come from torch's global generator, so seed that first."""
        return lookup(self.model, MODELS, "model")(self)


@dataclass(frozen=True, kw_only=True)
class SpeedLimits(Recipe):
    """Swedish traffic signs, 960 x 1280: no speed limit, or one of 50, 70, 80 (paper, section 4.4 and suppl. H.3).

    Expected: error .089 +- .002 with 5 patches, .095 +- .008 with 10, in 300,000 updates. Cost: see docs/results.md.

        jobs/train_speed_limits.py --source speed_limits --images DIR
    """

    task: str = "speed_limits"
    classes: tuple[str, ...] = ("EMPTY", "50_SIGN", "70_SIGN", "80_SIGN")
    view_size: tuple[int, int] = (288, 384)
    patch_size: int = 100
    attention: str = "pooled"
    features: str = "resnet8"
    mil_grid: tuple[int, int] = (12, 16)
    entropy_weight: float = 0.05
    epochs: int = 500
    lr_drop: float = 0.5
    balance_classes: bool = True
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(shift=100, contrast=0.2, brightness=0.1))


@dataclass(frozen=True, kw_only=True)
class RoadScenes(SpeedLimits):
    """Generated road scenes in the layout of the Swedish signs: the default, for want of a download.

    Expected and cost: see docs/results.md for the easy scenes of the demo; the default ones were not trained yet.

        jobs/train_speed_limits.py
    """

    task: str = "road_scenes"
    entropy_weight: float = 0.02
    epochs: int = 30
    batch_size: int = 8
    lr: float = 3e-3
    lr_drop: float = 0.8
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(contrast=0.2, brightness=0.1))


@dataclass(frozen=True, kw_only=True)
class GermanSigns(SpeedLimits):
    """German road scenes (GTSDB), 800 x 1360, not in the paper: is there a prohibitory sign, or which speed limit?

    Expected: from 480 frames alone, chance; from the networks of painted scenes (`GermanScenes`) see docs/results.md.

        jobs/train_speed_limits.py --source gtsdb --images DIR --lr 1e-3 --epochs 8 --start-from RUN
    """

    task: str = "gtsdb"
    view_size: tuple[int, int] = (240, 408)
    patch_size: int = 48
    n_patches: int = 24
    mil_grid: tuple[int, int] = (17, 28)
    anomaly: float = 2.0
    entropy_weight: float = 0.0
    epochs: int = 16
    batch_size: int = 16
    lr: float = 3e-3
    lr_drop: float = 0.8
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.35, 0.35, 0.35)


@dataclass(frozen=True, kw_only=True)
class GermanScenes(GermanSigns):
    """Painted road scenes with German signs, 960 x 1280: what the networks of `GermanSigns` start from.

    Expected and cost: see docs/results.md.

        jobs/train_speed_limits.py --source german_scenes
        jobs/train_speed_limits.py --source german_scenes --light adverse --start-from RUN
    """

    task: str = "german_scenes"
    view_size: tuple[int, int] = (288, 384)
    mil_grid: tuple[int, int] = (20, 27)
    epochs: int = 6
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(contrast=0.2, brightness=0.1))


@dataclass(frozen=True, kw_only=True)
class ColonCancer(Recipe):
    """H&E images of 500 x 500 with or without epithelial cells (paper, section 4.3 and suppl. H.2).

    Expected: error .093 +- .014 with 10 patches, in 30,000 updates; the default 190 epochs are about 3,000 updates on
    four fifths of the 100 images. Cost of 1,120 updates: 2.5 minutes of one core a fold (docs/results.md).

        jobs/train_colon_cancer.py --images DIR --fold 0
    """

    task: str = "colon_cancer"
    classes: tuple[str, ...] = ("negative", "positive")
    view_size: tuple[int, int] = (100, 100)
    patch_size: int = 27
    attention: str = "dense"
    features: str = "nucleus"
    backbone: str = "resnet8"
    mil_grid: tuple[int, int] = (50, 50)
    smoothing: float = 1e-5
    epochs: int = 190
    batch_size: int = 5
    mean: tuple[float, ...] = (0.83, 0.70, 0.86)
    std: tuple[float, ...] = (0.16, 0.21, 0.12)
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(flip=True, contrast=0.2, brightness=0.1))


@dataclass(frozen=True, kw_only=True)
class MegapixelMNIST(Recipe):
    """Digits among noise in 1500 x 1500: which one occurs three times (paper, section 4.2 and suppl. H.1).

    Expected: error about .2 with 5 patches, falling to a tenth of the CNN's with 50; 500 epochs of 5,000 images. Cost:
    about 35 ms of a core an image and epoch with 10 patches (docs/results.md); a smaller `--side` learns in minutes.

        jobs/train_megapixel_mnist.py --mnist DIR
    """

    task: str = "megapixel_mnist"
    classes: tuple[str, ...] = tuple("0123456789")
    view_size: tuple[int, int] = (180, 180)
    patch_size: int = 50
    channels: int = 1
    attention: str = "dense"
    features: str = "lenet"
    mil_grid: tuple[int, int] = (30, 30)
    smoothing: float = 1e-5
    epochs: int = 500
    batch_size: int = 128
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, kw_only=True)
class OwnImages(Recipe):
    """Your own images with a label each: what decides has some 20 to 100 pixels, and shows in a view of 256 x 256.

    Smaller things need a larger `--view-size` and a smaller `--patch-size`. Classes come from the catalog, and so do
    the colours that pixels are standardised by (`pipelines.catalog.statistics`).

        jobs/train_images.py --images s3://bucket/prefix --labels labels.csv
    """

    task: str = "images"
    classes: tuple[str, ...] = ("negative", "positive")
    view_size: tuple[int, int] = (256, 256)
    patch_size: int = 100
    attention: str = "pooled"
    features: str = "resnet8"
    mil_grid: tuple[int, int] = (10, 10)
    epochs: int = 50
    batch_size: int = 16
    lr_drop: float = 0.8
    balance_classes: bool = True
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(contrast=0.2, brightness=0.1))


RECIPES = {
    recipe.task: recipe
    for recipe in (SpeedLimits, RoadScenes, GermanSigns, GermanScenes, ColonCancer, MegapixelMNIST, OwnImages)
}


def lookup(name: str, table: Mapping[str, T], kind: str) -> T:
    """The entry of a registry, or an error that lists what there is."""
    if name not in table:
        raise RecipeError(f"{kind} {name!r}", "unknown", f"Choose from {sorted(table)}.")
    return table[name]


def network(name: str, table: Mapping[str, Callable[..., Any]], kind: str) -> Callable[..., Any]:
    """A network of the registry, or the user's own, named as `package.module:function`."""
    module, colon, function = name.partition(":")
    if not colon:
        return lookup(name, table, kind)
    try:
        own: Callable[..., Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # the last two: no or a relative module name
        remedy = "Install the package on every node, or check the spelling of package.module:function."
        raise RecipeError(f"{kind} {name!r}", str(error), remedy) from error
    return own


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 1


def _sampling(recipe: Recipe, kind: type[AttentionSampling]) -> AttentionSampling:
    return kind(
        _attention(recipe),
        _features(recipe),
        Standardise(recipe.mean, recipe.std),
        n_classes=len(recipe.classes),
        view_size=recipe.view_size,
        patch_size=recipe.patch_size,
        n_patches=recipe.n_patches,
        estimator=recipe.estimator,
        smoothing=recipe.smoothing,
    )


def _attention(recipe: Recipe) -> AttentionNetwork:
    build = network(recipe.attention, ATTENTION_NETWORKS, "attention network")
    learned = cast(AttentionNetwork, build(channels=recipe.channels))
    return AnomalyAttention(learned, recipe.anomaly) if recipe.anomaly else learned


def _deep_mil(recipe: Recipe) -> DeepMIL:
    return DeepMIL(_features(recipe), **_of_a_grid(recipe), gated=recipe.gated)


def _patch_selection(recipe: Recipe) -> PatchSelection:
    return PatchSelection(_features(recipe), **_of_a_grid(recipe), n_patches=recipe.n_patches)


def _cnn(recipe: Recipe) -> CNN:
    backbone = network(recipe.backbone, BACKBONES, "backbone")(channels=recipe.channels)
    standardise = Standardise(recipe.mean, recipe.std)
    return CNN(backbone, standardise, n_classes=len(recipe.classes), view_size=recipe.view_size)


def _features(recipe: Recipe) -> FeatureNetwork:
    build = network(recipe.features, FEATURE_NETWORKS, "feature network")
    return cast(FeatureNetwork, build(channels=recipe.channels, patch_size=recipe.patch_size))


def _of_a_grid(recipe: Recipe) -> dict[str, Any]:
    return {
        "standardise": Standardise(recipe.mean, recipe.std),
        "n_classes": len(recipe.classes),
        "view_size": recipe.view_size,
        "patch_size": recipe.patch_size,
        "grid": recipe.mil_grid,
        "chunk": recipe.chunk,
    }


MODELS: dict[str, Callable[[Recipe], Model]] = {
    "ats": partial(_sampling, kind=AttentionSampling),
    "uniform": partial(_sampling, kind=Uniform),
    "deep_mil": _deep_mil,
    "ips": _patch_selection,
    "cnn": _cnn,
}
