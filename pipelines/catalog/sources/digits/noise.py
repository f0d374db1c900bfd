"""Noise that looks a little like handwriting: two strokes of random slope in the square of a digit."""

import numpy as np

from pipelines.catalog.sources.digits.pictures import SIDE

_POINTS = 56  # of a stroke: no gaps up to slope 2
_REACH = SIDE - 0.51  # the last coordinate that rounds into the square
_FLIPPED = 0.33
_STEEPEST = np.pi / 2.5  # 72 degrees
_DARKEST = 0.8


def draw_patterns(rng: np.random.RandomState, n: int) -> np.ndarray:
    """uint8 [n, 28, 28]: each a line from a corner, united with one of another pattern that may be mirrored.

    Every lit pixel has a brightness of its own in U(.8, 1). As the authors make them, except that their second mirror
    image is of the same axis as the first: here a stroke is mirrored on x and on y, with a chance of .33 each.
    """
    strokes = _strokes(np.tan(rng.random_sample(n) * _STEEPEST))
    others = strokes[rng.permutation(n)]
    for axis in (2, 1):
        flipped = rng.random_sample(n) < _FLIPPED
        others[flipped] = np.flip(others[flipped], axis)
    brightness = rng.random_sample((n, SIDE, SIDE)) * (1 - _DARKEST) + _DARKEST
    return (255 * brightness * (strokes | others)).astype(np.uint8)


def _strokes(slopes_n: np.ndarray) -> np.ndarray:
    """bool [n, 28, 28]: lines of these slopes, columns over rows, from the upper left corner to the border."""
    along = np.linspace(0, _REACH / np.maximum(slopes_n, 1), _POINTS, axis=1)
    lit = np.zeros((len(slopes_n), SIDE, SIDE), bool)
    rows, columns = (np.rint(points).astype(int) for points in (along, along * slopes_n[:, None]))
    lit[np.arange(len(slopes_n))[:, None], rows, columns] = True
    return lit
