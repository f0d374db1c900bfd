"""The figure of a run: test images with the attention over the view, and the drawn patches boxed and beside it."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from pipelines.report.examples import Example

DRAWN, TRUTH = "#00d5ff", "#ffffff"  # cyan and white stay apart for every kind of colour vision, also on viridis
PATCHES_SHOWN = 10
PATCHES_BOXED = 100  # a model that reads all of a grid has thousands


def attention_figure(examples: Sequence[Example], title: str) -> bytes:
    """A PNG with a row an image."""
    figure = Figure(figsize=(15, 3.1 * len(examples) + 0.6), layout="constrained")
    figure.suptitle(title)
    for example, row in zip(examples, np.atleast_1d(figure.subfigures(len(examples), 1)), strict=True):
        _draw_row(row, example)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=80)
    return png.getvalue()


def _draw_row(row: SubFigure, example: Example) -> None:
    left, middle, right = row.subfigures(1, 3, width_ratios=(1, 1, 1.35))
    verdict = "right" if example.prediction == example.label else "WRONG"
    view, attention = left.subplots(), middle.subplots()
    view.set_title(f"{example.image_id}: {example.label}", fontsize=9)
    attention.set_title(f"said {example.prediction} ({example.probability:.2f}), {verdict}", fontsize=9)
    for axes in (view, attention):
        axes.imshow(example.view, extent=(0, example.size[1], example.size[0], 0), interpolation="bilinear")
        axes.axis("off")
    _boxes(view, example.boxes, TRUTH)
    if example.grid.n_cells > 1:
        _overlay(attention, example)
    if len(example.patches):
        _boxes(attention, _patch_boxes(example)[:PATCHES_BOXED], DRAWN)
        _draw_patches(right, example)


def _overlay(axes: Axes, example: Example) -> None:
    """The attention, normalised to [0, 1] as in the paper's figures: (a - min a) / (max a - min a)."""
    a, grid = example.attention, example.grid
    scale_y, scale_x = (image / view for image, view in zip(example.size, grid.view_size, strict=True))
    top, left = grid.margin * scale_y, grid.margin * scale_x
    bottom, right = top + grid.size[0] * grid.stride * scale_y, left + grid.size[1] * grid.stride * scale_x
    normalised = (a - a.min()) / max(np.ptp(a), np.finfo(a.dtype).tiny)
    axes.imshow(normalised, extent=(left, right, bottom, top), cmap="viridis", alpha=0.6, vmin=0, vmax=1)
    axes.set(xlim=(0, example.size[1]), ylim=(example.size[0], 0))


def _patch_boxes(example: Example) -> np.ndarray:
    side = example.patches.shape[1]
    starts = example.centres - side // 2
    return np.concatenate((starts, starts + side), axis=1)


def _boxes(axes: Axes, boxes: np.ndarray, colour: str) -> None:
    for y0, x0, y1, x1 in boxes:
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.2))


def _draw_patches(part: SubFigure, example: Example) -> None:
    shown = min(PATCHES_SHOWN, len(example.patches))
    columns = -(-shown // 2)
    for axes, patch, weight in zip(
        part.subplots(2, columns, squeeze=False).flat[:shown],
        example.patches[:shown],
        example.weights[:shown],
        strict=True,
    ):
        axes.imshow(patch)
        axes.set_title(f"{weight:.2f}", fontsize=8)
    for axes in part.axes:
        axes.axis("off")
