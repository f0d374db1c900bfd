"""The baseline that needs none of this project's storage: download a whole image, decode it, cut the patches out of it.

The next images come while one is computed. A TIFF is decoded tile by tile by
imagecodecs, which takes less than half of what Pillow or tifffile's `asarray` takes, and so is a JPEG in one piece. The
view is made of a reduced level where the file has one that is large enough, and costs next to nothing then.
"""

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import imagecodecs
import numpy as np
import obstore
import tifffile
import torch
from obstore.store import S3Store
from torch import Generator

from ats_core import bundle
from ats_core.models import Model
from ats_core.precision import has_bfloat16
from benchmarks import storage
from pipelines.storage.images import make_view
from pipelines.storage.views import level_of_view

AHEAD = 2  # images on their way in each process
SEED = 0


class WholeImages:
    """Downloads, decodes, and scores by a model."""

    def __init__(self, model: str) -> None:
        self.classify, self.store = Classifier(model), _store()

    def __call__(self, uris: Sequence[str]) -> dict[str, list[float]]:
        """Probabilities by the id of the image."""
        said = {}
        for uri, data in _downloaded(self.store, uris):
            image_id = uri.rsplit("/", 1)[-1]
            said[image_id] = self.classify(*decoded(data, self.classify.model.view_size), image_id)
        return said


def _store() -> S3Store:
    return S3Store(
        uri_bucket(), endpoint=os.environ[storage.ENDPOINT], virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )  # fmt: skip


def uri_bucket() -> str:
    """The name of the bucket."""
    return storage.uri("").removeprefix("s3://").rstrip("/")


def _downloaded(store: S3Store, uris: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Whole objects in order, a few ahead of need."""
    paths = [uri.removeprefix(storage.uri("")).lstrip("/") for uri in uris]
    with ThreadPoolExecutor(AHEAD) as pool:
        coming = [pool.submit(_get, store, path) for path in paths[:AHEAD]]
        for number, uri in enumerate(uris):
            data = coming.pop(0).result()
            if number + AHEAD < len(paths):
                coming.append(pool.submit(_get, store, paths[number + AHEAD]))
            yield uri, data


def _get(store: S3Store, path: str) -> bytes:
    return bytes(obstore.get(store, path).bytes())


def decoded(data: bytes, view_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of an image, and pixels that are enough for its view: its own, or those of a reduced level."""
    if not data.startswith((b"II", b"MM")):
        pixels = imagecodecs.jpeg8_decode(data)
        return pixels, pixels
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        pixels = _page(tiff.pages[0], data)
        level = level_of_view([page.shape[:2] for page in tiff.pages], view_size)
        return pixels, _page(tiff.pages[level], data) if level else pixels


def _page(page: Any, data: bytes) -> np.ndarray:
    """One level of a TIFF of JPEG tiles."""
    (height, width), tile = page.shape[:2], page.tilewidth
    columns = -(-width // tile)
    out = np.empty((height, width, 3), np.uint8)
    for number, (start, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        y, x = number // columns * tile, number % columns * tile
        out[y : y + tile, x : x + tile] = imagecodecs.jpeg8_decode(data[start : start + count])[
            : height - y, : width - x
        ]
    return out


class Classifier:
    """The model on whole images, one thread."""

    def __init__(self, uri: str) -> None:
        torch.set_num_threads(1)
        self.model: Model
        self.model, _ = bundle.load(uri)
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu")))

    @torch.no_grad()
    def __call__(self, pixels: np.ndarray, for_view: np.ndarray, image_id: str) -> list[float]:
        """Probabilities of an image, by the draw that belongs to its id."""
        model, view = self.model, make_view(for_view, self.model.view_size)
        with self.autocast:
            views = model.standardise(torch.from_numpy(view[None]))
            draw = model.propose(views, generator=[generator_of(image_id)])
            sizes = torch.tensor([pixels.shape[:2]])
            starts_N2 = (model.grid.centres(draw.cells, sizes, model.patch_size)[0] - model.patch_size // 2).numpy()
            patches, inside = cut(pixels, starts_N2, model.patch_size)
            logits = model(views, draw, model.standardise(patches[None], inside[None])).logits
        return logits[0].double().softmax(-1).tolist()


def cut(pixels: np.ndarray, starts_N2: np.ndarray, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches uint8 [N, P, P, 3], zero outside of the image, and what is inside: bool [N, P, P]."""
    patches, inside = np.zeros((len(starts_N2), side, side, 3), np.uint8), np.zeros((len(starts_N2), side, side), bool)
    for k, (top, left) in enumerate(starts_N2.tolist()):
        y, x = max(top, 0), max(left, 0)
        part = pixels[y : max(top + side, 0), x : max(left + side, 0)]
        where = (k, slice(y - top, y - top + part.shape[0]), slice(x - left, x - left + part.shape[1]))
        patches[where], inside[where] = part, True
    return torch.from_numpy(patches), torch.from_numpy(inside)


def generator_of(image_id: str) -> Generator:
    """By which scoring draws the cells of an image, so that both look at the same patches."""
    digest = hashlib.sha256(f"{SEED} {image_id}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
