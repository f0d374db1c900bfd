"""The images: made cheaply of real or painted pixels, uploaded, and indexed as a catalog holds them."""

import gzip
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageDraw

from benchmarks import storage
from pipelines.catalog.sources.scenes.painter import render_scene
from pipelines.catalog.sources.scenes.placement import DIFFICULTIES
from pipelines.storage import objects, ranges
from pipelines.storage.layouts import ImageRef
from pipelines.storage.pyramid import QUALITY, TILE, write_pyramid
from pipelines.storage.tiff import TiffIndex, read_index

COPIES = 5  # images that show the same picture, each under a key of its own
SLIDE = "slides/CMU-1-Small-Region.svs"
DIGITS = "mnist/train-images-idx3-ubyte.gz"
MNIST_SIDE, DIGITS_EACH = 1500, 55  # five digits and fifty distractors

Sample = tuple[list[int], np.ndarray]
"""Numbers of B images, and (y, x) of the first pixels of N patches of each, int [B, N, 2]."""

_STROKES, _UPLOADS = 500, 8


@dataclass(frozen=True, slots=True)
class Data:
    """Images of one kind in the bucket; the k-th is a copy of the local file k % len(paths)."""

    name: str
    patch: int
    images: list[ImageRef]
    paths: list[Path]
    plain: list[ImageRef]
    """The same pictures as JPEG or PNG, which are read whole; none of a slide."""

    def sample(self, rng: np.random.Generator, at_once: int, n: int) -> Sample:
        """Some of the images, and where n patches of each begin, anywhere inside."""
        sides = (self.images[0].height - self.patch + 1, self.images[0].width - self.patch + 1)
        numbers = rng.choice(len(self.images), at_once, replace=False).tolist()
        return numbers, rng.integers(0, sides, (at_once, n, 2))

    def touched_bytes(self, number: int, starts_N2: np.ndarray) -> int:
        """Stored bytes of the tiles that patches of an image touch, each tile once."""
        level = TiffIndex.loads(self.images[number].index).levels[0]
        return sum(int(level.counts[y * level.grid[1] + x]) for y, x in touched(starts_N2, self.patch))


def touched(starts_N2: np.ndarray, patch: int) -> set[tuple[int, int]]:
    """Row and column of the tiles of side TILE that patches touch, which are smaller than these."""
    ends = [starts_N2 // TILE, (starts_N2 + patch - 1) // TILE]
    return {(y, x) for a in ends for b in ends for y, x in zip(a[:, 0].tolist(), b[:, 1].tolist(), strict=True)}


def photographs(folder: Path, n: int) -> Data:
    """Road scenes of 960 x 1280, as pyramids of JPEG tiles and as JPEG."""
    seeds, level = range(n // COPIES), DIFFICULTIES["default"]
    pictures = [np.asarray(render_scene(np.random.default_rng(seed), seed % 4, level)[0]) for seed in seeds]
    return _stored("photo", folder, pictures, n, patch=100, plain=".jpg")


def digits(folder: Path, n: int, source: Path) -> Data:
    """Handwritten digits, or strokes where there are none, on black 1500 x 1500: lossless tiles, and PNG."""
    marks_M28 = _marks(source / DIGITS)
    pictures = []
    for seed in range(n // COPIES):
        rng = np.random.default_rng(seed)
        picture = np.zeros((MNIST_SIDE, MNIST_SIDE), np.uint8)
        for mark in marks_M28[rng.integers(len(marks_M28), size=DIGITS_EACH)]:
            y, x = rng.integers(MNIST_SIDE - len(mark), size=2)
            picture[y : y + len(mark), x : x + len(mark)] = mark
        pictures.append(picture)
    return _stored("mnist", folder, pictures, n, patch=50, plain=".png")


def slide(folder: Path, n: int, side: int, source: Path) -> Data:
    """One square slide of real tissue, or of painted scenes where there is none, that passes for `n` slides."""
    path = lay_out(folder / f"slide_{side}.tif", side, source)
    image = uploaded(path)
    return Data("slide", 100, [_copy(image, number) for number in range(n)], [path], [])


def _copy(image: ImageRef, number: int) -> ImageRef:
    """The same object as another image, with which nothing is shared: the table of its smallest level differs."""
    *levels, last = TiffIndex.loads(image.index).levels
    index = TiffIndex((*levels, replace(last, counts=last.counts + number)))
    return replace(image, index=index.dumps())


def lay_out(path: Path, side: int, source: Path) -> Path:
    """A square pyramid of any size in the time of writing it: some hundred encoded tiles, again and again."""
    sample = path.with_suffix(".sample")
    tissue = _tissue(source / SLIDE)
    write_pyramid(iter([tissue]), tissue.shape[:2], sample, quality=QUALITY)
    with sample.open("rb") as file:
        index = read_index(file, str(sample))
        assert index
        encoded = _tiles(sample.read_bytes(), index)
    rng = np.random.default_rng(0)
    with tifffile.TiffWriter(path) as tiff:
        reduced = 0
        while side > TILE:
            count = (-(-side // TILE)) ** 2
            tiles = (encoded[k] for k in rng.integers(len(encoded), size=count).tolist())
            form = {"shape": (side, side, 3), "dtype": np.uint8, "tile": (TILE, TILE), "photometric": "rgb"}
            tiff.write(tiles, **form, compression="jpeg", subfiletype=reduced, metadata=None)
            side, reduced = -(-side // 2), 1
    return path


def _tiles(data: bytes, index: TiffIndex) -> list[bytes]:
    """The encoded tiles of the full size that are whole."""
    level = index.levels[0]
    places = zip(level.offsets.tolist(), level.counts.tolist(), strict=True)
    return [data[start : start + count] for start, count in places]


def _tissue(path: Path) -> np.ndarray:
    """Pixels of which whole tiles can be cut."""
    if path.exists():
        pixels = tifffile.imread(path, key=0)
    else:
        scenes = [render_scene(np.random.default_rng(seed), 0, DIFFICULTIES["default"])[0] for seed in range(6)]
        pixels = np.vstack([np.hstack([np.asarray(scene) for scene in scenes[i : i + 2]]) for i in (0, 2, 4)])
    height, width = (side // TILE * TILE for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[:height, :width])


def _marks(path: Path) -> np.ndarray:
    """uint8 [M, 28, 28]: the digits of an IDX file, else random strokes."""
    if path.exists():
        with gzip.open(path) as file:
            return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    rng, marks = np.random.default_rng(0), []
    for _ in range(_STROKES):
        image = Image.new("L", (28, 28))
        ImageDraw.Draw(image).line(rng.integers(4, 24, 8).tolist(), fill=255, width=3)
        marks.append(np.asarray(image))
    return np.stack(marks)


def _stored(name: str, folder: Path, pictures: Sequence[np.ndarray], n: int, *, patch: int, plain: str) -> Data:
    """Pictures as pyramids and as whole files, on disk and under n keys each in the bucket."""
    paths, whole = [], []
    for number, picture in enumerate(pictures):
        paths.append(folder / f"{name}_{number}.tif")
        write_pyramid(iter([picture]), picture.shape[:2], paths[-1])
        whole.append(folder / f"{name}_{number}{plain}")
        Image.fromarray(picture).save(whole[-1], **({"quality": QUALITY} if plain == ".jpg" else {}))
    with ThreadPoolExecutor(_UPLOADS) as pool:
        images = list(pool.map(uploaded, *zip(*((paths[k % len(paths)], k) for k in range(n)), strict=True)))
        copies = list(pool.map(uploaded, *zip(*((whole[k % len(whole)], k) for k in range(n)), strict=True)))
    return Data(name, patch, images, paths, copies)


def uploaded(path: Path, number: int = 0) -> ImageRef:
    """A local file in the bucket, and what a catalog would hold of it."""
    uri = storage.uri(f"{path.stem}_{number}{path.suffix}")
    objects.upload(path, uri)
    return reference(path, uri)


def reference(path: Path, uri: str) -> ImageRef:
    """What a catalog would hold of the copy of a local file at `uri`."""
    found = ranges.stat(uri)
    if path.suffix != ".tif":
        with Image.open(path) as image:
            return ImageRef(uri, image.height, image.width, etag=found.etag, n_bytes=found.size)
    with path.open("rb") as file:
        index = read_index(file, uri)
    assert index
    level = index.levels[0]
    return ImageRef(uri, level.height, level.width, etag=found.etag, n_bytes=found.size, index=index.dumps())
