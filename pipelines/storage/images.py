"""Bytes -> pixels: whole images through Pillow, always uint8 RGB, and the low-resolution view of them.

Policy, so that the same file gives the same pixels everywhere:

    orientation       EXIF and TIFF orientation are applied; sizes are those of the upright image
    grey, palette     expanded to RGB; 1 bit becomes 0 and 255
    alpha             composited on white, also where it comes from a palette or a transparent colour
    CMYK, YCbCr       converted by Pillow without colour profiles
    16 bit            the high byte: value >> 8; of colour, except in TIFF, what Pillow makes of it
    32 bit, float     unsupported: such pixels have no fixed range
    several frames    the first
    damage            an error: no pixel is ever invented for one that could not be decoded
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from pipelines.errors import ImageError
from pipelines.storage.colours import flatten
from pipelines.storage.views import AreaFilter

STATUSES = (
    "missing",  # no object there
    "denied",  # the credentials or permissions do not allow to read it
    "empty",  # no bytes
    "not_an_image",  # the first bytes are those of no known format
    "truncated",  # ends before its last pixel, or is damaged on the way
    "too_large",  # more than MAX_PIXELS or MAX_BYTES, or than there is memory
    "unsupported",  # an image whose pixels have no uint8 RGB meaning
    "stale",  # not the image that the reference was made from
    "unreadable",  # anything else; the reason says what
)

MAX_PIXELS = 2**28  # decoded at once, 0.8 GB
MAX_BYTES = 2**30  # of an object that is read whole: as many pixels with alpha, not compressed
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # before Pillow's own check, a third lower and at first only a warning

SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2", ".avif",
    ".svs", ".ndpi", ".mrxs",
)  # fmt: skip
"""What counts as an image where a folder is listed; what it really is, shows in decoding."""

START = 16  # bytes, by which an object is known to be an image
STARTS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "GIF": (b"GIF8",),
    "PPM": tuple(b"P%d" % n for n in range(1, 7)),
    "JPEG2000": (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP"),
    "AVIF": (),  # the size of its first box comes first
}  # by Pillow's names: no other formats are opened, some of them by programs of their own
_BRANDS = (b"ftypavif", b"ftypavis", b"ftypmif1", b"ftypmsf1")  # of AVIF
_REMEDY = {
    "missing": "Restore it, or build the catalog again without it.",
    "denied": "Check the credentials and permissions of this process.",
    "empty": "Upload it again.",
    "not_an_image": "Remove it from the images, or fix what wrote it.",
    "truncated": "Upload it again, or repair the file.",
    "too_large": f"Scale or cut it below {MAX_PIXELS} pixels, or store it in smaller tiles.",
    "unsupported": "Convert it to 8-bit RGB.",
    "stale": "Build the catalog again.",
    "unreadable": "Look at the reason, and try again if it is passing.",
}


MEANINGLESS = ("I", "F", "LAB", "HSV", "La")
"""Pillow's modes of pixels without a uint8 RGB meaning."""


def is_image(uri: str) -> bool:
    """Whether a name looks like that of an image."""
    return uri.lower().endswith(SUFFIXES)


def image_error(uri: str, status: str, reason: object) -> ImageError:
    """An ImageError with the remedy that belongs to its status, one of STATUSES."""
    return ImageError(uri, str(reason), _REMEDY[status], status)


def unsupported(uri: str, mode: str) -> ImageError:
    """The ImageError of an image in one of the MEANINGLESS modes."""
    return image_error(uri, "unsupported", f"pixels of mode {mode}")


class Stored(NamedTuple):
    """Pixels of which as little is lost as Pillow allows."""

    pixels: np.ndarray
    """uint8 [H, W, 3], or of grey uint8 | uint16 [H, W]."""
    exact: bool
    """Whether it is no 8-bit colour by itself, but a palette, or 16 bit: its values may be more than looks."""


def check_start(first_bytes: bytes, n_bytes: int, uri: str) -> None:
    """ImageError where the first START bytes of an object and its size tell that it is not to be read whole."""
    if first_bytes and not _begins_like_an_image(first_bytes):
        raise image_error(uri, "not_an_image", f"{n_bytes} bytes of no known image format")
    if n_bytes > MAX_BYTES:
        raise image_error(uri, "too_large", f"{n_bytes} bytes, that can only be read all at once")


def _begins_like_an_image(data: bytes) -> bool:
    return data.startswith(tuple(start for starts in STARTS.values() for start in starts)) or data[4:12] in _BRANDS


def decode(data: bytes, uri: str) -> np.ndarray:
    """The pixels of an encoded image, uint8 [H, W, 3], by the policy above; ImageError with a status otherwise."""
    return as_rgb(decode_stored(data, uri).pixels)


def decode_stored(data: bytes, uri: str) -> Stored:
    """The same, but grey as it is, of 8 or 16 bit: for storing it again."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # process-wide: some library may have asked Pillow for grey stripes
    if not data:
        raise image_error(uri, "empty", "the object has no bytes")
    with decoding(uri, data):
        image = Image.open(io.BytesIO(data), formats=list(STARTS))
        if image.width * image.height > MAX_PIXELS:
            raise image_error(uri, "too_large", f"{image.height} x {image.width} pixels")
        exact = image.mode in ("P", "PA") or ";16" in str(image.tile)  # how Pillow reads what it makes 8 bit
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return Stored(_stored(image, uri), exact)


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3], of that or of grey [H, W]."""
    if pixels.ndim == 3:
        return pixels
    grey = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


@contextmanager
def decoding(uri: str, data: bytes) -> Iterator[None]:
    """What Pillow raises of an image that begins with these bytes, as an ImageError with a status."""
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise image_error(uri, "too_large", error) from error
    except UnidentifiedImageError as error:
        if _begins_like_an_image(data):
            raise image_error(uri, "truncated", "it starts like an image, but has no whole header or index") from error
        raise image_error(uri, "not_an_image", f"{len(data)} bytes of no known image format") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises on damage
        raise image_error(uri, "truncated", error) from error
    except Exception as error:  # its plugins also fail in ways of their own
        raise image_error(uri, "unreadable", f"{type(error).__name__}: {error}") from error


def _stored(image: Image.Image, uri: str) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("1", "L", "LA"):
        return flatten(image)[..., 0] if image.has_transparency_data else np.array(image.convert("L"))
    if image.mode in MEANINGLESS:
        raise unsupported(uri, image.mode)
    return flatten(image)


def make_view(pixels: np.ndarray, view_size: tuple[int, int]) -> np.ndarray:
    """The view of uint8 pixels [H, W, 3]: uint8 [h, w, 3], each the mean of the pixels whose centres it covers.

    Scaled per axis; where the view is larger than the image, pixels are repeated.
    """
    area = AreaFilter(pixels.shape[:2], view_size)
    area.add(0, pixels)
    return area.view()
