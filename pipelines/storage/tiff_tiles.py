"""The bytes of a tile -> its samples, or its uint8 RGB: what a header and a stream say, and nothing else."""

import struct
from collections.abc import Sequence

import numpy as np
from tifffile import TIFF, TiffPage
from tifffile.tifffile import jpeg_shape

from pipelines.storage import colours, tiff_header
from pipelines.storage.tiff_header import JPEG
from pipelines.storage.tile_index import Level

JPEG_2000, APERIO_YCBCR = (33003, 33004, 33005, 34712), 33003  # Compression

_END_OF_JPEG, _PADDING = b"\xff\xd9", 1024  # some writers fill up to a block
_CODESTREAM = b"\xff\x4f\xff\x51"  # begins JPEG 2000, with its size
_COLOR_MAP = 320  # a tag


def decode(level: Level, tile: int, segments: Sequence[bytes | None]) -> np.ndarray:
    """The samples [h, w, S] of a tile, as they are stored and cut at the level's border; a segment a plane.

    What is not stored (None) is the file's nodata value, or 0. ValueError where the bytes cannot be those of a tile;
    some codecs decode damaged bytes without a word, which a checksum alone tells.
    """
    columns = level.grid[1]
    height = min(level.tile[0], level.height - tile // columns * level.tile[0])
    width = min(level.tile[1], level.width - tile % columns * level.tile[1])
    try:
        planes = [_plane(level, tile, segment)[:height, :width] for segment in segments]
    except MemoryError:
        raise
    except Exception as error:  # each codec has an error of its own
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if any(plane.shape[:2] != (height, width) for plane in planes):
        raise ValueError(f"it decodes to {planes[0].shape[:2]} pixels, not {height} x {width}")
    return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)


def _plane(level: Level, tile: int, segment: bytes | None) -> np.ndarray:
    header = level.header
    page = tiff_header.page_of(header)
    if segment is None:
        samples = 1 if level.planes > 1 else page.samplesperpixel
        return np.full((*level.tile, samples), page.nodata, page.dtype)
    if not page.is_tiled:
        header = tiff_header.of_rows(header, min(level.tile[0], level.height - tile * level.tile[0]))
        tile = 0
    if page.compression in JPEG:
        header = tiff_header.of_stream(header, segment)
    _check_stream(segment, page.compression, level.tile)
    samples = tiff_header.page_of(header).decode(segment, tile, jpegtables=page.jpegtables)[0][0]
    if page.dtype == bool:  # of which the codecs of fax make numbers
        return samples.astype(bool)
    if samples.dtype != page.dtype:
        raise ValueError(f"it decodes to {samples.dtype}, not {page.dtype}")
    if page.compression == APERIO_YCBCR and not _is_subsampled(segment):
        return colours.ycbcr_to_rgb(samples)
    return samples


def _check_stream(stream: bytes, compression: int, tile: tuple[int, int]) -> None:
    """What the decoders of JPEG would not mind: that it declares gigabytes of pixels, or ends before its last one.

    It is no proof of whole bytes: JPEG XR decodes when it is cut, and WebP, JPEG 2000 and what is not compressed decode
    when zeros take the place of their last bytes. The crc32c of a catalog is.
    """
    if compression in JPEG:
        if _END_OF_JPEG not in stream[-_PADDING:]:
            raise ValueError("its JPEG stream has no end")
        _, height, width, _ = jpeg_shape(stream)
    elif compression in JPEG_2000 and stream[:4] == _CODESTREAM:
        width, height = struct.unpack(">II", stream[8:16])
    else:
        return
    if height > tile[0] or width > tile[1]:
        raise ValueError(f"it declares {height} x {width} pixels in a tile of {tile[0]} x {tile[1]}")


def _is_subsampled(codestream: bytes) -> bool:
    """Whether the second component of JPEG 2000 is: the decoder takes these for YCbCr by itself."""
    return codestream[:4] == _CODESTREAM and codestream[46:48] != b"\1\1"


def to_rgb(level: Level, samples: np.ndarray) -> np.ndarray:
    """The samples of a tile as uint8 [h, w, 3], by the policy in `images.py`."""
    return colours.to_rgb(samples, colour_space(tiff_header.page_of(level.header)))


def colour_space(page: TiffPage) -> colours.ColourSpace:
    """Of the decoded samples: image codecs turn YCbCr into RGB by themselves."""
    photometric = int(page.photometric)
    if photometric == colours.YCBCR and page.compression in TIFF.IMAGE_COMPRESSIONS and page.planarconfig == 1:
        photometric = colours.RGB
    palette = page.tags.valueof(_COLOR_MAP)
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 0
    return colours.ColourSpace(photometric, page.samplesperpixel, bits, page.extrasamples, palette)
