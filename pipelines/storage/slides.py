"""Slides that only OpenSlide reads: a path on a local disk and a window -> pixels. The optional extra `slides`.

OpenSlide opens files by their paths, so none of this works in a bucket: there, slides are converted to TIFF.
"""

import os
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from fsspec.core import split_protocol

from pipelines.errors import ImageError
from pipelines.storage import colours, images, objects
from pipelines.storage.ranges import stat

if TYPE_CHECKING:
    from openslide import OpenSlide

SUFFIXES = (".ndpi", ".vms", ".vmu", ".mrxs", ".dcm", ".scn", ".bif", ".svslide")
"""Hamamatsu, MIRAX, DICOM, Leica, Ventana, Sakura. Aperio's and other TIFFs are read in place (`tiff.py`)."""


def is_slide(uri: str) -> bool:
    """Whether a name looks like that of a slide that OpenSlide alone reads."""
    return uri.lower().endswith(SUFFIXES)


def levels(uri: str) -> list[tuple[int, int]]:
    """Height and width of each level, full size first; ImageError when the slide cannot be opened."""
    return [(height, width) for width, height in _open(uri).level_dimensions]


def read_window(uri: str, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Pixels [height, width, 3] of a level, in its own coordinates and within it; what was not scanned is white.

    OpenSlide counts in whole level-0 pixels: above level 0 a window may lie half of one beside its place.

    ImageError unsupported, missing or denied when the slide cannot be opened, truncated when it is damaged.
    """
    slide = _open(uri)
    import openslide

    scale = slide.level_downsamples[level]
    try:
        region = slide.read_region((round(left * scale), round(top * scale)), level, (width, height))
    except openslide.OpenSlideError as error:
        _opened.cache_clear()  # a slide that has failed once refuses everything after
        raise images.image_error(uri, "truncated", error) from error
    return colours.flatten(region)


def _open(uri: str) -> "OpenSlide":
    if (split_protocol(uri)[0] or "file") not in objects.LOCAL:
        raise _unsupported(uri, "OpenSlide reads local files alone", "Copy it to a local disk, or convert it to TIFF.")
    return _opened(objects.absolute(uri), stat(uri).etag, os.getpid())


@lru_cache(maxsize=64)  # of open files; a process of its own after a fork, and a file that was replaced
def _opened(path: str, etag: str, process: int) -> "OpenSlide":
    try:
        import openslide
    except ImportError as error:
        remedy = "Install the extra `slides`: pip install 'attention-sampling[slides]'."
        raise _unsupported(path, "OpenSlide is not installed", remedy) from error
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        raise _unsupported(path, f"OpenSlide: {error}", "Convert it to a tiled TIFF.") from error


def _unsupported(uri: str, reason: str, remedy: str) -> ImageError:
    return ImageError(uri, reason, remedy, "unsupported")
