"""Where all cells lie together in an image: half a cell beyond the outer positions, on each axis."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ats_core.geometry import CellGrid, valid_convolution_grid

sides = st.integers(1, 100_000)


@given(
    lost=st.integers(0, 12),
    pool=st.integers(1, 9),
    view=st.tuples(*[st.integers(21, 90)] * 2),
    height=sides,
    width=sides,
)
def test_it_ends_half_a_cell_beyond_the_outer_positions(
    lost: int, pool: int, view: tuple[int, int], height: int, width: int
) -> None:
    grid = valid_convolution_grid(view, lost, pool)
    first, last = grid.positions(torch.tensor([[0, grid.n_cells - 1]]), torch.tensor([[height, width]]))[0].tolist()
    half = [grid.stride / 2 * image / side for image, side in zip((height, width), view, strict=True)]
    expected = [first[0] - half[0], first[1] - half[1], last[0] + half[0], last[1] + half[1]]
    assert grid.extent((height, width)) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_of_a_grid_without_margin_it_is_the_image() -> None:
    assert CellGrid((3, 2), (3, 2)).extent((480, 641)) == (0, 0, 480, 641)


def test_what_convolutions_lose_is_left_out() -> None:
    """96 x 128 view pixels: 4 are lost at each side, and 11 x 15 cells of 8; two are a pixel of the image."""
    assert valid_convolution_grid((96, 128), 8, 8).extent((48, 64)) == (2, 2, 46, 62)
