"""Bands of pixels -> the low-resolution view: one area filter, whatever the pieces in which an image arrives.

A view pixel is the mean of the pixels whose centres it covers, those on a border counted to the upper left one, as an
exact sum of integers that is divided once, halves rounded up: every partition into bands gives the same bytes.
"""

from collections.abc import Sequence

import numpy as np

VIEW_MARGIN = 4


def level_of_view(sizes: Sequence[tuple[int, int]], view_size: tuple[int, int]) -> int:
    """The smallest level, of (height, width) from the full size on, at least VIEW_MARGIN times the view, else 0.

    So the view of a small image is exactly that of its decoded pixels, and one of gigapixels costs a small level, of
    which each view pixel still covers 16 or more: how its writer filtered it hardly shows.
    """
    wanted = [VIEW_MARGIN * side for side in view_size]
    fitting = [n for n, size in enumerate(sizes) if size[0] >= wanted[0] and size[1] >= wanted[1]]
    return max(fitting, default=0)


class AreaFilter:
    """The view uint8 [h, w, 3] of an image [H, W, 3]; where it is larger than the image, pixels are repeated."""

    def __init__(self, size: tuple[int, int], view_size: tuple[int, int]) -> None:
        self._view_size = view_size
        self._tops, self._lefts = (_starts(side, min(side, parts)) for side, parts in zip(size, view_size, strict=True))
        self._sums = np.zeros((len(self._tops) - 1, len(self._lefts) - 1, 3), np.int64)
        self._rows = 0

    def add(self, top: int, band: np.ndarray) -> None:
        """Rows top, top + 1, ... of the image, uint8 [rows, W, 3]; in any order, each row once."""
        if band.shape[1] != self._lefts[-1]:
            raise ValueError(f"a band of {band.shape[1]} columns in an image of {self._lefts[-1]}")
        tops = self._tops - top
        for row in range(np.searchsorted(tops, 0, "right") - 1, np.searchsorted(tops, len(band))):
            columns = band[max(tops[row], 0) : tops[row + 1]].sum(axis=0, dtype=np.uint32)
            self._sums[row] += np.add.reduceat(columns, self._lefts[:-1], axis=0, dtype=np.int64)
        self._rows += len(band)

    def view(self) -> np.ndarray:
        """The view; ValueError unless all rows came."""
        if self._rows != self._tops[-1]:
            raise ValueError(f"{self._rows} of {self._tops[-1]} rows came")
        covered = np.outer(np.diff(self._tops), np.diff(self._lefts))[..., None]
        means = ((2 * self._sums + covered) // (2 * covered)).astype(np.uint8)
        rows, columns = (_nearest(s, parts) for s, parts in zip(means.shape, self._view_size, strict=False))
        return means[rows[:, None], columns]


def _starts(size: int, parts: int) -> np.ndarray:
    """Where each of at most `size` parts of an axis has its first pixel, and where the last one ends: [parts + 1]."""
    return -((parts - 1 - 2 * size * np.arange(parts + 1)) // (2 * parts))


def _nearest(size: int, parts: int) -> np.ndarray:
    """For each of at least `size` parts of an axis the pixel in which its centre lies: [parts]."""
    return (2 * np.arange(parts) + 1) * size // (2 * parts)
