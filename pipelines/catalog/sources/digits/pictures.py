"""Handwritten digits, 28 x 28: of MNIST, or of the data set that scikit-learn brings."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 28  # pixels, of a digit and of a noise pattern
CLASSES = tuple("0123456789")
SPLITS = ("train", "test")

_TEST_SHARE = 5  # the last fifth of scikit-learn's digits tests: those of one writer lie together
_BRIGHTEST = 16  # in scikit-learn's digits


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Digits to choose from."""

    pixels: np.ndarray
    """uint8 [n, 28, 28], white on black."""
    labels: np.ndarray
    """uint8 [n], 0 to 9."""


def small_digits() -> Mapping[str, Pictures]:
    """By split scikit-learn's 1,797 real digits of 8 x 8, scaled up to 28 x 28: what needs no file and no network."""
    from sklearn.datasets import load_digits  # takes seconds, and most runs do without

    pixels, labels = load_digits(return_X_y=True)
    scaled = np.stack([_scaled(digit) for digit in pixels.reshape(-1, 8, 8)])
    start = len(labels) - len(labels) // _TEST_SHARE
    parts = zip(SPLITS, (slice(None, start), slice(start, None)), strict=True)
    return {split: Pictures(scaled[part], labels[part].astype(np.uint8)) for split, part in parts}


def _scaled(digit: np.ndarray) -> np.ndarray:
    grey = Image.fromarray(np.rint(digit * (255 / _BRIGHTEST)).astype(np.uint8))
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
