"""Names beside the points of a figure, where they cover nothing."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox

AWAY = (7, 16, 28, 42)
"""Points between a name and its point, nearest first."""
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""Where a name may stand, x to the right and y up: the right first, as one reads."""
ALIGNED = {1: ("left", "bottom"), 0: ("center", "center"), -1: ("right", "top")}
LOOK = {"fontsize": 9, "linespacing": 1.0}
MARKER = 5  # points from the middle of a point to its end
WORSE = 10  # a pixel of a point, of a name, or outside is covered as unwillingly as so many of a line
PER_POINT = 4.0  # pixels of a line that are covered rather than standing a point farther away

Place = tuple[float, tuple[int, int]]
"""Away, and to which side."""


def in_two_lines(row: str) -> str:
    """The name of a row: model and patches above, the settings below."""
    return row.replace(" ", "\n", 1)


def label_points(
    axes: Axes, points_M2: np.ndarray, named: Sequence[int], names: Sequence[str], lines_L22: np.ndarray
) -> None:
    """Names for some of M points (x, y), each where it covers least of the points, the lines and the other names.

    Points and ends of lines are in data units. The first named chooses first. To be called last: the axes keep their
    place in the figure from then on.
    """
    figure = axes.figure
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    renderer = FigureCanvasAgg(figure).get_renderer()
    pixels, inside = renderer.points_to_pixels(1.0), axes.get_window_extent(renderer)
    lines, taken = _obstacles(axes, lines_L22, pixels), _obstacles(axes, points_M2, MARKER * pixels)
    for i in named:
        extent = Text(text=names[i], figure=figure, **LOOK).get_window_extent(renderer)
        at_2, size_2 = axes.transData.transform(points_M2[i]), np.array([extent.width, extent.height])
        places = dict(_places(at_2, size_2, pixels))

        def cost(place: Place, boxes: dict[Place, Bbox] = places) -> float:
            box = boxes[place]
            covered = _on(box, taken) + _size(box) - _common(box, inside)
            return WORSE * covered + _on(box, lines) + PER_POINT * place[0]

        best = min(places, key=cost)
        taken.append(places[best])
        _annotate(axes, points_M2[i], names[i], best)


def _places(at_2: np.ndarray, size_2: np.ndarray, pixels: float) -> Iterator[tuple[Place, Bbox]]:
    """Every place of a name, and what it takes there of the picture."""
    for away, side in product(AWAY, SIDES):
        near_2 = at_2 + np.array(side) * away * pixels
        start_2 = near_2 - size_2 * (1 - np.array(side)) / 2
        yield (away, side), Bbox.from_extents(*start_2, *(start_2 + size_2))


def _obstacles(axes: Axes, data: np.ndarray, around: float) -> list[Bbox]:
    """What points [M, 2], or lines along an axis [L, 2, 2], take of the picture, with some pixels around."""
    ends_M22 = axes.transData.transform(data.reshape(-1, 2)).reshape(len(data), -1, 2)
    return [Bbox.from_extents(*(ends.min(0) - around), *(ends.max(0) + around)) for ends in ends_M22]


def _annotate(axes: Axes, point_2: np.ndarray, name: str, place: Place) -> None:
    away, side = place
    line = {"arrowstyle": "-", "color": "#888888", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4}
    axes.annotate(
        name,
        tuple(point_2),
        xytext=tuple(np.array(side) * away),
        textcoords="offset points",
        ha=ALIGNED[side[0]][0],
        va=ALIGNED[side[1]][1],
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        arrowprops=line if away > AWAY[0] else None,
        zorder=5,
        **LOOK,
    )


def _on(box: Bbox, taken: Sequence[Bbox]) -> float:
    return sum(_common(box, other) for other in taken)


def _common(one: Bbox, other: Bbox) -> float:
    both = Bbox.intersection(one, other)
    return 0.0 if both is None else _size(both)


def _size(box: Bbox) -> float:
    return box.width * box.height
