"""The images of a split: a few digits among noise in the dark."""

from dataclasses import dataclass
from itertools import chain

import numpy as np

from pipelines.catalog.schema import Box
from pipelines.catalog.sources.digits.layout import Layout
from pipelines.catalog.sources.digits.pictures import SIDE, Pictures
from pipelines.catalog.sources.digits.rules import Labels, deciding, labels_of


@dataclass(frozen=True, slots=True, eq=False)
class Collage:
    """Images that are rendered when asked for, each alone."""

    pictures: Pictures
    layout: Layout
    side: int
    digits_on_top: bool
    """Digits over noise, as Bergner et al. 2023 have it, and not noise over digits."""

    @staticmethod
    def draw(
        pictures: Pictures, n: int, seed: int, *, side: int = 1500, n_noise: int = 50, digits_on_top: bool = False
    ) -> "Collage":
        """`n` images of `side` x `side` pixels, at least 138, with `n_noise` pieces of noise each."""
        return Collage(pictures, Layout.draw(seed, pictures.labels, n, side, n_noise), side, digits_on_top)

    def __len__(self) -> int:
        return len(self.layout.numbers_N5)

    @property
    def digits(self) -> np.ndarray:
        """uint8 [N, 5]: what the digits are, in the order in which they were placed."""
        return self.pictures.labels[self.layout.numbers_N5]

    def image(self, i: int) -> np.ndarray:
        """uint8 [side, side] of image i; a millisecond at 1500 x 1500."""
        layout, pixels = self.layout, np.zeros((self.side, self.side), np.uint8)
        digits = zip(layout.positions_N52[i], self.pictures.pixels[layout.numbers_N5[i]], strict=True)
        noise = zip(layout.noise_positions_NM2[i], layout.patterns_M[layout.noise_numbers_NM[i]], strict=True)
        for (y, x), square in chain(noise, digits) if self.digits_on_top else chain(digits, noise):
            pixels[y : y + SIDE, x : x + SIDE] = square
        return pixels

    def labels(self, rule: Labels = "majority") -> np.ndarray:
        """int64 [N], or bool [N, 10] of "multi"."""
        return labels_of(rule, self.digits, self.layout.positions_N52[..., 0])

    def boxes(self, rule: Labels = "majority") -> list[tuple[Box, ...]]:
        """For each image the boxes of the digits that decide its label."""
        chosen_N5 = deciding(rule, self.digits, self.layout.positions_N52[..., 0])
        positions = zip(self.layout.positions_N52, chosen_N5, strict=True)
        return [tuple((y, x, y + SIDE, x + SIDE) for y, x in own[chosen].tolist()) for own, chosen in positions]
