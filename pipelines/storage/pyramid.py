"""Bands of pixels -> a standard tiled pyramidal TIFF, in one pass and in the memory of a few tile rows.

The levels are pages of their own, each half as large as the one before and marked as reduced: what GDAL, OpenSlide
and tifffile open as one pyramid, and Pillow and whatever knows no pyramids as its first page.

    codec "jpeg"    8-bit RGB: YCbCr 4:2:0, every tile a whole JPEG stream
    codec "zstd"    lossless, with horizontal differences; what is not 8-bit RGB takes it always: grey, masks, 16 bit
"""

import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

import imagecodecs
import numpy as np
import tifffile

Codec = Literal["jpeg", "zstd"]
TILE = 256
QUALITY = 90
SOFTWARE = "attention-sampling"

_PART = ".pyramid-part"  # ends the names of files that are not complete: nobody takes these for images
_STALE_S = 3600  # without a write, after which a part is that of a process that was killed
_THREADS = 4  # that encode the tiles of a row
_CLASSIC_BYTES = 2**32 - 2**24  # of tiles in a TIFF with 32-bit offsets: the rest is for its tables


def write_pyramid(
    bands: Iterator[np.ndarray],
    size: tuple[int, int],
    path: str | Path,
    *,
    codec: Codec = "jpeg",
    tile: int = TILE,
    quality: int = QUALITY,
    description: str = "",
) -> None:
    """Writes bands [rows, W] or [rows, W, 1 | 3] of uint8 or uint16, top to bottom, to a local path; atomically.

    Args:
        bands: of any heights, together the rows of the image.
        size: (height, width) of the image.
        path: replaced once the file is complete; parts that killed processes left in its folder are removed.
        codec: of 8-bit RGB; anything else is zstd.
        tile: side of the tiles, a multiple of 16.
        quality: of JPEG, up to 100.
        description: for the ImageDescription of the first page, ASCII.

    Raises:
        ValueError: the bands do not make up an image of this size, or their pixels are none of these kinds.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{_PART}")
    _sweep(path.parent)
    first = _squeezed(next(bands))
    code = _Code.of(first, codec, tile, quality)
    try:
        with tempfile.TemporaryFile(dir=path.parent) as spool, ThreadPoolExecutor(_THREADS, "encode") as pool:
            levels = _Levels(size, code, pool, spool)
            for band in chain([first], bands):
                levels.add(_squeezed(band))
            levels.finish()
            levels.write(part, description)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@cache
def _sweep(folder: Path) -> None:
    """Removes stale parts, once a process: listing a folder of many images takes as long as writing one."""
    for part in folder.glob(f"*{_PART}"):
        with suppress(FileNotFoundError):  # complete by now, or removed by another process
            if part.stat().st_mtime < time.time() - _STALE_S:
                part.unlink()


def _squeezed(band: np.ndarray) -> np.ndarray:
    """Grey without an axis of samples, which TIFF writers take for pages."""
    return band[..., 0] if band.shape[2:] == (1,) else band


@dataclass(frozen=True, slots=True)
class _Code:
    """How the tiles of an image are encoded, and the tags that say so."""

    dtype: np.dtype
    samples: tuple[int, ...]  # () grey, (3,) RGB
    jpeg: bool
    tile: int
    quality: int

    @staticmethod
    def of(band: np.ndarray, codec: Codec, tile: int, quality: int) -> "_Code":
        """What suits an image with a band like this."""
        samples = band.shape[2:]
        if band.dtype not in (np.uint8, np.uint16) or samples not in ((), (3,)):
            raise ValueError(f"pixels {band.dtype} {list(samples)} are neither grey nor RGB of 8 or 16 bit")
        return _Code(band.dtype, samples, codec == "jpeg" and band.dtype == np.uint8 and bool(samples), tile, quality)

    def encode(self, tile: np.ndarray) -> bytes:
        """One tile. At the image's borders its pixels are repeated: JPEG would ring at a black edge."""
        missing = [(0, self.tile - side) for side in tile.shape[:2]] + [(0, 0)] * len(self.samples)
        tile = np.pad(tile, missing, mode="edge")
        if self.jpeg:
            ycbcr = {"colorspace": "RGB", "outcolorspace": "YCBCR", "subsampling": "420"}
            return imagecodecs.jpeg8_encode(tile, level=self.quality, **ycbcr)
        return imagecodecs.zstd_encode(imagecodecs.delta_encode(tile, axis=1))

    def tags(self, size: tuple[int, int]) -> dict[str, Any]:
        """What the writer is told of a level of this size."""
        return {
            "shape": size + self.samples,
            "dtype": self.dtype,
            "tile": (self.tile, self.tile),
            "photometric": "rgb" if self.samples else "minisblack",  # with JPEG the writer makes it YCbCr 4:2:0
            "compression": "jpeg" if self.jpeg else "zstd",
            "predictor": None if self.jpeg else 2,
            "metadata": None,
            "software": SOFTWARE,
        }


class _Levels:
    """A pyramid in the making: of each level at most one row of tiles is held, what is encoded goes to the spool."""

    def __init__(self, size: tuple[int, int], code: _Code, pool: ThreadPoolExecutor, spool: BinaryIO) -> None:
        self._code, self._pool, self._spool = code, pool, spool
        self._sizes = [size]
        while max(size) > code.tile:
            size = (-(-size[0] // 2), -(-size[1] // 2))
            self._sizes.append(size)
        self._rows = [0] * len(self._sizes)  # that came
        self._held: list[list[np.ndarray]] = [[] for _ in self._sizes]  # of these, less than a tile's height
        self._places: list[list[tuple[int, int]]] = [[] for _ in self._sizes]  # start and length of tiles in the spool

    def add(self, rows: np.ndarray, level: int = 0) -> None:
        """The next rows of a level."""
        width, code = self._sizes[level][1], self._code
        if (rows.shape[1:], rows.dtype) != ((width, *code.samples), code.dtype):
            expected = f"{code.dtype} {[width, *code.samples]}"
            raise ValueError(f"rows of {rows.dtype} {list(rows.shape[1:])} in an image of {expected}")
        while len(rows):
            fitting = rows[: code.tile - self._rows[level] % code.tile]
            self._held[level].append(fitting)
            self._rows[level] += len(fitting)
            rows = rows[len(fitting) :]
            if self._rows[level] % code.tile == 0:
                self._flush(level)

    def finish(self) -> None:
        """No more rows come; ValueError unless they are all there."""
        for level, size in enumerate(self._sizes):
            if self._held[level]:
                self._flush(level)
            if self._rows[level] != size[0]:
                raise ValueError(f"{self._rows[level]} of {size[0]} rows came")

    def write(self, path: Path, description: str) -> None:
        """The TIFF of all that is in the spool."""
        with tifffile.TiffWriter(path, bigtiff=self._spool.tell() > _CLASSIC_BYTES) as tiff:
            for level, size in enumerate(self._sizes):
                own = {"subfiletype": 1} if level else {"description": description}
                tiff.write(self._tiles(level), **self._code.tags(size), **own)

    def _flush(self, level: int) -> None:
        """Encodes a row of tiles, and hands its half on."""
        row, side = np.concatenate(self._held[level]), self._code.tile
        self._held[level] = []
        for data in self._pool.map(self._code.encode, (row[:, x : x + side] for x in range(0, row.shape[1], side))):
            self._places[level].append((self._spool.tell(), len(data)))
            self._spool.write(data)
        if level + 1 < len(self._sizes):
            self.add(_halved(row), level + 1)

    def _tiles(self, level: int) -> Iterator[bytes]:
        for start, length in self._places[level]:
            self._spool.seek(start)
            yield self._spool.read(length)


def _halved(pixels: np.ndarray) -> np.ndarray:
    """The means of 2 x 2 pixels, halves rounded up; an odd last row or column counts twice."""
    odd = [(0, side % 2) for side in pixels.shape[:2]] + [(0, 0)] * (pixels.ndim - 2)
    pixels = np.pad(pixels, odd, mode="edge") if any(map(any, odd)) else pixels
    wide = np.uint16 if pixels.dtype == np.uint8 else np.uint32
    rows = np.add(pixels[0::2], pixels[1::2], dtype=wide)
    return ((rows[:, 0::2] + rows[:, 1::2] + wide(2)) >> 2).astype(pixels.dtype)
