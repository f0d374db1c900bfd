"""The view of an image in pieces is the view of the image."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.storage.views import AreaFilter

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def view_of(pixels: np.ndarray, view_size: tuple[int, int], cuts: tuple[int, ...] = (), order: int = 1) -> np.ndarray:
    """By bands that end at the cuts, in one order or the other."""
    area = AreaFilter(pixels.shape[:2], view_size)
    edges = [0, *cuts, len(pixels)]
    for top, end in list(pairwise(edges))[::order]:
        area.add(top, pixels[top:end])
    return area.view()


def axis_weights(size: int, view_size: int) -> np.ndarray:
    """[view_size, size]: the mean over the centres in (i, i + 1] view pixels; of a small image the nearest pixel."""
    if view_size > size:
        return np.eye(size)[[int((i + 0.5) * size / view_size) for i in range(view_size)]]
    weights = np.zeros((view_size, size))
    for x in range(size):
        weights[-(-(2 * x + 1) * view_size // (2 * size)) - 1, x] = 1
    return weights / weights.sum(1, keepdims=True)


@settings(deadline=None)
@given(SIZES, SIZES, st.sets(st.integers(1, 39)), st.sampled_from([1, -1]))
def test_bands_make_no_difference(
    size: tuple[int, int], view_size: tuple[int, int], cuts: set[int], order: int
) -> None:
    pixels = noise(*size)
    inner = tuple(sorted(cut for cut in cuts if cut < len(pixels)))
    np.testing.assert_array_equal(view_of(pixels, view_size, inner, order), view_of(pixels, view_size))


@settings(deadline=None)
@given(SIZES, SIZES)
def test_each_pixel_is_the_mean_of_what_it_covers(size: tuple[int, int], view_size: tuple[int, int]) -> None:
    pixels = noise(*size)
    rows, columns = (axis_weights(s, v) for s, v in zip(size, view_size, strict=True))
    expected = np.einsum("yY,xX,YXc->yxc", rows, columns, pixels)
    found = view_of(pixels, view_size)
    assert (found.shape, found.dtype) == ((*view_size, 3), np.uint8)
    np.testing.assert_allclose(found, expected, atol=0.5 + 1e-9)


@pytest.mark.parametrize("view_size", [(1, 1), (48, 64), (30, 50), (96, 640), (200, 300)])
def test_it_is_pillows_box_filter(view_size: tuple[int, int]) -> None:
    """Up to Pillow's rounding on each axis; where a centre lies on a border, it may take either side."""
    pixels = noise(96, 160)
    expected = np.asarray(Image.fromarray(pixels).resize(view_size[::-1], Image.Resampling.BOX))
    np.testing.assert_allclose(view_of(pixels, view_size).astype(int), expected, atol=1)


def test_a_sum_above_32_bits() -> None:
    white = np.broadcast_to(np.uint8(255), (4200, 4200, 3))
    np.testing.assert_array_equal(view_of(white, (1, 1)), [[[255] * 3]])


@pytest.mark.parametrize("view_size", [(1, 1), (3, 7), (11, 13), (20, 30)])
@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_a_constant_stays_constant(view_size: tuple[int, int], level: int) -> None:
    found = view_of(np.full((11, 13, 3), level, np.uint8), view_size, cuts=(4, 5))
    np.testing.assert_array_equal(found, np.full((*view_size, 3), level))


def test_larger_views_repeat_pixels() -> None:
    pixels = noise(3, 2)
    np.testing.assert_array_equal(view_of(pixels, (9, 8), cuts=(1, 2)), pixels.repeat(3, 0).repeat(4, 1))


def test_halves_are_rounded_up() -> None:
    column = np.array([0, 1, 2, 3], np.uint8)[:, None, None].repeat(3, axis=2)
    np.testing.assert_array_equal(view_of(column, (2, 1))[:, 0, 0], [1, 3])


def test_one_pixel() -> None:
    pixel = np.array([[[1, 2, 3]]], np.uint8)
    np.testing.assert_array_equal(view_of(pixel, (1, 1)), pixel)
    np.testing.assert_array_equal(view_of(pixel, (2, 3)), np.broadcast_to(pixel, (2, 3, 3)))


def test_a_missing_or_foreign_band_is_an_error() -> None:
    area = AreaFilter((4, 4), (2, 2))
    area.add(0, noise(3, 4))
    with pytest.raises(ValueError, match="3 of 4 rows"):
        area.view()
    with pytest.raises(ValueError, match="5 columns"):
        area.add(3, noise(1, 5))
