"""What several figures draw: an image's view, attention over it, boxes; and the file of a figure."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ats_core.geometry import CellGrid

MAP_COLOURS = "viridis"


@contextmanager
def plain_text() -> Iterator[None]:
    """To draw and to save within: a name with two $ is no formula, and a letter that the font lacks no warning."""
    with rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")
        yield


def draw_view(axes: Axes, view: np.ndarray, size: tuple[int, int]) -> None:
    """A view uint8 [h, w, C], in pixels of its image of (height, width)."""
    axes.imshow(view, extent=(0, size[1], size[0], 0), interpolation="bilinear")


def draw_attention(axes: Axes, a: np.ndarray, grid: CellGrid, size: tuple[int, int], **style: Any) -> None:
    """An attention map [rows, columns] where its cells lie in the image, normalised."""
    top, left, bottom, right = grid.extent(size)
    extent = (left, right, bottom, top)
    axes.imshow(normalised(a), extent=extent, cmap=MAP_COLOURS, vmin=0, vmax=1, interpolation="nearest", **style)


def normalised(a: np.ndarray) -> np.ndarray:
    """(a - min a) / (max a - min a), as in the paper's figures; zero where all cells are equal."""
    return (a - a.min()) / max(np.ptp(a), np.finfo(a.dtype).tiny)


def draw_boxes(axes: Axes, boxes_M4: np.ndarray, **style: Any) -> None:
    """Frames of boxes (y0, x0, y1, x1)."""
    for y0, x0, y1, x1 in boxes_M4:
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **style))


@plain_text()
def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
