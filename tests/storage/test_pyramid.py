"""Pyramids of every size and kind of pixel, read back by tifffile and Pillow."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.storage import images, pyramid
from pipelines.storage.pyramid import write_pyramid

SIZES = [(1, 1), (3, 5), (15, 17), (16, 16), (31, 64), (33, 100), (130, 70)]
PIXELS = [(np.uint8, 3), (np.uint8, 1), (np.uint16, 3), (np.uint16, 1)]
TILE = 16

MEMORY = """
import resource, sys
import numpy as np
from pipelines.storage.pyramid import write_pyramid

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def bands(height, width):
    band = np.random.default_rng(0).integers(0, 256, (250, width // 20, 3)).astype(np.uint8).repeat(20, axis=1)
    for _ in range(height // 250):
        yield band

write_pyramid(bands(500, 400), (500, 400), sys.argv[1])
before = peak()
write_pyramid(bands(8_000, 20_000), (8_000, 20_000), sys.argv[1])
print(peak() - before)
"""


def smooth(height: int, width: int, samples: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """Waves: [H, W, samples], or [H, W] of one sample."""
    y, x = np.mgrid[:height, :width] / 20
    waves = np.stack([np.sin(y + s) * np.cos(x - s) for s in range(samples)], axis=-1) / 2 + 0.5
    pixels = (waves * np.iinfo(dtype).max).astype(dtype)
    return pixels[..., 0] if samples == 1 else pixels


def noise(height: int, width: int, samples: int = 3, dtype: type = np.uint8) -> np.ndarray:
    high = np.iinfo(dtype).max + 1
    return np.random.default_rng(0).integers(0, high, (height, width, samples)).astype(dtype)


def in_bands(pixels: np.ndarray, rows: int = 7) -> Iterator[np.ndarray]:
    return (pixels[top : top + rows] for top in range(0, len(pixels), rows))


def levels(path: Path) -> list[np.ndarray]:
    with tifffile.TiffFile(path) as tiff:
        (series,) = tiff.series
        return [level.asarray() for level in series.levels]


def halved(pixels: np.ndarray) -> np.ndarray:
    """By floats, from the borders repeated."""
    padding = [(0, side % 2) for side in pixels.shape[:2]] + [(0, 0)] * (pixels.ndim - 2)
    padded = np.pad(pixels, padding, mode="edge").astype(float)
    quarters = [padded[y::2, x::2] for y in (0, 1) for x in (0, 1)]
    return np.floor(sum(quarters) / 4 + 0.5).astype(pixels.dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "samples"), PIXELS)
def test_zstd_keeps_every_pixel_and_halves_the_rest(
    tmp_path: Path, size: tuple[int, int], dtype: type, samples: int
) -> None:
    pixels = noise(*size, samples, dtype)
    write_pyramid(in_bands(pixels), size, tmp_path / "x.tif", codec="zstd", tile=TILE)
    expected = pixels.squeeze(axis=-1) if samples == 1 else pixels
    for found in levels(tmp_path / "x.tif"):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)
        last, expected = expected, halved(expected)
    assert max(last.shape[:2]) <= TILE


@pytest.mark.parametrize("size", [(1, 1), (33, 100), (300, 470)])
def test_jpeg_stays_close_up_to_the_border(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = smooth(*size)
    write_pyramid(in_bands(pixels), size, tmp_path / "x.tif")
    found, *_ = levels(tmp_path / "x.tif")
    for part in (np.s_[:], np.s_[-1], np.s_[:, -1]):
        error = np.mean((found[part].astype(float) - pixels[part]) ** 2)
        assert 10 * np.log10(255**2 / max(error, 1e-9)) > 35
    with Image.open(tmp_path / "x.tif") as image:
        np.testing.assert_array_equal(np.asarray(image), found)


@pytest.mark.parametrize(("dtype", "samples"), PIXELS[1:])
def test_jpeg_is_for_8_bit_colour_alone(tmp_path: Path, dtype: type, samples: int) -> None:
    pixels = smooth(20, 30, samples, dtype)
    write_pyramid(in_bands(pixels), (20, 30), tmp_path / "x.tif", codec="jpeg")
    np.testing.assert_array_equal(levels(tmp_path / "x.tif")[0], pixels)


def test_the_pages_say_what_they_are(tmp_path: Path) -> None:
    write_pyramid(in_bands(smooth(300, 700)), (300, 700), tmp_path / "x.tif", description='{"a": "b"}')
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert [page.shape for page in tiff.pages] == [(300, 700, 3), (150, 350, 3), (75, 175, 3)]
        assert [page.subfiletype for page in tiff.pages] == [0, 1, 1]
        assert {(page.tilelength, page.tilewidth, page.compression.name) for page in tiff.pages} == {(256, 256, "JPEG")}
        assert (tiff.pages[0].photometric.name, tiff.pages[0].subsampling) == ("YCBCR", (2, 2))
        assert [page.description for page in tiff.pages] == ['{"a": "b"}', "", ""]
        assert tiff.pages[0].software == "attention-sampling"
        assert not tiff.is_bigtiff


@pytest.mark.parametrize(
    ("dtype", "samples", "mode"), [(np.uint8, 3, "RGB"), (np.uint8, 1, "L"), (np.uint16, 1, "I;16")]
)
def test_pillow_opens_them(tmp_path: Path, dtype: type, samples: int, mode: str) -> None:
    pixels = smooth(40, 50, samples, dtype)
    write_pyramid(in_bands(pixels), (40, 50), tmp_path / "x.tif", codec="zstd", tile=TILE)
    with Image.open(tmp_path / "x.tif") as image:
        assert (image.mode, image.n_frames) == (mode, 3)
        np.testing.assert_array_equal(np.asarray(image), pixels)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_bands_make_no_difference(tmp_path_factory: pytest.TempPathFactory, heights: list[int]) -> None:
    path, pixels = tmp_path_factory.mktemp("bands"), noise(sum(heights), 21)
    ends = np.cumsum(heights)[:-1]
    write_pyramid(iter(np.split(pixels, ends)), pixels.shape[:2], path / "bands.tif", tile=TILE)
    write_pyramid(iter([pixels]), pixels.shape[:2], path / "whole.tif", tile=TILE)
    assert (path / "bands.tif").read_bytes() == (path / "whole.tif").read_bytes()


def test_offsets_of_64_bits_where_32_are_too_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "_CLASSIC_BYTES", 1000)
    pixels = noise(40, 50)
    write_pyramid(in_bands(pixels), (40, 50), tmp_path / "x.tif", codec="zstd", tile=TILE)
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert tiff.is_bigtiff
        np.testing.assert_array_equal(tiff.pages[0].asarray(), pixels)


@pytest.mark.parametrize(
    ("pixels", "size", "reason"),
    [
        (noise(20, 30), (21, 30), "20 of 21 rows"),
        (noise(20, 30), (19, 30), "20 of 19 rows"),
        (noise(20, 30), (20, 31), r"\[30, 3\] in an image of uint8 \[31, 3\]"),
        (noise(20, 30, 4), (20, 30), "neither grey nor RGB"),
        (noise(20, 30).astype(np.float32), (20, 30), "neither grey nor RGB"),
    ],
)
def test_what_is_no_such_image_leaves_what_was_there(
    tmp_path: Path, pixels: np.ndarray, size: tuple[int, int], reason: str
) -> None:
    (tmp_path / "x.tif").write_bytes(b"before")
    with pytest.raises(ValueError, match=reason):
        write_pyramid(in_bands(pixels), size, tmp_path / "x.tif")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x.tif", b"before")]


def test_parts_are_no_images_and_stale_ones_are_removed(tmp_path: Path) -> None:
    """As when a process was killed: two hours ago, and another one is at work just now."""
    parts = [tmp_path / f"{name}.tif.0123abcd{pyramid._PART}" for name in ("old", "young")]
    for part, age_s in zip(parts, (7200, 10), strict=True):
        part.write_bytes(b"II*")
        os.utime(part, (time.time() - age_s,) * 2)
        assert not images.is_image(str(part))
    (tmp_path / "mine.part").touch()
    os.utime(tmp_path / "mine.part", (0, 0))
    write_pyramid(in_bands(noise(20, 30)), (20, 30), tmp_path / "x.tif")
    assert {path.name for path in tmp_path.iterdir()} == {"x.tif", "mine.part", parts[1].name}


def test_memory_is_that_of_some_tile_rows(tmp_path: Path) -> None:
    """Decoded the image has 480 MB, a row of its tiles 15 MB."""
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "x.tif")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert float(done.stdout) < 120
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert [level.shape[:2] for level in tiff.series[0].levels][:2] == [(8_000, 20_000), (4_000, 10_000)]
