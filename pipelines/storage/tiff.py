"""TIFF -> which bytes are which tile, without reading a pixel; the bytes of a tile -> its pixels.

Every variant that tifffile decodes: tiles and strips, BigTIFF, either byte order, COG, OME-TIFF, Aperio SVS. The first
image of the file and its reduced copies count; thumbnails, labels, masks and further frames do not.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from xml.etree import ElementTree as ET

import numpy as np
from tifffile import TIFF, TiffFile, TiffPage

from pipelines.errors import ImageError
from pipelines.storage import images, tiff_header
from pipelines.storage.tiff_header import JPEG
from pipelines.storage.tiff_tiles import JPEG_2000, colour_space, decode, to_rgb
from pipelines.storage.tile_index import Level, TiffIndex

__all__ = ["Level", "TiffIndex", "decode", "is_tiff", "read_index", "to_rgb"]

MAX_PAGES = 64  # looked at for levels
STRIP_BYTES = 2**18  # an uncompressed image stored in one piece is read in pieces of this size

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OLD_JPEG = 6  # Compression
_ORIENTATION, _REDUCED, _MASK = 274, 1, 4  # a tag, and bits of NewSubfileType


def is_tiff(first_bytes: bytes) -> bool:
    """Whether an object that begins so is a TIFF."""
    return first_bytes.startswith(_MAGIC)


def read_index(file: BinaryIO, uri: str) -> TiffIndex | None:
    """The tiles of all levels; None for a TIFF that must be read whole, as one that is stored turned.

    ImageError not_an_image, unsupported, truncated or too_large.
    """
    with _parsing(uri):
        file.seek(0)
        if not is_tiff(file.read(4)):
            raise images.image_error(uri, "not_an_image", "it does not begin like a TIFF")
        n_bytes = file.seek(0, io.SEEK_END)
        file.seek(0)
        with TiffFile(file) as tif:
            tif.pages.useframes = False  # of some writers it reads later pages by half
            base = tif.pages.first
            if _must_be_whole(base):
                return None
            if reason := _refusal(base) or _several_channels(tif, base):
                raise images.image_error(uri, "unsupported", reason)
            return TiffIndex(tuple(_level(page, n_bytes, uri) for page in (base, *_levels(tif, base))))


@contextmanager
def _parsing(uri: str) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise images.image_error(uri, "too_large", error) from error
    except Exception as error:  # of a damaged file anything may be raised, as deep as struct.error
        raise images.image_error(uri, "truncated", f"{type(error).__name__}: {error}") from error


def _must_be_whole(page: TiffPage) -> bool:
    if page.tags.valueof(_ORIENTATION, 1) in range(2, 9) or page.compression == _OLD_JPEG:
        return True
    by_codec = page.compression in JPEG_2000 or (page.compression in JPEG and page.planarconfig == 1)
    return page.is_subsampled and not by_codec


def _refusal(page: TiffPage) -> str:
    """Why there are no pixels to be had from a page; empty where there are."""
    if page.imagedepth != 1 or page.is_ndpi:
        return "the tiles of a Hamamatsu slide or of a volume"
    if page.compression != 1 and page.compression not in TIFF.DECOMPRESSORS:
        return f"compression {page.compression!r}"
    if page.predictor != 1 and page.predictor not in TIFF.UNPREDICTORS:
        return f"predictor {page.predictor!r}"
    if page.sampleformat != 1 or page.dtype is None:
        return f"samples of format {page.sampleformat} and {page.bitspersample} bits, not unsigned integers"
    return colour_space(page).refusal()


def _several_channels(tif: TiffFile, base: TiffPage) -> str:
    """Channels that are stored as one grey page each would give the first one alone."""
    channels = 1
    if tif.is_ome:
        pixels = ET.fromstring(base.description).find(".//{*}Pixels")
        channels = 1 if pixels is None else int(pixels.get("SizeC", 1))
    elif tif.is_imagej:
        channels = int((tif.imagej_metadata or {}).get("channels", 1))
    return f"{channels} channels in pages of their own" if channels > base.samplesperpixel else ""


def _levels(tif: TiffFile, base: TiffPage) -> Iterator[TiffPage]:
    """The reduced copies of the first page, each smaller than the one before; masks have no colours."""
    last = base
    for page in _followers(tif, base):
        smaller = page.imagelength < last.imagelength and page.imagewidth < last.imagewidth
        readable = page.is_tiled == base.is_tiled and not _must_be_whole(page) and not _refusal(page)
        if smaller and readable and _same_shape(base, page):
            yield page
            last = page


def _followers(tif: TiffFile, base: TiffPage) -> Iterator[TiffPage]:
    if base.pages:
        yield from base.pages
        return
    for number in range(1, MAX_PAGES):
        try:
            page = tif.pages[number]
        except IndexError:
            return
        if page.subfiletype & _REDUCED or tif.is_svs:
            yield page
        elif not page.subfiletype & _MASK:  # the next frame
            return


def _same_shape(base: TiffPage, page: TiffPage) -> bool:
    """Whether a page shows the same part of the world: its sides shrink alike, but for a rounding a level."""
    height, width = base.imagelength, base.imagewidth
    return abs(page.imagelength * width - page.imagewidth * height) <= 2 * (height + width)


def _level(page: TiffPage, n_bytes: int, uri: str) -> Level:
    tile = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    offsets, counts = (np.array(table, np.int64) for table in (page.dataoffsets, page.databytecounts))
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    if len(offsets) == len(counts):
        stored = (offsets != 0) & (counts != 0)
        offsets, counts = offsets * stored, counts * stored
        if len(offsets) == planes and stored.all() and not page.is_tiled and page.compression == page.predictor == 1:
            tile, offsets, counts = _in_pieces(page, offsets, counts)
    header = tiff_header.make(page, planes, tile[0])
    level = Level(page.imagelength, page.imagewidth, tile, planes, header, offsets, counts)
    _check(level, n_bytes, uri)
    return level


_Tables = tuple[tuple[int, int], np.ndarray, np.ndarray]


def _in_pieces(page: TiffPage, offsets: np.ndarray, counts: np.ndarray) -> _Tables:
    """One uncompressed strip as many: its rows lie behind each other."""
    samples = 1 if page.planarconfig == 2 else page.samplesperpixel
    row_bytes = -(-page.imagewidth * samples * page.bitspersample // 8)
    if (counts < page.imagelength * row_bytes).any():
        raise ValueError("the image has fewer bytes than pixels")
    rows = min(page.imagelength, max(1, STRIP_BYTES // row_bytes))
    tops = np.arange(0, page.imagelength, rows)
    pieces = (offsets[:, None] + tops * row_bytes).ravel()
    sizes = np.minimum(rows, page.imagelength - tops) * row_bytes
    return (rows, page.imagewidth), pieces, np.tile(sizes, len(offsets))


def _check(level: Level, n_bytes: int, uri: str) -> None:
    if 0 in (*level.tile, level.height, level.width):
        raise images.image_error(uri, "truncated", "an image or a tile without pixels")
    if level.tile[0] * level.tile[1] > images.MAX_PIXELS or max(level.height, level.width) >= 2**32:
        shape = f"{level.height} x {level.width} pixels in tiles of {level.tile[0]} x {level.tile[1]}"
        raise images.image_error(uri, "too_large", shape)
    band = min(level.tile[0], level.height)
    if band * level.width > images.MAX_PIXELS:  # what is held where an image is read from top to bottom
        raise images.image_error(uri, "too_large", f"a row of tiles has {band} x {level.width} pixels")
    rows, columns = level.grid
    if not len(level.offsets) == len(level.counts) == level.planes * rows * columns:
        raise images.image_error(uri, "truncated", f"{len(level.offsets)} tiles instead of {rows} x {columns}")
    if min(level.offsets.min(), level.counts.min()) < 0 or (level.counts > n_bytes - level.offsets).any():
        raise images.image_error(uri, "truncated", f"tiles beyond its end at {n_bytes} bytes")
