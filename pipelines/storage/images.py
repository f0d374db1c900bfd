"""Bytes -> pixels: whole images through Pillow, always uint8 RGB, and the low-resolution view of them.

Policy, so that the same file gives the same pixels everywhere:

    orientation       EXIF and TIFF orientation are applied; sizes are those of the upright image
    grey, palette     expanded to RGB; 1 bit becomes 0 and 255
    alpha             composited on white, also where it comes from a palette or a transparent colour
    CMYK, YCbCr       converted by Pillow without colour profiles
    16 bit            the high byte: value >> 8
    32 bit, float     unsupported: such pixels have no fixed range
    several frames    the first
    damage            an error: no pixel is ever invented for one that could not be decoded
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager

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
    "too_large",  # more than MAX_PIXELS
    "unsupported",  # an image whose pixels have no uint8 RGB meaning
    "stale",  # not the image that the reference was made from
    "unreadable",  # anything else; the reason says what
)

MAX_PIXELS = 2**28  # decoded, 0.8 GB
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # before Pillow's own check, a third lower and at first only a warning

SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2", ".avif",
    ".svs", ".ndpi", ".mrxs",
)  # fmt: skip
"""What counts as an image where a folder is listed; what it really is, shows in decoding."""

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"GIF8")
_REMEDY = {
    "missing": "Restore it, or build the catalog again without it.",
    "denied": "Check the credentials and permissions of this process.",
    "empty": "Upload it again.",
    "not_an_image": "Remove it from the images, or fix what wrote it.",
    "truncated": "Upload it again, or repair the file.",
    "too_large": f"Scale or cut it below {MAX_PIXELS} pixels.",
    "unsupported": "Convert it to 8-bit RGB.",
    "stale": "Build the catalog again.",
    "unreadable": "Look at the reason, and try again if it is passing.",
}


def is_image(uri: str) -> bool:
    """Whether a name looks like that of an image."""
    return uri.lower().endswith(SUFFIXES)


def image_error(uri: str, status: str, reason: object) -> ImageError:
    """An ImageError with the remedy that belongs to its status, one of STATUSES."""
    return ImageError(uri, str(reason), _REMEDY[status], status)


def decode(data: bytes, uri: str) -> np.ndarray:
    """The pixels of an encoded image, uint8 [H, W, 3], by the policy above; ImageError with a status otherwise."""
    return as_rgb(decode_stored(data, uri))


def decode_stored(data: bytes, uri: str) -> np.ndarray:
    """The same, but grey of 8 or 16 bit as it is: uint8 | uint16 [H, W]. What loses nothing when it is stored again."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # process-wide: some library may have asked Pillow for grey stripes
    if not data:
        raise image_error(uri, "empty", "the object has no bytes")
    with _decoding(uri, data):
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise image_error(uri, "too_large", f"{image.height} x {image.width} pixels")
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _stored(image, uri)


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3], of that or of grey [H, W]."""
    if pixels.ndim == 3:
        return pixels
    grey = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


@contextmanager
def _decoding(uri: str, data: bytes) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise image_error(uri, "too_large", error) from error
    except UnidentifiedImageError as error:
        if data.startswith(_MAGIC):
            raise image_error(uri, "truncated", "it starts like an image, but has no whole header or index") from error
        raise image_error(uri, "not_an_image", f"{len(data)} bytes of no known image format") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises on damage
        raise image_error(uri, "truncated", error) from error
    except Exception as error:  # its plugins also fail in ways of their own
        raise image_error(uri, "unreadable", f"{type(error).__name__}: {error}") from error


def _stored(image: Image.Image, uri: str) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "L" and not image.has_transparency_data:
        return np.array(image)
    if image.mode in ("I", "F", "LAB", "HSV", "La"):
        raise image_error(uri, "unsupported", f"pixels of mode {image.mode}")
    return flatten(image)


def make_view(pixels: np.ndarray, view_size: tuple[int, int]) -> np.ndarray:
    """The view of uint8 pixels [H, W, 3]: uint8 [h, w, 3], each the mean of the pixels whose centres it covers.

    Scaled per axis; where the view is larger than the image, pixels are repeated.
    """
    area = AreaFilter(pixels.shape[:2], view_size)
    area.add(0, pixels)
    return area.view()
