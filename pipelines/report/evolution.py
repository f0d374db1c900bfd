"""Where the attention lies through the epochs, as in the paper's Figure 3 and supplementary Figures 1 and 2."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from pipelines.report.drawing import MAP_COLOURS, draw_attention, draw_boxes, draw_view, plain_text, png
from pipelines.report.runs import CatalogImage, RunError, attention_epochs, attention_maps, catalog_images, grid_of

TRUTH = "#ffffff"
SIDE = 1.6  # inches of a map, at 150 dpi: more pixels than any view has cells, so that no cell is lost
EPOCHS = 7


@dataclass(frozen=True, slots=True)
class Row:
    """One image as one training sees it."""

    title: str
    run: str
    """URI of the run directory."""
    image_id: str


def evolution_figure(rows: Sequence[Row], catalog: str, *, epochs: int | Sequence[int] = EPOCHS) -> bytes:
    """A PNG with a row an image or a setting, a column an epoch; see `draw_evolution`."""
    return png(draw_evolution(rows, catalog, epochs=epochs))


@plain_text()
def draw_evolution(rows: Sequence[Row], catalog: str, *, epochs: int | Sequence[int] = EPOCHS) -> Figure:
    """The view with its boxes, then the attention after some epochs, each map a as (a - min a) / (max a - min a).

    Below each map is the number of effective cells, exp(entropy): the normalisation hides how sharp it is.

    Args:
        rows: what to show; the runs must have kept the attention of these images.
        catalog: URI of a catalog that has the images, of any view size.
        epochs: which, or how many, evenly among those that all runs kept.

    Raises:
        RunError: a run kept no attention of an image or of an epoch.
        CatalogError: an image is not in the catalog.
    """
    shown = _chosen(rows, epochs)
    images = catalog_images(catalog, {row.image_id for row in rows})
    height = SIDE * max(height / width for height, width in (images[row.image_id].size for row in rows))
    size = (SIDE * (1 + len(shown)) + 0.9, (height + 0.2) * len(rows) + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), 1 + len(shown), squeeze=False)
    for row, line in zip(rows, panels, strict=True):
        _draw_row(line, row, images[row.image_id], shown)
    for axes, title in zip(panels[0], ("image", *(f"epoch {epoch}" for epoch in shown)), strict=True):
        axes.set_title(title, fontsize=9)
    bar = figure.colorbar(ScalarMappable(cmap=MAP_COLOURS), ax=panels, ticks=[0, 1], shrink=0.6, aspect=30, pad=0.01)
    bar.ax.set_yticklabels(["min", "max"], fontsize=8)
    bar.outline.set_visible(False)
    return figure


def _chosen(rows: Sequence[Row], epochs: int | Sequence[int]) -> list[int]:
    """The epochs asked for; RunError where no epoch is common to all runs."""
    if not isinstance(epochs, int):
        return list(epochs)
    kept = sorted(set.intersection(*(set(attention_epochs(row.run)) for row in rows)))
    if not kept:
        raise RunError(f"runs {[row.run for row in rows]}", "no epoch is common to all", "Evaluate them alike.")
    places = np.linspace(0, len(kept) - 1, min(epochs, len(kept))).round().astype(int)
    return [kept[i] for i in places]


def _map(row: Row, epoch: int) -> np.ndarray:
    maps = attention_maps(row.run, epoch)
    if row.image_id not in maps:
        raise RunError(row.run, f"it kept no attention of image {row.image_id!r}", f"Choose from {list(maps)}.")
    return maps[row.image_id]


def _draw_row(line: Sequence[Axes], row: Row, image: CatalogImage, epochs: Sequence[int]) -> None:
    grid = grid_of(row.run)
    _draw_view(line[0], image)
    line[0].set_ylabel(row.title, fontsize=9)
    for axes, epoch in zip(line[1:], epochs, strict=True):
        a = _map(row, epoch)
        draw_attention(axes, a, grid, image.size)
        axes.set_xlabel(f"{effective_cells(a):,.0f} cells", fontsize=7, labelpad=2)
    height, width = image.size
    for axes in line:
        axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)


def _draw_view(axes: Axes, image: CatalogImage) -> None:
    draw_view(axes, image.view, image.size)
    halo = [withStroke(linewidth=2, foreground="black")]  # white alone is lost on a bright tissue
    draw_boxes(axes, image.boxes, edgecolor=TRUTH, linewidth=0.8, path_effects=halo)


def effective_cells(a: np.ndarray) -> float:
    """The exponential of the entropy of an attention map, which need not sum to one: half precision does not."""
    p = a[a > 0] / a.sum()
    return float(np.exp(-(p * np.log(p)).sum()))
