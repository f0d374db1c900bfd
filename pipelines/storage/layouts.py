"""How the pixels of an image lie in its object: a grid of tiles, the bytes of each, and how these become pixels.

A whole JPEG is a grid of one tile, a strip is a tile as wide as the image, and a slide that OpenSlide opens has tiles
without bytes. So one engine (`tiles.py`) reads them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import google_crc32c
import numpy as np

from pipelines.errors import CatalogError
from pipelines.storage import images, slides, tiff, tiff_header
from pipelines.storage.kept import Kept

CHANNELS = 3  # of every image that a model sees
SLIDE_TILE = 256  # OpenSlide hides its tiles: pieces of this side are asked for

KEPT_LAYOUTS: "Kept[TiffLayout]" = Kept(64e6)  # an index of 20,000 x 20,000 pixels takes 0.13 MB
_CHECKSUM = b"crc32c"
_WRONG = "its crc32c is not the one in the catalog"

Span = tuple[int, int | None]
"""Bytes of an object, [start, end); None: to its end."""


@dataclass(frozen=True, slots=True)
class ImageRef:
    """All that a reader needs to know of an image; comes from a catalog row."""

    uri: str
    height: int
    width: int
    channels: int = CHANNELS
    etag: str = ""
    """The etag that the object had; "" takes whatever is there, as long as its size fits."""
    n_bytes: int = 0
    """Of the object; 0 where nobody knows."""
    index: bytes = b""
    """`TiffIndex.dumps()` of an image of tiles or strips; of one that is read whole, its `checksum` or nothing."""


class Layout(Protocol):
    """One level of an image as a grid of tiles, numbered row by row."""

    @property
    def number(self) -> int:
        """Of the level; 0 is the full size."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the level."""

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of a tile; those at the lower and right border are cut."""

    def spans(self, tile: int) -> list[Span | None]:
        """Where the segments of a tile lie in the object; None for one that is not stored."""

    def decode(self, tile: int, segments: Sequence[bytes | None]) -> np.ndarray:
        """Its pixels [h, w, C]; ImageError, or whatever the codec raises, when the bytes are not those of a tile."""


@dataclass(frozen=True, slots=True, eq=False)
class TiffLayout:
    """A level of an indexed TIFF."""

    level: tiff.Level
    number: int = 0
    """Of the level."""
    rgb: bool = True
    """As uint8 RGB, or as it is stored."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the level."""
        return self.level.height, self.level.width

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of a tile or strip."""
        return self.level.tile

    def sample(self) -> np.ndarray:
        """One pixel [C], for its type and its number of samples."""
        nothing = tiff.decode(self.level, 0, [None] * self.level.planes)
        return (tiff.to_rgb(self.level, nothing) if self.rgb else nothing)[0, 0]

    def spans(self, tile: int) -> list[Span | None]:
        """A span a plane."""
        return [self._span(segment) for segment in self.level.segments(tile)]

    def _span(self, segment: int) -> Span | None:
        start, count = int(self.level.offsets[segment]), int(self.level.counts[segment])
        return (start, start + count) if count else None

    def decode(self, tile: int, segments: Sequence[bytes | None]) -> np.ndarray:
        """The tile's samples, cut at the level's border; ValueError for a wrong checksum."""
        if self.level.checksums is not None:
            for number, segment in zip(self.level.segments(tile), segments, strict=True):
                if segment is not None and google_crc32c.value(segment) != self.level.checksums[number]:
                    raise ValueError(_WRONG)
        samples = tiff.decode(self.level, tile, segments)
        return tiff.to_rgb(self.level, samples) if self.rgb else samples


@dataclass(frozen=True, slots=True)
class _FullSize:
    """An image without an index: its row alone says how large it is."""

    image: ImageRef
    number: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.height, self.image.width


class WholeLayout(_FullSize):
    """An image that is decoded in one piece."""

    __slots__ = ()

    @property
    def tile(self) -> tuple[int, int]:
        """The same."""
        return self.size

    def spans(self, tile: int) -> list[Span | None]:
        """The whole object."""
        return [(0, self.image.n_bytes or None)]

    def decode(self, tile: int, segments: Sequence[bytes | None]) -> np.ndarray:
        """The pixels; ImageError stale when they are not as many as the catalog says."""
        data = segments[0] or b""
        if self.image.index and self.image.index != checksum(data):
            raise ValueError(_WRONG)
        pixels = images.decode(data, self.image.uri)
        if pixels.shape != (expected := (*self.size, self.image.channels)):
            found, was = (" x ".join(map(str, shape)) for shape in (pixels.shape, expected))
            raise images.image_error(self.image.uri, "stale", f"it is {found}, and was {was} in the catalog")
        return pixels


class SlideLayout(_FullSize):
    """An image on a local disk that OpenSlide reads."""

    __slots__ = ()

    @property
    def tile(self) -> tuple[int, int]:
        """Pieces of SLIDE_TILE."""
        return SLIDE_TILE, SLIDE_TILE

    def spans(self, tile: int) -> list[Span | None]:
        """None: OpenSlide reads by itself."""
        return []

    def decode(self, tile: int, segments: Sequence[bytes | None]) -> np.ndarray:
        """The pixels, on white."""
        top, left, height, width = bounds(self, tile)
        return slides.read_window(self.image.uri, 0, top, left, height, width)


def layout_of(image: ImageRef) -> Layout:
    """The layout of the full-size pixels of an image; those last used are kept.

    Raises:
        ImageError: stale, when the index is damaged, or not one of an image of this size.
    """
    if not image.index or image.index.startswith(_CHECKSUM):
        return SlideLayout(image) if slides.is_slide(image.uri) else WholeLayout(image)
    if (layout := KEPT_LAYOUTS.get(image.index)) is None:
        try:
            level = tiff.TiffIndex.loads(image.index).levels[0]
        except CatalogError as error:
            raise images.image_error(image.uri, "stale", error.reason) from error
        layout = TiffLayout(level)
        tables = [table for table in (level.offsets, level.counts, level.checksums) if table is not None]
        KEPT_LAYOUTS.put(image.index, layout, len(image.index) + sum(table.nbytes for table in tables))
    if layout.size != (image.height, image.width):
        found, said = (" x ".join(map(str, size)) for size in (layout.size, (image.height, image.width)))
        raise images.image_error(image.uri, "stale", f"its index is of {found} pixels, its row of {said}")
    return layout


def layout_name(level: tiff.Level) -> str:
    """How a part of an indexed image is had: "tiles" | "strips" | "whole"."""
    if tiff_header.page_of(level.header).is_tiled:
        return "tiles"
    return "strips" if level.grid[0] > 1 else "whole"


def checksum(data: bytes) -> bytes:
    """The index of an object that is read whole: what its bytes must add up to."""
    return _CHECKSUM + google_crc32c.value(data).to_bytes(4, "big")


def columns(layout: Layout) -> int:
    """Tiles in a row of the grid."""
    return -(-layout.size[1] // layout.tile[1])


def bounds(layout: Layout, tile: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a tile, cut at the border of the level."""
    top, left = (i * side for i, side in zip(divmod(tile, columns(layout)), layout.tile, strict=True))
    return top, left, min(layout.tile[0], layout.size[0] - top), min(layout.tile[1], layout.size[1] - left)
