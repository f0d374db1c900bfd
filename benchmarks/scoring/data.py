"""Images from small to huge, cheaply made: painted scenes with a camera's noise all over the canvas; and the model."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import botocore.session
import numpy as np
import torch
from PIL import Image

from ats_core import bundle
from ats_core.recipes import ColonCancer, Recipe, SpeedLimits
from benchmarks import storage
from pipelines.catalog.sources.scenes.painter import render_scene
from pipelines.catalog.sources.scenes.placement import DIFFICULTIES
from pipelines.storage import objects
from pipelines.storage.pyramid import QUALITY, write_pyramid
from tests.s3.server import BUCKET

SCENES, FILES = 4, 2  # of a size; each file lies under several keys
NOISE = 5.0  # standard deviation of a pixel, of 255: without it JPEG takes half of what photographs take
N_PATCHES = 10
FEW, MANY = "few", "many"


@dataclass(frozen=True, slots=True)
class Images:
    """Images of one size in the bucket: below two prefixes, so that what many cost more than few is their own."""

    side: int
    n_bytes: float
    """Of a file, mean."""
    counts: dict[str, int]
    """Images below the prefix of FEW and of MANY."""
    kind: str = ".tif"
    """Suffix: a tiled pyramid, or the same pixels as one JPEG."""

    def prefix(self, how_many: str) -> str:
        """The URI below which they lie."""
        return storage.uri(f"{self.side}{self.kind}", how_many)

    def uris(self, how_many: str) -> list[str]:
        """All of them."""
        return [objects.join(self.prefix(how_many), name(k, self.kind)) for k in range(self.counts[how_many])]


def name(number: int, kind: str) -> str:
    """Of a key, below its prefix: the id of the image."""
    return f"{number:04d}{kind}"


def scenes() -> list[np.ndarray]:
    """Painted road scenes uint8 [960, 1280, 3] with noise."""
    rng, found = np.random.default_rng(0), []
    for seed in range(SCENES):
        scene = np.asarray(render_scene(np.random.default_rng(seed), seed % 4, DIFFICULTIES["default"])[0])
        noisy = scene + rng.normal(0, NOISE, scene.shape)
        found.append(noisy.round().clip(0, 255).astype(np.uint8))
    return found


def bands(painted: list[np.ndarray], side: int, seed: int) -> Iterator[np.ndarray]:
    """A square canvas of scenes in random order, top to bottom."""
    rng, (height, width, _) = np.random.default_rng(seed), painted[0].shape
    for top in range(0, side, height):
        row = np.hstack([painted[k] for k in rng.integers(len(painted), size=-(-side // width))])
        yield np.ascontiguousarray(row[: side - top, :side])


def pyramids(folder: Path, painted: list[np.ndarray], side: int, *, few: int, many: int) -> Images:
    """Tiled pyramids in the bucket."""
    paths = [folder / f"{side}_{seed}.tif" for seed in range(FILES)]
    for seed, path in enumerate(paths):
        write_pyramid(bands(painted, side, seed), (side, side), path)
    return _stored(paths, Images(side, _mean_size(paths), {FEW: few, MANY: many}))


def jpegs(folder: Path, painted: list[np.ndarray], side: int, *, few: int, many: int) -> Images:
    """The same pixels as plain JPEG, of the same quality."""
    paths = [folder / f"{side}_{seed}.jpg" for seed in range(FILES)]
    for seed, path in enumerate(paths):
        Image.fromarray(np.vstack(list(bands(painted, side, seed)))).save(path, quality=QUALITY)
    return _stored(paths, Images(side, _mean_size(paths), {FEW: few, MANY: many}, ".jpg"))


def _mean_size(paths: list[Path]) -> float:
    return float(np.mean([path.stat().st_size for path in paths]))


def _stored(paths: list[Path], images: Images) -> Images:
    """Uploaded, then copied by the server under all the keys."""
    client, sources = botocore.session.get_session().create_client("s3"), []
    for path in paths:
        objects.upload(path, storage.uri("files", path.name))
        sources.append({"Bucket": BUCKET, "Key": f"files/{path.name}"})
        path.unlink()
    for how_many in images.counts:
        for number, uri in enumerate(images.uris(how_many)):
            client.copy_object(Bucket=BUCKET, Key=_key(uri), CopySource=sources[number % len(sources)])
    return images


def _key(uri: str) -> str:
    return uri.removeprefix(storage.uri("")).lstrip("/")


@dataclass(frozen=True, slots=True)
class Nets:
    """A model of random weights.

    Its attention is diffuse, so that patches share few tiles: the worst case.
    """

    name: str
    """After the name of a way."""
    uri: str
    """Of its bundle."""
    view_size: tuple[int, int]

    @classmethod
    def of(cls, recipe: Recipe, name: str, folder: Path) -> "Nets":
        """Those of a recipe."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            bundle.save(recipe.build().eval(), recipe, folder)
        return cls(name, str(folder), recipe.view_size)


def nets(folder: Path) -> tuple[Nets, Nets]:
    """Those of speed limits, by which all is measured, and the lightest of the paper's, colon's."""
    speed_limits, colon = SpeedLimits(n_patches=N_PATCHES), ColonCancer(n_patches=N_PATCHES)
    return Nets.of(speed_limits, "", folder / "model"), Nets.of(colon, ", colon's nets", folder / "light")
