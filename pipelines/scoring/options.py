"""The options of scoring, under the names that the other jobs give them."""

from dataclasses import dataclass, field
from typing import Literal

from ats_core.errors import RecipeError
from pipelines.storage import objects
from pipelines.training.options import Precision, default_out


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """What to score by which model, and how closely to look."""

    model: str
    """Folder or URI of a training run, or of a model itself (config.json and model.safetensors)."""
    images: str
    """What to score: a folder or URI prefix, a glob, a list (.txt, a path or URI a line), or a catalog."""
    out: str = field(default_factory=lambda: objects.join(default_out(), "scores"))
    """Folder or URI (s3://...) of the scores; with several nodes it must be shared by all. Run again, it goes on."""
    labels: str | None = None
    """A CSV image,label[,split,group], of a folder or glob: then the error is told. A catalog has its own."""
    splits: tuple[str, ...] = ()
    """Only images of these splits, as `test`; all when not given."""
    n_patches: int | None = None
    """Patches drawn of each image; as many as in training when not given. With --until: those drawn first."""
    until: float | None = None
    """Draw on until the standard error of the margin of the two largest logits is at most this part of the margin."""
    max_patches: int | None = None
    """Of --until: patches of an image at most; 200 when not given."""
    seed: int = 0
    """Of the draws: of each image together with its id."""
    save_catalog: str | None = None
    """Index the images into a catalog here first, then score from it: further runs, and training, need no index.
    Found there, it is used, or made again where images are others now."""
    overlays: int = 0
    """Draw the attention and the patches of so many images, the least certain ones, as PNG."""
    geojson: bool = False
    """Write the drawn patches of every image as GeoJSON, for QuPath and GIS tools."""
    attention: bool = False
    """Keep the attention over all cells, as float16."""
    max_failed: float = 0.05
    """Share of the images that may fail; with more the job ends with exit code 2."""
    check: bool = False
    """Score nothing: read headers, and say what would be slow, what is broken, and what is too small."""
    batch_size: int | None = None
    """Images that go through the networks together, 64 at most; from the patches' size when not given."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where the networks run; `auto` takes GPUs where the cluster has them."""
    precision: Precision = "auto"
    """Of the networks; `auto` is bfloat16 where the hardware computes in it."""
    propose_actors: int | None = None
    """Processes that look at views, at most; as many as the cluster has room for when not given, as the two below."""
    read_actors: int | None = None
    """Processes that read patches."""
    classify_actors: int | None = None
    """Processes that classify."""
    own_networks: bool = False
    """Trust a model whose networks are named as package.module:function: loading it runs that package."""
    smoke: bool = False
    """The first 16 images: does it run here at all?"""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; relative paths become absolute, since workers run in folders of their own."""
        least = {
            "n_patches": 1,
            "max_patches": 1,
            "batch_size": 1,
            "overlays": 0,
            "propose_actors": 1,
            "read_actors": 1,
            "classify_actors": 1,
        }
        for name, smallest in least.items():
            if (number := getattr(self, name)) is not None and number < smallest:
                remedy = f"Check --{name.replace('_', '-')}."
                raise RecipeError(f"{name} {number}", f"it must be at least {smallest}", remedy)
        if self.until is not None and self.until <= 0:
            raise RecipeError(f"until {self.until}", "it must be above 0", "Check --until.")
        if self.until is None and self.max_patches is not None:
            raise RecipeError("max_patches", "it is of --until, which is not given", "Pass --n-patches instead.")
        if not 0 <= self.max_failed <= 1:
            raise RecipeError(f"max_failed {self.max_failed}", "it is a share of the images", "Check --max-failed.")
        for name in ("model", "images", "out", "labels", "save_catalog"):
            if (uri := getattr(self, name)) is not None:
                object.__setattr__(self, name, objects.absolute(uri))
