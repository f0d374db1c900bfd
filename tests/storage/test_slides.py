"""What OpenSlide alone reads, and that it reads the same as we where both can."""

import io
import os
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.errors import ImageError
from pipelines.storage import slides, tiff


@pytest.fixture
def openslide() -> object:
    return pytest.importorskip("openslide", reason="OpenSlide is not installed: pip install '.[slides]'")


def status_of(uri: str) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        slides.levels(uri)
    return caught.value.status, caught.value.remedy


def pyramid(path: Path, height: int, width: int) -> list[np.ndarray]:
    """A tiled TIFF of three levels, for OpenSlide to open; returns its pixels."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([127 + 100 * np.sin(y / 9 + k) * np.cos(x / (7 + k)) for k in range(3)], axis=2).astype(np.uint8)
    levels = [pixels[:: 2**number, :: 2**number] for number in range(3)]
    options = {"photometric": "rgb", "compression": "deflate", "tile": (64, 64), "metadata": None}
    with tifffile.TiffWriter(path) as out:
        for number, level in enumerate(levels):
            out.write(level, subfiletype=int(number > 0), **options)
    return levels


def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, number, kind, len(value)) + value


@pytest.fixture
def dicom(shared_data: Path, tmp_path: Path) -> str:
    """The real slide, with two attributes that its writer left out and OpenSlide insists on."""
    data = (shared_data / "slides" / "small_dicom.dcm").read_bytes()
    wanted = {
        element(0x8, 0x16, b"UI", b"")[:6]: element(0x8, 0x8, b"CS", rb"ORIGINAL\PRIMARY\VOLUME\NONE"),
        element(0x28, 0x2, b"US", b"")[:6]: element(0x20, 0x9311, b"CS", b"TILED_FULL"),
    }
    for following, missing in wanted.items():
        data = data.replace(following, missing + following, 1)
    (path := tmp_path / "slide.dcm").write_bytes(data)
    return str(path)


def test_names_of_slides() -> None:
    assert slides.is_slide("/a/B.NDPI")
    assert slides.is_slide("s3://bucket/a.mrxs")
    assert not slides.is_slide("a.svs")
    assert not slides.is_slide("a.tiff")


def test_a_dicom_slide_gives_its_pixels(dicom: str, openslide: object) -> None:
    reference = openslide.OpenSlide(dicom)
    width, height = reference.dimensions
    assert slides.levels(dicom)[0] == (height, width) == (2638, 3236)
    assert slides.levels(dicom) == [size[::-1] for size in reference.level_dimensions]
    for top, left in [(0, 0), (0, width - 70), (height - 60, 0), (height - 60, width - 70), (1310, 1590)]:
        expected = np.array(reference.read_region((left, top), 0, (70, 60)))
        assert (expected[..., 3] == 255).all()
        found = slides.read_window(dicom, 0, top, left, 60, 70)
        np.testing.assert_array_equal(found, expected[..., :3])
        assert found.std() > 1


def test_tiles_that_were_not_scanned_are_white(tmp_path: Path, openslide: object) -> None:
    tiles = (np.full((64, 64, 3), 9, np.uint8) if i == 0 else None for i in range(4))
    options = {"shape": (128, 128, 3), "dtype": "uint8", "tile": (64, 64), "photometric": "rgb", "metadata": None}
    tifffile.imwrite(path := tmp_path / "a.tif", tiles, compression="deflate", **options)
    pixels = slides.read_window(str(path), 0, 0, 0, 128, 128)
    assert set(pixels[:64, :64].ravel()) == {9}
    assert set(pixels[64:].ravel()) == {255}


def test_windows_of_every_level(tmp_path: Path, openslide: object) -> None:
    levels = pyramid(path := tmp_path / "a.tif", 256, 320)
    assert slides.levels(f"file://{path}") == [level.shape[:2] for level in levels]
    for number, level in enumerate(levels):
        for top, left in [(0, 0), (13, 7), (level.shape[0] - 20, level.shape[1] - 30)]:
            found = slides.read_window(f"file://{path}", number, top, left, 20, 30)
            np.testing.assert_array_equal(found, level[top : top + 20, left : left + 30])


def test_levels_that_are_no_whole_fraction(tmp_path: Path, openslide: object) -> None:
    for number, level in enumerate(pyramid(path := tmp_path / "a.tif", 1001, 777)):
        top, left = level.shape[0] - 70, level.shape[1] - 60
        found = slides.read_window(str(path), number, top, left, 50, 50).astype(int)
        errors = {
            (y, x): abs(found - level[top + y : top + y + 50, left + x : left + x + 50]).mean()
            for y in (-1, 0, 1)
            for x in (-1, 0, 1)
        }
        assert min(errors, key=lambda shift: errors[shift]) == (0, 0)
        assert errors[0, 0] < (4 if number else 1e-9)


def test_a_replaced_file_is_opened_again(tmp_path: Path, openslide: object) -> None:
    pyramid(path := tmp_path / "a.tif", 256, 320)
    assert slides.levels(str(path))[0] == (256, 320)
    pyramid(path, 128, 192)
    assert slides.levels(str(path))[0] == (128, 192)


def test_threads_share_a_slide(tmp_path: Path, openslide: object) -> None:
    pixels = pyramid(path := tmp_path / "a.tif", 640, 640)[0]
    tops = [17 * i % 600 for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda top: slides.read_window(str(path), 0, top, top, 40, 40), tops)
        for top, window in zip(tops, found, strict=True):
            np.testing.assert_array_equal(window, pixels[top : top + 40, top : top + 40])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_opens_its_own(tmp_path: Path, openslide: object) -> None:
    pixels = pyramid(path := tmp_path / "a.tif", 256, 320)[0]
    slides.read_window(str(path), 0, 0, 0, 9, 9)
    if (child := os.fork()) == 0:
        before = slides._opened.cache_info().misses
        same = (slides.read_window(str(path), 0, 99, 9, 50, 70) == pixels[99:149, 9:79]).all()
        os._exit(0 if same and slides._opened.cache_info().misses == before + 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_is_not_to_be_had(tmp_path: Path, openslide: object, shared_data: Path) -> None:
    assert status_of("s3://bucket/a.ndpi") == ("unsupported", "Copy it to a local disk, or convert it to TIFF.")
    assert status_of(str(tmp_path / "a.ndpi"))[0] == "missing"
    (tmp_path / "b.ndpi").write_bytes(b"nothing of the kind")
    assert status_of(str(tmp_path / "b.ndpi")) == ("unsupported", "Convert it to a tiled TIFF.")
    assert status_of(str(shared_data / "slides" / "small_dicom.dcm"))[0] == "unsupported"


def test_a_damaged_slide_is_an_error_once(tmp_path: Path, openslide: object) -> None:
    pixels = pyramid(path := tmp_path / "a.tif", 256, 320)[0]
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        offset, count = (table[0] for table in (tif.pages[0].dataoffsets, tif.pages[0].databytecounts))
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        slides.read_window(str(path), 0, 0, 0, 20, 20)
    assert caught.value.status == "truncated"
    np.testing.assert_array_equal(slides.read_window(str(path), 0, 70, 70, 20, 20), pixels[70:90, 70:90])


def test_without_openslide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.ndpi").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "openslide", None)
    status, remedy = status_of(str(tmp_path / "a.ndpi"))
    assert (status, "pip install" in remedy) == ("unsupported", True)


@pytest.mark.parametrize("compression", ["aperio_jp2000_rgb", "aperio_jp2000_ycbc", "jpeg"])
def test_aperio_slides_read_in_place_are_as_openslide_reads_them(
    compression: str, tmp_path: Path, openslide: object
) -> None:
    original = pyramid(tmp_path / "a.tif", 300, 420)[0]
    stored = np.array(Image.fromarray(original).convert("YCbCr")) if compression.endswith("ycbc") else original
    arguments = {"codecformat": "j2k", "mct": False, "reversible": True} if "jp2000" in compression else {}
    text = "Aperio Image Library v11.2.1\r\n420x300 [0,0 420x300] (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5"
    level = {"compression": compression, "compressionargs": arguments, "tile": (64, 64)}
    options = {"photometric": "rgb", "description": text, "metadata": None}
    with tifffile.TiffWriter(path := tmp_path / "a.svs") as out:
        out.write(stored, **level, **options)
        out.write(original[::2, ::2], compression="jpeg", rowsperstrip=16, **options)  # the thumbnail
        out.write(stored[::4, ::4], **level, **options)
    with path.open("rb") as file:
        index = tiff.read_index(file, str(path))
    assert index is not None
    assert [(level.height, level.width) for level in index.levels] == slides.levels(str(path))
    data = path.read_bytes()
    for number, level in enumerate(index.levels):
        start = int(level.offsets[0])
        tile = tiff.to_rgb(level, tiff.decode(level, 0, [data[start : start + int(level.counts[0])]]))
        expected = slides.read_window(str(path), number, 0, 0, *tile.shape[:2])
        assert abs(tile.astype(int) - expected).max() <= int(compression.endswith("ycbc"))  # roundings of YCbCr
