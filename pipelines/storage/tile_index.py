"""Where every tile of an image lies in its object, in as few bytes as a catalog row can bear.

Tiles mostly follow each other in the object, in whatever order: an offset is stored as its distance from the end of the
tile before it, nearly always the same small number. The sizes alone cost bytes.
"""

import io
import struct
from dataclasses import dataclass

import google_crc32c
import imagecodecs
import numpy as np

from pipelines.errors import CatalogError

_HEAD = struct.Struct("<4sBI")  # magic, version, crc32c of all that follows
_SIZE = struct.Struct("<I")  # bytes of the unpacked body
_MAGIC, _VERSION = b"TILE", 1
_LEVEL = struct.Struct(
    "<IIIIHBI"
)  # height, width, height and width of a tile, planes, whether checksums follow, header
_COUNT = struct.Struct("<H")
_EFFORT = 12  # of zstd: 10 ms for 10,000 tiles


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One resolution of an image, cut into a grid of tiles that are numbered row by row."""

    height: int
    width: int
    tile: tuple[int, int]
    """Height and width of a tile; a strip is a tile as wide as the level."""
    planes: int
    """1, or the number of samples where each is stored apart."""
    header: bytes
    """A TIFF without pixels: all that decoding needs beside a tile's bytes. One for all images of a writer and size."""
    offsets: np.ndarray
    """int64 [planes * rows * columns]: where in the object a tile of a plane begins; 0 where nothing is stored."""
    counts: np.ndarray
    """int64, the same: how many bytes; 0 where nothing is stored."""
    checksums: np.ndarray | None = None
    """uint32, the same: crc32c of these bytes, where somebody computed them."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.height // self.tile[0]), -(-self.width // self.tile[1])

    def segments(self, tile: int) -> list[int]:
        """Where in `offsets` and `counts` the planes of a tile are."""
        rows, columns = self.grid
        return [plane * rows * columns + tile for plane in range(self.planes)]


@dataclass(frozen=True, slots=True, eq=False)
class TiffIndex:
    """All levels of an image, full size first."""

    levels: tuple[Level, ...]

    def dumps(self) -> bytes:
        """As bytes: about 2 for a JPEG tile, and a few hundred."""
        body = _COUNT.pack(len(self.levels)) + b"".join(_dump_level(level) for level in self.levels)
        packed = _SIZE.pack(len(body)) + imagecodecs.zstd_encode(body, _EFFORT)
        return _HEAD.pack(_MAGIC, _VERSION, google_crc32c.value(packed)) + packed

    @classmethod
    def loads(cls, data: bytes) -> "TiffIndex":
        """What `dumps` was given; CatalogError where these bytes are not those that it wrote."""
        if len(data) < _HEAD.size or data[:4] != _MAGIC:
            raise _damaged("it does not begin like one")
        _, version, checksum = _HEAD.unpack_from(data)
        if version != _VERSION:
            raise _damaged(f"it is of version {version}, and this is version {_VERSION}")
        packed = data[_HEAD.size :]
        if google_crc32c.value(packed) != checksum:
            raise _damaged("its bytes do not fit their checksum")
        (size,) = _SIZE.unpack_from(packed)
        body = io.BytesIO(imagecodecs.zstd_decode(packed[_SIZE.size :], out=size))
        (n_levels,) = _COUNT.unpack(body.read(_COUNT.size))
        return cls(tuple(_load_level(body) for _ in range(n_levels)))


def _damaged(reason: str) -> CatalogError:
    return CatalogError("the tile index of an image", reason, "Build the catalog again.")


def _dump_level(level: Level) -> bytes:
    has_checksums = level.checksums is not None
    sizes = (level.height, level.width, *level.tile, level.planes, has_checksums, len(level.header))
    stored = level.counts > 0
    gaps = level.offsets[stored] - _ends_before(level.offsets[stored], level.counts[stored])
    tables = [_shuffled(level.counts), _shuffled(gaps)]
    if level.checksums is not None:
        tables.append(level.checksums.astype("<u4").tobytes())
    return b"".join([_LEVEL.pack(*sizes), level.header, *tables])


def _load_level(body: io.BytesIO) -> Level:
    height, width, tile_height, tile_width, planes, has_checksums, n_header = _LEVEL.unpack(body.read(_LEVEL.size))
    header = body.read(n_header)
    n = planes * -(-height // tile_height) * -(-width // tile_width)
    counts = _unshuffled(body.read(8 * n))
    stored = counts > 0
    gaps = _unshuffled(body.read(8 * int(stored.sum())))
    offsets = np.zeros(n, np.int64)
    offsets[stored] = np.cumsum(gaps + np.concatenate([[0], counts[stored][:-1]])[: len(gaps)])
    checksums = np.frombuffer(body.read(4 * n), "<u4") if has_checksums else None
    return Level(height, width, (tile_height, tile_width), planes, header, offsets, counts, checksums)


def _ends_before(offsets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Where the tile before each ends; 0 for the first."""
    return np.concatenate([[0], (offsets + counts)[:-1]])[: len(offsets)]


def _shuffled(values: np.ndarray) -> bytes:
    """All lowest bytes, then all second bytes...: the high ones are nearly all zero and take no space."""
    return np.ascontiguousarray(values, "<i8").view(np.uint8).reshape(-1, 8).T.tobytes()


def _unshuffled(data: bytes) -> np.ndarray:
    columns = np.frombuffer(data, np.uint8).reshape(8, -1).T
    return np.ascontiguousarray(columns).view("<i8").ravel().astype(np.int64, copy=False)
