"""What goes into a catalog row comes out of it, in few bytes."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import CatalogError
from pipelines.storage import tiff
from pipelines.storage.tile_index import Level, TiffIndex


@st.composite
def levels(draw: st.DrawFn) -> Level:
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    tile, planes = (draw(st.integers(9, 40)), draw(st.integers(9, 40))), draw(st.integers(1, 4))
    n = planes * -(-height // tile[0]) * -(-width // tile[1])
    counts = np.array(draw(st.lists(st.integers(0, 2**32) | st.just(0), min_size=n, max_size=n)), np.int64)
    offsets = np.array(draw(st.lists(st.integers(1, 2**62), min_size=n, max_size=n)), np.int64) * (counts > 0)
    checksums = draw(st.none() | st.lists(st.integers(0, 2**32 - 1), min_size=n, max_size=n))
    checksums = None if checksums is None else np.array(checksums, np.uint32)
    return Level(height, width, tile, planes, draw(st.binary(max_size=50)), offsets, counts, checksums)


def assert_same(first: TiffIndex, second: TiffIndex) -> None:
    assert len(first.levels) == len(second.levels)
    for a, b in zip(first.levels, second.levels, strict=True):
        assert (a.height, a.width, a.tile, a.planes, a.header) == (b.height, b.width, b.tile, b.planes, b.header)
        for table in ("offsets", "counts", "checksums"):
            found, expected = getattr(a, table), getattr(b, table)
            assert (found is None) == (expected is None)
            if found is not None:
                np.testing.assert_array_equal(found, expected)
                assert found.dtype == expected.dtype


@settings(deadline=None)
@given(st.lists(levels(), max_size=3))
def test_whatever_goes_in_comes_out(all_levels: list[Level]) -> None:
    index = TiffIndex(tuple(all_levels))
    assert_same(TiffIndex.loads(index.dumps()), index)


@settings(deadline=None, max_examples=10)
@given(levels(), st.integers(1, 255))
def test_damage_is_noticed(level: Level, bits: int) -> None:
    whole = TiffIndex((level,)).dumps()
    flipped = [whole[:i] + bytes([whole[i] ^ bits]) + whole[i + 1 :] for i in range(len(whole))]
    cut = [whole[:i] for i in range(len(whole))]
    for damaged in (*flipped, *cut, whole + b"x"):
        with pytest.raises(CatalogError, match=r"Build the catalog again"):
            TiffIndex.loads(damaged)


def test_segments_of_planes_lie_behind_each_other() -> None:
    level = Level(50, 70, (16, 32), 3, b"", np.zeros(36, np.int64), np.zeros(36, np.int64))
    assert level.grid == (4, 3)
    assert level.segments(0) == [0, 12, 24]
    assert level.segments(11) == [11, 23, 35]


def pyramid(side: int, rng: np.random.Generator, start: int) -> list[Level]:
    """Of JPEG tiles of 256, the small levels first as in a COG, each tile between two numbers of 4 bytes."""
    found: list[Level] = []
    while side > 200:
        n = (-(-side // 256)) ** 2
        counts = rng.lognormal(9.3, 0.5, n).astype(np.int64)
        offsets = start + np.concatenate([[0], np.cumsum(counts + 8)[:-1]])
        found.insert(0, Level(side, side, (256, 256), 1, bytes(600), offsets, counts))
        start, side = start + int((counts + 8).sum()), side // 2
    return found


def test_a_gigapixel_image_takes_25_kb() -> None:
    index = TiffIndex(tuple(pyramid(20_000, np.random.default_rng(0), 2**33)))
    assert sum(len(level.offsets) for level in index.levels) > 8_000
    assert len(index.dumps()) <= 25_000
    assert_same(TiffIndex.loads(index.dumps()), index)


def test_a_photograph_takes_a_kilobyte() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (960, 1280, 3)).astype(np.uint8)
    options = {"photometric": "rgb", "compression": "jpeg", "tile": (256, 256), "metadata": None}
    with tifffile.TiffWriter(file := io.BytesIO()) as out:
        for step in (1, 2, 4):
            out.write(pixels[::step, ::step], subfiletype=int(step > 1), **options)
    index = tiff.read_index(file, "x")
    assert index is not None
    assert len(index.levels) == 3
    assert len(index.dumps()) <= 1_500


def test_the_whole_world_takes_4_kb(shared_data: Path) -> None:
    path = shared_data / "slides" / "cog_world.tif"
    with path.open("rb") as file:
        index = tiff.read_index(file, str(path))
    assert index is not None
    assert [level.grid for level in index.levels] == [(36, 71), (18, 36), (9, 18), (5, 9), (3, 5), (2, 3), (1, 2)]
    assert len(index.dumps()) <= 4_000
