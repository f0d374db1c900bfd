"""Windows -> tiles -> ranges, against a plan made pixel by pixel."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.storage.layouts import bounds
from pipelines.storage.plan import coalesce, split, touched

sides = st.integers(1, 40)


@dataclass(frozen=True)
class Grid:
    """All that a plan asks of a layout."""

    size: tuple[int, int]
    tile: tuple[int, int]


@given(size=st.tuples(sides, sides), tile=st.tuples(sides, sides))
def test_the_tiles_cover_each_pixel_once(size: tuple[int, int], tile: tuple[int, int]) -> None:
    grid, seen = Grid(size, tile), np.zeros(size, int)
    tiles = -(-size[0] // tile[0]) * -(-size[1] // tile[1])
    for number in range(tiles):
        top, left, height, width = bounds(grid, number)
        assert 0 < height <= tile[0]
        assert 0 < width <= tile[1]
        seen[top : top + height, left : left + width] += 1
    assert (seen == 1).all()


@given(
    size=st.tuples(sides, sides),
    tile=st.tuples(sides, sides),
    window=st.tuples(sides, sides),
    starts=st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), max_size=6),
)
def test_a_tile_is_touched_if_it_shares_a_pixel_with_a_window(size, tile, window, starts) -> None:
    grid = Grid(size, tile)
    numbers = np.arange(-(-size[0] // tile[0]) * -(-size[1] // tile[1])).reshape(-(-size[0] // tile[0]), -1)
    tile_of = numbers[np.arange(size[0])[:, None] // tile[0], np.arange(size[1]) // tile[1]]
    expected: dict[int, list[int]] = {}
    for i, (y, x) in enumerate(starts):
        inside = tile_of[max(y, 0) : max(y + window[0], 0), max(x, 0) : max(x + window[1], 0)]
        for number in np.unique(inside).tolist():
            expected.setdefault(number, []).append(i)
    found = touched(grid, np.array(starts, np.int64).reshape(-1, 2), window)
    assert found == expected
    assert list(found) == sorted(found)


spans = st.tuples(st.integers(0, 2000), st.integers(1, 300)).map(lambda span: (span[0], span[0] + span[1]))


@given(spans=st.lists(spans, max_size=12), gap=st.integers(0, 100), largest=st.integers(1, 600))
def test_coalesced_spans_hold_the_given_ones_and_little_else(spans, gap: int, largest: int) -> None:
    merged = coalesce(spans, gap, largest)
    assert merged == sorted(merged)
    for start, end in spans:
        assert any(first <= start and end <= last for first, last in merged)
    wanted = {byte for span in spans for byte in range(*span)}
    for first, last in merged:
        assert last - first <= largest or (first, last) in spans, "only what is larger by itself"
        assert {first, last - 1} <= wanted, "it begins and ends with bytes that are wanted"
        there = sorted(wanted & set(range(first, last)))
        assert max(np.diff(there), default=0) <= gap + 1
    assert coalesce(merged, gap, largest) == merged


def test_neighbours_become_one_request_up_to_the_gap_and_the_largest() -> None:
    assert coalesce([(0, 10), (10, 20), (25, 30)], gap=4, largest=100) == [(0, 20), (25, 30)]
    assert coalesce([(0, 10), (10, 20), (25, 30)], gap=5, largest=100) == [(0, 30)]
    assert coalesce([(0, 10), (10, 20), (25, 30)], gap=5, largest=20) == [(0, 20), (25, 30)]
    assert coalesce([(5, None), (0, 3), (9, 12)], gap=2, largest=100) == [(0, None)]
    assert coalesce([]) == []


@given(start=st.integers(0, 10**12), size=st.integers(1, 10**4), largest=st.integers(1, 3000))
def test_parts_follow_each_other(start: int, size: int, largest: int) -> None:
    parts = split((start, start + size), largest)
    assert [part[0] for part in parts] == [start, *(part[1] for part in parts[:-1])]
    assert parts[-1][1] == start + size
    assert all(0 < last - first <= largest for first, last in parts)


def test_an_open_end_is_one_part() -> None:
    assert split((3, None), 2) == [(3, None)]
