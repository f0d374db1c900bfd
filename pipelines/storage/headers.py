"""What an image says of itself before any of its pixels: its first KB, its tables, and whether its end is there.

The statuses are those that reading all of it would give, as far as a header shows. It cannot show damage between the
two ends, nor a lost end of AVIF, GIF, BMP, PPM and JPEG 2000, or of what was filled up with zeros.
"""

import io
import re
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from pipelines.errors import ImageError
from pipelines.storage import images, slides, tiff
from pipelines.storage.images import image_error
from pipelines.storage.layouts import layout_name
from pipelines.storage.objects import ObjectStat
from pipelines.storage.ranges import DEFAULT, Network, RangeFile, stat
from pipelines.storage.stats import Counters
from pipelines.storage.tiff import TiffIndex

BLOCK = 2**14  # bytes of a request: the header of most photographs, with its thumbnail
TAIL = 2**12  # bytes, in which a whole file has its end mark

_END_MARKS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}
_NO_SCAN = re.compile(rb"\xff[^\x00\xc4\xd0-\xd7\xda\xdd\xff]")  # in JPEG, what no piece of its pixel data has
_ZEROS = 1 / 4  # of the tail: more of them are filling, or another file behind the image
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # a tag, and its values that exchange height and width
_PICTURES = 0xB002  # a tag of a JPEG of several pictures
_TABLES = ((273, 279), (324, 325))  # tags: offsets and counts of strips, of tiles


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """An image of which no pixel was decoded."""

    stat: ObjectStat
    format: str
    """By Pillow's names, as "JPEG"; "SLIDE" where OpenSlide reads it."""
    layout: str
    """How a part of it is had: "tiles" | "strips" | "whole" (only by decoding all of it) | "slide" (by OpenSlide)."""
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of its levels, full size first, upright."""
    index: TiffIndex | None = None
    """Where its tiles or strips lie."""
    progressive: bool = False
    """Whether it is a JPEG of several scans, each over the whole image."""


def read_header(uri: str, counters: Counters, network: Network = DEFAULT) -> Header:
    """The header of an image anywhere: some KB in 2 to 4 requests, of a TIFF its tables; ImageError with a status.

    WebP and AVIF are read whole where they have large tables, or several frames.
    """
    found = stat(uri, network, counters)
    if slides.is_slide(uri):
        return Header(found, "SLIDE", "slide", tuple(slides.levels(uri)))
    if not found.size:
        raise image_error(uri, "empty", "the object has no bytes")
    file = RangeFile(uri, found, counters, network, BLOCK)
    start = file.read(images.START)
    if tiff.is_tiff(start):
        index = tiff.read_index(file, uri)
        if index is not None:
            sizes = tuple((level.height, level.width) for level in index.levels)
            return Header(found, "TIFF", layout_name(index.levels[0]), sizes, index)
    images.check_start(start, found.size, uri)
    return _whole(uri, found, file, start)


def _whole(uri: str, found: ObjectStat, file: RangeFile, start: bytes) -> Header:
    image = _opened(uri, file, start) if not _is_read_at_once(start) else _opened_at_once(uri, found.size, file, start)
    if image.width * image.height > images.MAX_PIXELS:
        raise image_error(uri, "too_large", f"{image.height} x {image.width} pixels")
    if image.mode in images.MEANINGLESS:
        raise images.unsupported(uri, image.mode)
    if image.format != "MPO" or image.mpinfo[_PICTURES][0]["Size"] > found.size:  # else one behind the first may be cut
        _check_end(uri, found.size, file, start)
    _check_tables(uri, found.size, image)
    turned = Image.Image.getexif(image).get(_ORIENTATION) in _TURNED  # that of PngImageFile decodes the image
    size = image.size if turned else (image.height, image.width)
    return Header(found, str(image.format), "whole", (size,), progressive="progressive" in image.info)


def _opened(uri: str, file: BinaryIO, start: bytes) -> Image.Image:
    file.seek(0)
    with images.decoding(uri, start):
        return Image.open(file, formats=list(images.STARTS))


def _is_read_at_once(start: bytes) -> bool:
    """Whether Pillow reads all of such an image to open it: WebP and AVIF."""
    return start[8:12] == b"WEBP" or start[4:8] == b"ftyp"


def _opened_at_once(uri: str, n_bytes: int, file: RangeFile, start: bytes) -> Image.Image:
    """With zeros for the pixel data, at which it does not look; where the two ends do not do, all of it is read."""
    file.seek(0)
    head = file.read(BLOCK)
    file.seek(max(len(head), n_bytes - TAIL))
    tail = file.read()
    try:
        return _opened(uri, io.BytesIO(head + bytes(n_bytes - len(head) - len(tail)) + tail), start)
    except ImageError:
        file.seek(0)
        return _opened(uri, io.BytesIO(file.read()), start)


def _check_end(uri: str, n_bytes: int, file: RangeFile, start: bytes) -> None:
    """ImageError truncated where the file ends amid its pixels; `file` stands behind its header.

    What stands behind an end mark far from the end (a phone's film, zeros up to a block) is no damage.
    """
    mark = next((end for begin, end in _END_MARKS.items() if start.startswith(begin)), b"")
    file.seek(max(file.tell(), n_bytes - TAIL))  # a thumbnail in the header has an end mark too
    tail = file.read() if mark else b""
    is_filling = tail.count(0) > _ZEROS * len(tail) or (start.startswith(b"\xff") and _NO_SCAN.search(tail))
    if mark not in tail and not is_filling:
        raise image_error(uri, "truncated", f"it ends at {n_bytes} bytes, amid its pixels")


def _check_tables(uri: str, n_bytes: int, image: Image.Image) -> None:
    """ImageError truncated where a TIFF that is read whole has pixels beyond its end."""
    tags = getattr(image, "tag_v2", {})
    for offsets, counts in _TABLES:
        ends = map(sum, zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False))
        if max(ends, default=0) > n_bytes:
            raise image_error(uri, "truncated", f"pixels beyond its end at {n_bytes} bytes")
