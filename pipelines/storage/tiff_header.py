"""All that decoding a tile needs beside its bytes, as a TIFF of a few hundred bytes: one page, no pixels.

The tags are copied as they are, so that tifffile makes the same decoder of them. The page is the whole level where it
is tiled, and a single strip otherwise: how many strips there are does not matter to any of them.

    magic, 12 | whether the streams say JFIF | tags: width, length... | 0 | values that do not fit into their tag
"""

import io
import struct
from functools import lru_cache

from tifffile import TiffFile, TiffPage

_Tags = dict[int, tuple[int, int, bytes]]  # code: type, count, value

JPEG = (7, 34892, 33007)  # Compression

_SHORT, _LONG = 3, 4  # types
_LENGTH, _SUBSAMPLING = 257, 530
_OFFSETS_COUNTS = {True: (324, 325), False: (273, 279)}  # of tiles, of strips
_COPIED = {256, 258, 259, 262, 266, 277, 284, 292, 293, 317, 320, 322, 323, 338, 339, 347, 530, 532, 42113}

_JFIF_AT = 8  # where tifffile looks for it in data that begin at 2
_TAGS_AT = 12
_LENGTH_AT = _TAGS_AT + 2 + 12 + 8  # the value of the second tag


def make(page: TiffPage, planes: int, rows: int) -> bytes:
    """The header of a level; `rows` of a strip, where it is not tiled."""
    order, file = page.parent.byteorder, page.parent.filehandle
    tags: _Tags = {}
    for tag in page.tags:
        if tag.code in _COPIED:
            file.seek(tag.valueoffset)
            tags[tag.code] = int(tag.dtype), tag.count, file.read(tag.valuebytecount)
    length = page.imagelength if page.is_tiled else rows
    tags[_LENGTH] = _LONG, 1, struct.pack(f"{order}I", length)
    if page.is_subsampled and page.compression not in JPEG:  # the streams of JPEG 2000 say so themselves
        tags[_SUBSAMPLING] = _SHORT, 2, struct.pack(f"{order}HH", 1, 1)
    for code, value in zip(_OFFSETS_COUNTS[page.is_tiled], (2, 11), strict=True):
        tags[code] = _LONG, planes, struct.pack(f"{order}I", value) * planes
    return _written(order, tags)


def _written(order: str, tags: _Tags) -> bytes:
    entries, values = b"", b""
    values_at = _TAGS_AT + 2 + 12 * len(tags) + 4
    for code, (kind, count, value) in sorted(tags.items()):
        entries += struct.pack(f"{order}HHI", code, kind, count)
        if len(value) <= 4:
            entries += value.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", values_at + len(values))
            values += value
    magic = b"II*\0" if order == "<" else b"MM\0*"
    start = magic + struct.pack(f"{order}I4xH", _TAGS_AT, len(tags))
    return start + entries + b"\0\0\0\0" + values


@lru_cache(maxsize=512)
def page_of(header: bytes) -> TiffPage:
    """The page whose `decode` any thread may call; a tenth of a millisecond when it is new."""
    page = TiffFile(io.BytesIO(header)).pages.first
    page.init_decode()
    return page


def of_rows(header: bytes, rows: int) -> bytes:
    """The header of a strip of another height."""
    order = "<" if header[:2] == b"II" else ">"
    return header[:_LENGTH_AT] + struct.pack(f"{order}I", rows) + header[_LENGTH_AT + 4 :]


def of_stream(header: bytes, jpeg: bytes) -> bytes:
    """The header where the JPEG streams are like this one: JFIF says of what is tagged RGB that it is YCbCr."""
    marker = jpeg[6:10] if jpeg[6:10] == b"JFIF" else bytes(4)
    return header[:_JFIF_AT] + marker + header[_JFIF_AT + 4 :]
