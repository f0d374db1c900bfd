"""TIFFs for tests, and an image put together from its tiles."""

import io

import numpy as np
import pytest
import tifffile

from pipelines.errors import ImageError
from pipelines.storage import tiff

HEIGHT, WIDTH = 53, 75  # of no whole number of tiles or strips
TILES, STRIPS = {"tile": (16, 32)}, {"rowsperstrip": 16}


def scene(samples: int, dtype: type = np.uint8, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth enough for JPEG, with noise; 16 bits with a low byte of their own."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(y / 9 + s) * np.cos(x / (7 + s)) for s in range(samples)], axis=-1)
    values = 127 + 100 * waves + np.random.default_rng(0).integers(-8, 8, waves.shape)
    return (values * (1 if dtype == np.uint8 else 257.3)).astype(dtype)


def written(pixels: np.ndarray, **options: object) -> bytes:
    tifffile.imwrite(file := io.BytesIO(), pixels, metadata=None, **options)
    return file.getvalue()


def index_of(data: bytes) -> tiff.TiffIndex:
    """As it comes out of a catalog."""
    index = tiff.read_index(io.BytesIO(data), "x")
    assert index is not None
    return tiff.TiffIndex.loads(index.dumps())


def assembled(data: bytes, number: int = 0, rgb: bool = True) -> np.ndarray:
    """A level from its tiles, each decoded from its own bytes alone."""
    level = index_of(data).levels[number]
    rows = []
    for row in range(level.grid[0]):
        tiles = [decoded(data, level, row * level.grid[1] + column) for column in range(level.grid[1])]
        rows.append(np.concatenate([tiff.to_rgb(level, tile) if rgb else tile for tile in tiles], axis=1))
    return np.concatenate(rows)


def decoded(data: bytes, level: tiff.Level, tile: int) -> np.ndarray:
    spans = [(int(level.offsets[s]), int(level.counts[s])) for s in level.segments(tile)]
    return tiff.decode(level, tile, [data[start : start + count] if count else None for start, count in spans])


def status_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        tiff.read_index(io.BytesIO(data), "x")
    assert caught.value.thing == "x"
    return caught.value.status


GREY, COLOUR, FOUR = scene(1)[..., 0], scene(3), scene(4)
DEEP = scene(4, np.uint16)
GREY_OPTIONS = {"photometric": "minisblack"}
