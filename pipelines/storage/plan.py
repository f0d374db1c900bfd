"""Windows of an image -> the tiles they touch -> the ranges of bytes to ask for. Pure arithmetic."""

from collections.abc import Sequence

import numpy as np

from pipelines.storage.layouts import Layout, Span, columns

GAP = 16 * 2**10  # bytes read for nothing where that saves a request
MAX_RANGE = 8 * 2**20  # bytes of one request, so that its time-out can be short


def touched(layout: Layout, starts_M2: np.ndarray, size: tuple[int, int]) -> dict[int, list[int]]:
    """Tiles that windows of one size (height, width) touch, in order, each with the numbers of its windows.

    Args:
        layout: where the tiles lie.
        starts_M2: (y, x) of the first pixel of each window; anywhere, also outside of the image.
        size: height and width of all windows.
    """
    starts_M2 = starts_M2.astype(np.int64)
    low_M2, high_M2 = np.maximum(starts_M2, 0), np.minimum(starts_M2 + size, layout.size)
    first_M2, end_M2 = low_M2 // layout.tile, -(-high_M2 // layout.tile)
    across, found = columns(layout), {}
    for window in np.flatnonzero((low_M2 < high_M2).all(1)).tolist():
        (y0, x0), (y1, x1) = first_M2[window].tolist(), end_M2[window].tolist()
        for row in range(y0, y1):
            for tile in range(row * across + x0, row * across + x1):
                found.setdefault(tile, []).append(window)
    return dict(sorted(found.items()))


def coalesce(spans: Sequence[Span], gap: int = GAP, largest: int = MAX_RANGE) -> list[Span]:
    """Fewer spans that cover the given ones: neighbours at most `gap` apart become one of at most `largest` bytes.

    A span that is larger by itself stays one. An open end (None) covers all that starts later.
    """
    merged: list[Span] = []
    for start, end in sorted(set(spans), key=lambda span: (span[0], span[1] is None, span[1])):
        if merged:
            first, last = merged[-1]
            if last is None or (end is not None and end <= last):
                continue
            if start - last <= gap and (end is None or end - first <= largest):
                merged[-1] = (first, end)
                continue
        merged.append((start, end))
    return merged


def split(span: Span, largest: int = MAX_RANGE) -> list[Span]:
    """The parts of at most `largest` bytes that a span is asked for in; an open end cannot be split."""
    start, end = span
    if end is None:
        return [span]
    return [(at, min(end, at + largest)) for at in range(start, end, largest)]
