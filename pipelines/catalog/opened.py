"""An image where it lies -> how it is stored, its size, its pixels from top to bottom, its view."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import google_crc32c
import numpy as np

from pipelines.storage import images, slides, tiff, tiff_header, tiff_tiles
from pipelines.storage.bands import read_bands
from pipelines.storage.colours import MIN_IS_BLACK, MIN_IS_WHITE, PALETTE, RGB, ColourSpace
from pipelines.storage.layouts import SLIDE_TILE, ImageRef, checksum, layout_name
from pipelines.storage.objects import ObjectStat
from pipelines.storage.plan import MAX_RANGE, coalesce
from pipelines.storage.ranges import DEFAULT, ByteRange, Network, RangeFile, fetch, stat
from pipelines.storage.stats import Counters
from pipelines.storage.tiff import Level, TiffIndex
from pipelines.storage.views import AreaFilter, level_of_view

RANGES_AT_ONCE = 8  # of 8 MiB at most, where every byte is read
BLOCK = 2**16  # of an object of which only parts are read

TIFF_SUFFIXES = (".tif", ".tiff", ".svs")
_GREY = (MIN_IS_WHITE, MIN_IS_BLACK)

Bands = Iterator[tuple[int, np.ndarray]]
"""(top, rows [h, W, 3], or [h, W] of grey), from top to bottom."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """An image of which no more has been read than its format demands."""

    uri: str
    stat: ObjectStat
    layout: str
    """How a part of it is had: "tiles" | "strips" | "whole" (only by decoding all of it) | "slide" (by OpenSlide)."""
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of its levels, full size first."""
    bands: Callable[[int, bool], Bands]
    """Of a level: as uint8 RGB if True, else 16 bit and grey as they are. ImageError while they are read."""
    index: TiffIndex | None = None
    """Where its tiles or strips lie."""
    checksum: bytes = b""
    """Of an object that was read whole."""
    exact: bool = False
    """Whether its values may be more than looks: those of a palette, or what was 16 bit. Not to be made JPEG."""

    def view(self, view_size: tuple[int, int]) -> np.ndarray:
        """The view uint8 [h, w, 3], made from the level that `level_of_view` chooses."""
        level = level_of_view(self.sizes, view_size)
        area = AreaFilter(self.sizes[level], view_size)
        for top, band in self.bands(level, True):
            area.add(top, band)
        return area.view()


def open_image(uri: str, counters: Counters, network: Network = DEFAULT) -> Opened:
    """Opens an image anywhere: of a TIFF its tables are read, of a JPEG or PNG all of it; ImageError with a status."""
    found = stat(uri, network, counters)
    if slides.is_slide(uri):
        return _slide(uri, found)
    file = RangeFile(uri, found, counters, network, _block(uri, found.size))
    start = file.read(images.START)
    if tiff.is_tiff(start):
        index = tiff.read_index(file, uri)
        if index is not None:
            return _indexed(uri, found, index, counters, network)
    images.check_start(start, found.size, uri)
    file.seek(0)
    return _whole(uri, found, file.read())


def _block(uri: str, n_bytes: int) -> int:
    """Bytes to ask for at once: all of a small object that is no TIFF by its name. A wrong guess costs bytes alone."""
    return n_bytes if 0 < n_bytes <= MAX_RANGE and not uri.lower().endswith(TIFF_SUFFIXES) else BLOCK


def _indexed(uri: str, found: ObjectStat, index: TiffIndex, counters: Counters, network: Network) -> Opened:
    sizes = tuple((level.height, level.width) for level in index.levels)

    def bands(level: int, rgb: bool) -> Bands:
        image, space = ImageRef(uri, *sizes[0], etag=found.etag), _space(index.levels[level])
        as_rgb = rgb or not _is_deep(space)
        for top, band in read_bands(image, index, level, counters, network, rgb=as_rgb):
            yield top, band if rgb else _kept(band, space)

    full = _space(index.levels[0])
    exact = full.bits == 16 or full.photometric == PALETTE
    return Opened(uri, found, layout_name(index.levels[0]), sizes, bands, index, exact=exact)


def _space(level: Level) -> ColourSpace:
    return tiff_tiles.colour_space(tiff_header.page_of(level.header))


def _is_deep(space: ColourSpace) -> bool:
    """Whether uint8 RGB would cut its samples, and they mean something without conversion."""
    return space.bits == 16 and space.photometric in (*_GREY, RGB) and not space.alpha


def _kept(band: np.ndarray, space: ColourSpace) -> np.ndarray:
    """What is to be stored of a band of RGB, or of samples as they are: one value of grey, larger is brighter."""
    if space.photometric not in _GREY:
        return band[..., :3]
    turned = space.photometric == MIN_IS_WHITE and _is_deep(space)
    return ~band[..., 0] if turned else band[..., 0]


def _whole(uri: str, found: ObjectStat, data: bytes) -> Opened:
    pixels, exact = images.decode_stored(data, uri)

    def bands(level: int, rgb: bool) -> Bands:
        yield 0, images.as_rgb(pixels) if rgb else pixels

    return Opened(uri, found, "whole", (pixels.shape[:2],), bands, checksum=checksum(data), exact=exact)


def _slide(uri: str, found: ObjectStat) -> Opened:
    sizes = tuple(slides.levels(uri))

    def bands(level: int, rgb: bool) -> Bands:
        height, width = sizes[level]
        for top in range(0, height, SLIDE_TILE):
            yield top, slides.read_window(uri, level, top, 0, min(SLIDE_TILE, height - top), width)

    return Opened(uri, found, "slide", sizes, bands)


def dump_index(image: Opened, counters: Counters, network: Network = DEFAULT, *, checksums: bool = False) -> bytes:
    """The `index` of an image's catalog row; with the crc32c of every tile, for which all of them are read."""
    if image.index is None:
        return image.checksum if checksums else b""
    return (_with_checksums(image, counters, network) if checksums else image.index).dumps()


def _with_checksums(image: Opened, counters: Counters, network: Network) -> TiffIndex:
    tables = [np.stack([level.offsets, level.offsets + level.counts], axis=1).tolist() for level in image.index.levels]
    spans = sorted({(start, end) for table in tables for start, end in table if start < end})
    sums = dict(_checksums(image, spans, counters, network))
    checksums = (np.array([sums.get((start, end), 0) for start, end in table], np.uint32) for table in tables)
    levels = zip(image.index.levels, checksums, strict=True)
    return TiffIndex(tuple(replace(level, checksums=table) for level, table in levels))


def _checksums(
    image: Opened, spans: list[tuple[int, int]], counters: Counters, network: Network
) -> Iterator[tuple[tuple[int, int], int]]:
    units = coalesce(spans)
    starts = [start for start, _ in units]  # of two units with one start the second covers both
    of_unit = groupby(spans, lambda span: units[bisect_right(starts, span[0]) - 1])
    members = [(unit, list(group)) for unit, group in of_unit]
    for first in range(0, len(members), RANGES_AT_ONCE):
        chosen = members[first : first + RANGES_AT_ONCE]
        ranges = [ByteRange(image.uri, *unit, image.stat.etag) for unit, _ in chosen]
        for wanted, coming, (_, inside) in zip(ranges, fetch(ranges, counters, network), chosen, strict=True):
            data = memoryview(coming.result())
            for start, end in inside:
                segment = data[start - wanted.start : end - wanted.start]
                yield (start, end), google_crc32c.value(bytes(segment))
