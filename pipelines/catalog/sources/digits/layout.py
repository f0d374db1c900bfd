"""Which digits and which noise every image of a split has, and where.

Shape suffixes: N images, M pieces of noise in each; 5 digits; 2 is (y, x) of an upper left corner, in pixels.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.catalog.sources.digits.noise import draw_patterns
from pipelines.catalog.sources.digits.pictures import CLASSES, SIDE

N_OWN, N_OTHERS = 3, 2  # digits of the image's class, and of any other
N_DIGITS = N_OWN + N_OTHERS
MIN_SIDE = 138
"""Pixels, from which on the last digit has a free place wherever the others lie: 4 (2 28 - 1)^2 < (138 - 27)^2."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The plan of a split."""

    numbers_N5: np.ndarray
    """Of the pictures: three of one class, then two of others."""
    positions_N52: np.ndarray
    noise_positions_NM2: np.ndarray
    noise_numbers_NM: np.ndarray
    """Of the patterns."""
    patterns_M: np.ndarray
    """uint8 [M, 28, 28], shared by all images."""

    @staticmethod
    def draw(seed: int, labels: np.ndarray, n: int, side: int, n_noise: int) -> "Layout":
        """The plan of `n` images from the labels of the pictures: all numbers, then all positions, then the noise.

        So the digits of an image do not depend on the noise. They do depend on `n`. Digits may touch, never overlap;
        noise stays `28` pixels off the upper and left border and may lie anywhere else. `side` is MIN_SIDE or more.
        """
        rng = np.random.RandomState(seed)
        numbers = _draw_numbers(rng, labels, n)
        positions = np.array([_draw_positions(rng, side) for _ in range(n)], np.int64).reshape(n, N_DIGITS, 2)
        patterns = draw_patterns(rng, n_noise)
        noise_positions = (rng.random_sample((n, n_noise, 2)) * (side - 2 * SIDE) + SIDE).astype(np.int64)
        noise_numbers = (rng.random_sample((n, n_noise)) * n_noise).astype(np.int64)
        return Layout(numbers, positions, noise_positions, noise_numbers, patterns)


def _draw_numbers(rng: np.random.RandomState, labels: np.ndarray, n: int) -> np.ndarray:
    own = [np.flatnonzero(labels == digit) for digit in range(len(CLASSES))]
    others = [np.flatnonzero(labels != digit) for digit in range(len(CLASSES))]
    numbers = np.empty((n, N_DIGITS), np.int64)
    for row in numbers:
        digit = int(rng.random_sample() * len(CLASSES))
        row[:N_OWN] = rng.choice(own[digit], N_OWN)
        row[N_OWN:] = rng.choice(others[digit], N_OTHERS)
    return numbers


def _draw_positions(rng: np.random.RandomState, side: int) -> np.ndarray:
    """[5, 2], one after the other: a place where a digit lies already is drawn again."""
    placed = np.empty((N_DIGITS, 2), np.int64)
    for n in range(N_DIGITS):
        while True:
            placed[n] = np.rint(rng.random_sample(2) * (side - SIDE))
            if not (np.abs(placed[:n] - placed[n]) < SIDE).all(axis=1).any():
                break
    return placed
