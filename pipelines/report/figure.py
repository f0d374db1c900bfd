"""The figure of a run: test images with the attention over the view, and the drawn patches boxed and beside it."""

from collections.abc import Sequence
from math import isfinite

import numpy as np
from matplotlib.figure import Figure, SubFigure

from pipelines.report.drawing import draw_attention, draw_boxes, draw_view, plain_text, png
from pipelines.report.examples import PATCHES_SHOWN, Example

DRAWN, TRUTH = "#00d5ff", "#ffffff"  # cyan and white stay apart for every kind of colour vision, also on viridis
LINE = 1.2


@plain_text()
def attention_figure(examples: Sequence[Example], title: str) -> bytes:
    """A PNG with a row an image."""
    figure = Figure(figsize=(15, 3.1 * len(examples) + 0.6), layout="constrained")
    figure.suptitle(title)
    for example, row in zip(examples, np.atleast_1d(figure.subfigures(len(examples), 1)), strict=True):
        _draw_row(row, example)
    return png(figure, dpi=80)


def _said(example: Example) -> str:
    """The prediction, its probability with the standard error where there is one, and whether it is right."""
    error, shown = example.standard_error, f"{example.probability:.2f}"
    if isfinite(error) and error > 0:
        shown += f" ± {error:.2f}"
    verdict = {None: "", True: ", right", False: ", WRONG"}[example.right]
    return f"said {example.prediction} ({shown}){verdict}"


def _draw_row(row: SubFigure, example: Example) -> None:
    left, middle, right = row.subfigures(1, 3, width_ratios=(1, 1, 1.35))
    view, attention = left.subplots(), middle.subplots()
    view.set_title(f"{example.image_id}: {example.label or 'no label'}", fontsize=9)
    attention.set_title(_said(example), fontsize=9)
    for axes in (view, attention):
        draw_view(axes, example.view, example.size)
        axes.axis("off")
    draw_boxes(view, example.boxes, edgecolor=TRUTH, linewidth=LINE)
    if example.grid.n_cells > 1:
        draw_attention(attention, example.attention, example.grid, example.size, alpha=0.6)
        attention.set(xlim=(0, example.size[1]), ylim=(example.size[0], 0))
    if len(example.patches):
        draw_boxes(attention, _patch_boxes(example), edgecolor=DRAWN, linewidth=LINE)
        _draw_patches(right, example)


def _patch_boxes(example: Example) -> np.ndarray:
    return np.concatenate((example.corners, example.corners + example.patches.shape[1]), axis=1)


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
