"""Megapixel MNIST (Katharopoulos & Fleuret 2019): five digits among noise in 1500 x 1500. Which occurs three times?

The images are made of MNIST's digits, those of the training split of its training digits; without its files, of
scikit-learn's. They are rendered in memory (`image`), or written, each as one tiled TIFF:

    IMAGES/megapixel_mnist.json    IMAGES/train/00000.tif, ...    IMAGES/test/00000.tif, ...    IMAGES/digits.csv

The JSON file is a marker of the settings; digits.csv says which digits lie where, and is written last. The label rule
is no matter of the images: one folder serves them all.

An image of 1500 x 1500 takes 3 ms of one core to render and write, and has 11 kB.
"""

import io
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any, ClassVar, get_args

import numpy as np
import tifffile

from pipelines.catalog.schema import Entry
from pipelines.catalog.sources.digits.collage import Collage
from pipelines.catalog.sources.digits.idx import mnist
from pipelines.catalog.sources.digits.layout import MIN_SIDE
from pipelines.catalog.sources.digits.pictures import CLASSES, SPLITS, small_digits
from pipelines.catalog.sources.digits.rules import Labels
from pipelines.catalog.sources.generated import GeneratedFolder, with_progress
from pipelines.errors import CatalogError
from pipelines.storage import objects

MARKER, TRUTH = "megapixel_mnist.json", "digits.csv"
VERSION = 1  # raised when the same settings make other pixels
SCALE = 0.12  # of the view
TILE = 256

_SEEDS = {"train": 1, "test": 0}
_THREADS = 16  # that wait for the storage most of the time


@dataclass(frozen=True)
class MegapixelMNIST:
    """Digits among noise, generated into `images` at the first use; later uses must ask for the same settings."""

    images: str
    """Directory or URI prefix: empty, or generated before. Rendering in memory leaves it alone."""
    mnist: str | None = None
    """Folder of MNIST's four IDX files, raw or gzipped; without it scikit-learn's digits, 8 x 8, are scaled up."""
    side: int = 1500
    """Height and width of an image, pixels; a digit has 28."""
    n_train: int = 5000
    n_test: int = 1000
    n_noise: int = 50
    """Pieces of noise in an image, and patterns that they are chosen from."""
    digits_on_top: bool = False
    """Write the digits over the noise, and not the noise over the digits."""
    labels: Labels = "majority"
    """What the label is. "multi", ten labels an image, only in memory: a catalog holds one."""
    seed: int = 0
    """Of the test split; the training split takes the next one."""

    classes: ClassVar[tuple[str, ...]] = CLASSES

    def __post_init__(self) -> None:
        if self.side < MIN_SIDE:
            reason = "five digits of 28 x 28 may find no room"
            raise CatalogError(f"side of {self.side} pixels", reason, f"Give {MIN_SIDE} or more")
        if min(self.n_train, self.n_test, self.n_noise) < 0 or not 0 <= self.seed < 2**32 - 1:
            reason = "a number of images or of noise is negative, or the seed is not in 0 ... 2^32 - 2"
            raise CatalogError("megapixel MNIST", reason, "Give 0 or more")
        if self.labels not in get_args(Labels):
            known = ", ".join(get_args(Labels))
            raise CatalogError("labels", f"there is no {self.labels!r}", f"Take one of: {known}")

    @property
    def view_size(self) -> tuple[int, int]:
        """0.12 of the image, 180 at 1500: a digit has 3.4 pixels there."""
        return round(SCALE * self.side), round(SCALE * self.side)

    @property
    def digits_of(self) -> str:
        """Where the digits come from, in words."""
        if self.mnist is None:
            return "scikit-learn's 8 x 8 digits scaled to 28 x 28, no --mnist being named"
        return f"the digits of MNIST in {self.mnist}"

    @cached_property
    def collages(self) -> Mapping[str, Collage]:
        """By split the images in memory, their labels by any rule, and their boxes."""
        pictures = small_digits() if self.mnist is None else mnist(self.mnist)
        options = {"side": self.side, "n_noise": self.n_noise, "digits_on_top": self.digits_on_top}
        sizes = {"train": self.n_train, "test": self.n_test}
        return {
            split: Collage.draw(pictures[split], sizes[split], self.seed + _SEEDS[split], **options) for split in SPLITS
        }

    def image(self, split: str, i: int) -> np.ndarray:
        """uint8 [side, side]: image i of "train" or "test", rendered alone; the pixels of its file."""
        return self.collages[split].image(i)

    def entries(self) -> list[Entry]:
        """One entry an image, with the boxes of the digits that decide its label; training images first.

        CatalogError when the label is no single one, or the folder holds anything else, images of other settings
        included.
        """
        if self.labels == "multi":
            reason = "an image has ten labels, and a catalog holds one"
            raise CatalogError("labels multi", reason, "Render in memory: MegapixelMNIST.collages.")
        folder = GeneratedFolder(self.images, MARKER, self._settings, last=TRUTH)
        if not folder.is_complete():
            folder.begin()
            self._generate()
        return list(chain.from_iterable(self._entries(split) for split in SPLITS))

    @property
    def _settings(self) -> dict[str, Any]:
        settings = asdict(self) | {"version": VERSION, "mnist": self.mnist is not None}
        return {name: value for name, value in settings.items() if name not in ("images", "labels")}

    def _entries(self, split: str) -> Iterator[Entry]:
        collage = self.collages[split]
        labels, boxes = collage.labels(self.labels).tolist(), collage.boxes(self.labels)
        for i, (label, own) in enumerate(zip(labels, boxes, strict=True)):
            yield Entry(image_id=name_of(split, i), uri=self._uri(split, i), label=label, split=split, boxes=own)

    def _uri(self, split: str, i: int) -> str:
        return objects.join(self.images, f"{name_of(split, i)}.tif")

    def _generate(self) -> None:
        """Images, then the truth about them, so that no half of a data set passes for the whole."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="megapixel_mnist") as pool:
            for split, collage in self.collages.items():
                written = pool.map(partial(self._write, split), range(len(collage)))
                size = sum(with_progress(written, len(collage), f"megapixel MNIST, {split}"))
                if size:
                    print(f"megapixel MNIST, {split}: {size / len(collage) / 1e3:.1f} kB an image", flush=True)
        objects.write_bytes(objects.join(self.images, TRUTH), "".join(self._truth()).encode())

    def _write(self, split: str, i: int) -> int:
        """Renders and writes one image; its size in bytes."""
        data = as_tiff(self.image(split, i))
        objects.write_bytes(self._uri(split, i), data)
        return len(data)

    def _truth(self) -> Iterator[str]:
        yield "image,digit,y,x\n"
        for split, collage in self.collages.items():
            for i, (digits, positions) in enumerate(zip(collage.digits, collage.layout.positions_N52, strict=True)):
                for digit, (y, x) in zip(digits, positions, strict=True):
                    yield f"{name_of(split, i)}.tif,{digit},{y},{x}\n"


def name_of(split: str, i: int) -> str:
    """The id of an image: `train/00000`."""
    return f"{split}/{i:05d}"


def as_tiff(pixels: np.ndarray) -> bytes:
    """A grey image [H, W] as a TIFF of tiles of 256 x 256, lossless."""
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels,
        tile=(TILE, TILE),
        photometric="minisblack",
        compression="zstd",
        maxworkers=1,  # the images are written by threads
        metadata=None,
        software=False,
    )
    return file.getvalue()
