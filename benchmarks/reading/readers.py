"""PatchReader, and other readers of the same patches from the same bucket, each set up as its documentation says.

The others have no batches: images asked for at once are read in as many threads. Whoever needs to opens an image, opens
it every time and keeps nothing of it: an epoch comes to an image once.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from warnings import filterwarnings

import numpy as np

from benchmarks import storage
from benchmarks.reading.data import Data, Sample, touched
from benchmarks.reading.measure import Read
from pipelines.storage.layouts import KEPT_LAYOUTS, ImageRef
from pipelines.storage.patches import PatchReader
from pipelines.storage.pyramid import TILE

_WRITERS = 8
CLOSE = 6.0  # mean difference between the pixels of two decoders, or of a JPEG in tiles and one in one piece

_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "CPL_VSIL_CURL_NON_CACHED": f"/vsis3/{storage.BUCKET}",
    "AWS_HTTPS": "NO",
    "AWS_VIRTUAL_HOSTING": "FALSE",
}


class Unfit(Exception):
    """A reader that does not read these images, and why."""


def ours(images: Sequence[ImageRef], patch: int, **options: Any) -> Read:
    """PatchReader that keeps nothing between calls, and makes the layout of an image from its index every time."""
    reader = PatchReader(patch, cache_mb=0, **options)

    def read(numbers: Sequence[int], starts_BN2: np.ndarray) -> np.ndarray:
        batch = [images[number] for number in numbers]
        for image in batch:
            KEPT_LAYOUTS.drop(image.index)
        patches, _ = reader.read(batch, starts_BN2 + patch // 2)
        return patches.numpy()

    return read


def patch_reader(data: Data, samples: Sequence[Sample]) -> Read:
    """PatchReader with the indexes that a catalog holds."""
    return ours(data.images, data.patch)


def whole_file(data: Data, samples: Sequence[Sample]) -> Read:
    """The plain JPEG or PNG: one request, decoded by Pillow, cropped."""
    if not data.plain:
        pixels = data.images[0].height * data.images[0].width
        raise Unfit(f"{pixels / 1e6:.0f} MP, {3 * pixels / 1e9:.1f} GB, would have to be decoded for every image")
    return ours(data.plain, data.patch)


def tiffslide(data: Data, samples: Sequence[Sample]) -> Read:
    """TiffSlide over s3fs."""
    from tiffslide import TiffSlide

    def read(number: int, starts_N2: np.ndarray) -> np.ndarray:
        with TiffSlide(data.images[number].uri, storage_options=_fsspec_options()) as slide:
            size = (data.patch, data.patch)
            return np.stack([slide.read_region((x, y), 0, size, as_array=True) for y, x in starts_N2.tolist()])

    return partial(_in_threads, read)


def rasterio(data: Data, samples: Sequence[Sample]) -> Read:
    """Rasterio over GDAL's /vsis3/."""
    import rasterio as rio
    from rasterio.windows import Window

    filterwarnings("ignore", category=rio.errors.NotGeoreferencedWarning)

    def read(number: int, starts_N2: np.ndarray) -> np.ndarray:
        path = data.images[number].uri.replace("s3://", "/vsis3/")
        options = {**_GDAL, "AWS_S3_ENDPOINT": urlsplit(os.environ[storage.ENDPOINT]).netloc}
        with rio.Env(**options), rio.open(path) as file:
            windows = [Window(x, y, data.patch, data.patch) for y, x in starts_N2.tolist()]
            return np.stack([np.moveaxis(file.read(window=window), 0, -1) for window in windows])

    return partial(_in_threads, read)


def zarr(data: Data, samples: Sequence[Sample]) -> Read:
    """Zarr over its s3 store, with its default codec. Only the chunks that will be read exist: readers cannot tell."""
    import zarr as z

    def uri(number: int) -> str:
        return storage.uri(f"{data.name}_{number % len(data.paths)}.zarr")

    wanted: dict[int, set[tuple[int, int]]] = {}
    for numbers, starts_BN2 in samples:
        for number, starts_N2 in zip(numbers, starts_BN2, strict=True):
            wanted.setdefault(number % len(data.paths), set()).update(touched(starts_N2, data.patch))
    for number, tiles in wanted.items():
        _write_chunks(uri(number), data.images[number], np.array(sorted(tiles)))

    def read(number: int, starts_N2: np.ndarray) -> np.ndarray:
        array = z.open_array(uri(number), mode="r", zarr_format=3, storage_options=_fsspec_options())
        return np.stack([array[y : y + data.patch, x : x + data.patch] for y, x in starts_N2.tolist()])

    return partial(_in_threads, read)


READERS: dict[str, Callable[[Data, Sequence[Sample]], Read]] = {
    "PatchReader": patch_reader,
    "whole file": whole_file,
    "tiffslide": tiffslide,
    "rasterio": rasterio,
    "zarr": zarr,
}


def fitting(name: str, data: Data, samples: Sequence[Sample]) -> Read:
    """A reader that has read the first sample; Unfit where it is not installed, fails, or sees other pixels."""
    expected = patch_reader(data, samples)(*samples[0])
    try:
        read = READERS[name](data, samples)
        patches = read(*samples[0])
    except ImportError as error:
        raise Unfit(f"{error}: pip install '.[bench]'") from error
    except Unfit:
        raise
    except Exception as error:  # theirs: any
        raise Unfit(f"{type(error).__name__}: {str(error)[:200]}") from error
    patches = patches.reshape(*expected.shape[:-1], -1)  # of grey ones
    if (difference := np.abs(patches.astype(float) - expected).mean()) > CLOSE:
        raise Unfit(f"its pixels differ by {difference:.0f}")
    return read


def _in_threads(
    one: Callable[[int, np.ndarray], np.ndarray], numbers: Sequence[int], starts_BN2: np.ndarray
) -> np.ndarray:
    """Images by a reader of one image, all at once."""
    if len(numbers) == 1:
        return one(numbers[0], starts_BN2[0])[None]
    with ThreadPoolExecutor(len(numbers)) as pool:
        return np.stack(list(pool.map(one, numbers, starts_BN2)))


def _fsspec_options() -> dict[str, str]:
    return {"endpoint_url": os.environ[storage.ENDPOINT]}


def _write_chunks(uri: str, image: ImageRef, tiles_M2: np.ndarray) -> None:
    """An array of the size of an image, of which some chunks are there."""
    import zarr as z

    shape, chunks, options = (image.height, image.width, 3), (TILE, TILE, 3), _fsspec_options()
    array = z.create_array(uri, shape=shape, chunks=chunks, dtype="uint8", storage_options=options)
    pixels_MTTC = ours([image], TILE)([0], tiles_M2[None] * TILE)[0]

    def write(corner: tuple[int, int], pixels_TTC: np.ndarray) -> None:
        top, left = corner
        inside = pixels_TTC[: image.height - top, : image.width - left]
        array[top : top + len(inside), left : left + inside.shape[1]] = inside

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(write, (tiles_M2 * TILE).tolist(), pixels_MTTC))
