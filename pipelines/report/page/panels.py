"""What a page draws over an image and beside it, in pixels of the full image; the browser scales it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite
from typing import Any

import numpy as np

from pipelines.report.evolution import effective_cells
from pipelines.report.examples import PATCHES_SHOWN, Example
from pipelines.report.gallery import Picture, Seen
from pipelines.report.page.images import attention_map, photo

LETTER = (0.7, 1.0)  # width and height of one, in font sizes
FONT = 0.045  # size of letters, of the image's longer side


@dataclass(frozen=True, slots=True)
class Box:
    """A drawn patch, its share of the estimate, and where that is written; nowhere where it would hide another."""

    x: int
    y: int
    side: int
    weight: float
    text_at: tuple[float, float] | None


class Views:
    """The views of a page, each once: models that share one refer to it."""

    def __init__(self) -> None:
        self.shown: dict[bytes, dict[str, Any]] = {}

    def add(self, example: Example) -> str:
        """The id of the image's view in the page."""
        key = example.view.tobytes() + repr((example.view.shape, example.size)).encode()
        if key not in self.shown:
            height, width = example.size
            source = photo(example.view)
            self.shown[key] = {"id": f"view-{len(self.shown)}", "src": source, "width": width, "height": height}
        return self.shown[key]["id"]


def panels_of(picture: Picture, views: Views) -> dict[str, Any]:
    """All that the template shows of one test image."""
    first = max((seen.example for seen in picture.seen), key=lambda example: example.view.size)
    height, width = first.size
    return {
        "image_id": picture.image_id,
        "label": picture.label,
        "width": width,
        "height": height,
        "font": FONT * max(first.size),
        "view": views.add(first),
        "truth": outlines(first.boxes),
        "n_truth": len(first.boxes),
        "seen": [{"column": i} | _panel(seen, views) for i, seen in enumerate(picture.seen)],
    }


def _panel(seen: Seen, views: Views) -> dict[str, Any]:
    example = seen.example
    return {
        "row": seen.row,
        "view": views.add(example),
        "prediction": example.prediction,
        "right": example.right,
        "probability": example.probability,
        "standard_error": example.standard_error if isfinite(example.standard_error) else None,
        "attention": _overlay(example, example.attention),
        "boxes": boxes_of(example),
        "patches": [
            {"src": photo(patch), "weight": weight}
            for patch, weight in zip(example.patches[:PATCHES_SHOWN], example.weights.tolist(), strict=False)
        ],
        "n_patches": example.n_patches,
        "epochs": [
            {"epoch": epoch, "cells": effective_cells(a), **_overlay(example, a)}
            for epoch, a in seen.maps.items()
            if np.ptp(a) > 0
        ],
    }


def _overlay(example: Example, a: np.ndarray) -> Mapping[str, Any]:
    """Where the cells lie, and their colours; empty where all cells are equal, as those of uniform attention are."""
    if not np.ptp(a) > 0:
        return {}
    top, left, bottom, right = example.grid.extent(example.size)
    return {"src": attention_map(a), "x": left, "y": top, "width": right - left, "height": bottom - top}


def boxes_of(example: Example) -> list[Box]:
    """The heaviest patches, with their weights written where no heavier one's stands already."""
    starts, weights = example.corners.tolist(), example.weights.tolist()
    texts = [f"{weight:.2f}" for weight in weights[:PATCHES_SHOWN]]
    places = _places([(x, y) for y, x in starts], texts, example.size)
    of_each = zip_longest(starts, weights, places)
    side = example.patches.shape[1]
    return [Box(x, y, side, weight, place) for (y, x), weight, place in of_each]


def _places(
    corners: Sequence[tuple[int, int]], texts: Sequence[str], size: tuple[int, int]
) -> Iterator[tuple[float, float] | None]:
    """Where each text begins (x, baseline): above its corner, in the image; None where it would lie on another."""
    font = FONT * max(size)
    taken: list[tuple[float, float, float, float]] = []
    for (x, y), text in zip(corners, texts, strict=False):
        width, height = LETTER[0] * font * len(text), LETTER[1] * font
        left, bottom = min(max(x, 0.0), size[1] - width), max(y - 0.2 * font, height)
        box = (left, bottom - height, left + width, bottom)
        if any(_overlap(box, other) for other in taken):
            yield None
        else:
            taken.append(box)
            yield left, bottom


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def outlines(boxes_M4: np.ndarray) -> str:
    """Boxes (y0, x0, y1, x1) as one SVG path."""
    return "".join(f"M{x0:.6g} {y0:.6g}H{x1:.6g}V{y1:.6g}H{x0:.6g}Z" for y0, x0, y1, x1 in boxes_M4.tolist())
