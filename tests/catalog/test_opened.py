"""How images lie in storage, and views that cost no more than they must."""

from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.catalog.opened import BLOCK, dump_index, open_image
from pipelines.errors import ImageError
from pipelines.storage import images, objects
from pipelines.storage.layouts import checksum
from pipelines.storage.plan import MAX_RANGE
from pipelines.storage.pyramid import write_pyramid
from pipelines.storage.stats import Counters
from pipelines.storage.tiff import TiffIndex

TURNED = Image.Exif()
TURNED[0x0112] = 3

TIFFS = {
    "tiles": {"tile": (32, 16)},
    "tiles, one": {"tile": (256, 256)},
    "strips": {"rowsperstrip": 10, "compression": "zlib"},
    "whole, one strip": {"rowsperstrip": 90, "compression": "zlib"},
    "strips, of one that is not compressed": {},
}


def smooth(height: int, width: int, wave: float = 30) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / wave
    return np.stack([np.sin(y) * 100 + 128, np.cos(x) * 100 + 128, np.sin(x + y) * 100 + 128], -1).astype(np.uint8)


def read(uri: str, *, rgb: bool = True) -> np.ndarray:
    tops, bands = zip(*open_image(uri, Counters()).bands(0, rgb), strict=True)
    assert list(tops) == [sum(map(len, bands[:n])) for n in range(len(bands))]
    return np.concatenate(bands)


@pytest.mark.parametrize("name", TIFFS)
def test_a_tiff_is_read_through_its_index(tmp_path: Path, name: str) -> None:
    pixels, uri = smooth(90, 4000), f"{tmp_path}/x.tif"
    tifffile.imwrite(uri, pixels, photometric="rgb", **TIFFS[name])
    image = open_image(uri, Counters())
    assert (image.layout, image.sizes) == (name.partition(",")[0], ((90, 4000),))
    assert image.index is not None
    np.testing.assert_array_equal(read(uri), pixels)
    np.testing.assert_array_equal(image.view((9, 17)), images.make_view(pixels, (9, 17)))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_other_images_are_read_whole(tmp_path: Path, kind: str) -> None:
    pixels, exif = smooth(30, 50), Image.Exif()
    exif[0x0112] = 3  # also a TIFF, when it is stored turned
    Image.fromarray(pixels).save(tmp_path / "x", kind, **({} if kind == "BMP" else {"exif": exif}))
    upright = pixels if kind == "BMP" else pixels[::-1, ::-1]
    counters = Counters()
    image = open_image(f"{tmp_path}/x", counters)
    assert (image.layout, image.sizes, image.index) == ("whole", ((30, 50),), None)
    np.testing.assert_array_equal(image.view((5, 7)), images.make_view(upright, (5, 7)))
    assert counters.snapshot().bytes_read == (tmp_path / "x").stat().st_size


@pytest.mark.parametrize(
    ("pixels", "stored"),
    [
        (smooth(40, 60)[..., 0], np.uint8),
        (smooth(40, 60)[..., 0] * np.uint16(200), np.uint16),
        (smooth(40, 60) * np.uint16(200), np.uint16),
        (smooth(40, 60), np.uint8),
    ],
)
def test_pixels_as_they_are_stored(tmp_path: Path, pixels: np.ndarray, stored: type) -> None:
    tifffile.imwrite(tmp_path / "x.tif", pixels, tile=(16, 16), photometric="rgb" if pixels.ndim == 3 else "minisblack")
    found = read(f"{tmp_path}/x.tif", rgb=False)
    assert found.dtype == stored
    np.testing.assert_array_equal(found.squeeze(), pixels)
    eight = (pixels >> 8 if stored == np.uint16 else pixels).astype(np.uint8)
    np.testing.assert_array_equal(read(f"{tmp_path}/x.tif"), eight if eight.ndim == 3 else np.stack([eight] * 3, -1))


@pytest.mark.parametrize("deep", [False, True])
def test_grey_comes_as_one_value_that_grows_with_brightness(tmp_path: Path, deep: bool) -> None:
    grey = smooth(40, 60)[..., 0] * (np.uint16(257) if deep else np.uint8(1))
    tifffile.imwrite(tmp_path / "x.tif", np.invert(grey), tile=(16, 16), photometric="miniswhite")
    found = read(f"{tmp_path}/x.tif", rgb=False)
    assert found.dtype == grey.dtype
    np.testing.assert_array_equal(found, grey)
    tifffile.imwrite(tmp_path / "x.tif", grey > 99, tile=(16, 16), photometric="minisblack")
    np.testing.assert_array_equal(read(f"{tmp_path}/x.tif", rgb=False), (grey > 99) * np.uint8(255))


def test_what_is_neither_grey_nor_rgb_comes_as_rgb(tmp_path: Path) -> None:
    values, palette = smooth(40, 60)[..., 0], np.arange(768, dtype=np.uint16).reshape(3, 256) * np.uint16(85)
    tifffile.imwrite(tmp_path / "x.tif", values, tile=(16, 16), photometric="palette", colormap=palette)
    np.testing.assert_array_equal(read(f"{tmp_path}/x.tif", rgb=False), (palette >> 8).T[values])
    assert open_image(f"{tmp_path}/x.tif", Counters()).exact


def test_an_object_without_a_signature_is_not_read_on(tmp_path: Path) -> None:
    with (tmp_path / "x.jpg").open("wb") as file:
        file.write(b"notanimage")
        file.truncate(50 * 10**9)  # of which the disk holds one block
    counters = Counters()
    with pytest.raises(ImageError) as caught:
        open_image(f"{tmp_path}/x.jpg", counters)
    assert (caught.value.status, counters.snapshot().bytes_read) == ("not_an_image", BLOCK)
    with (tmp_path / "x.jpg").open("r+b") as file:
        file.write(b"\xff\xd8\xff")
    with pytest.raises(ImageError, match="50000000000 bytes") as caught:
        open_image(f"{tmp_path}/x.jpg", counters)
    assert (caught.value.status, counters.snapshot().bytes_read) == ("too_large", 2 * BLOCK)


def test_a_small_image_is_one_request_after_its_stat(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    for name, options, n_requests in (("x.png", {}, 2), ("whole.tif", {"exif": b"Exif\0\0" + TURNED.tobytes()}, 3)):
        Image.fromarray(noise).save(tmp_path / name, **options)
        counters, size = Counters(), (tmp_path / name).stat().st_size
        assert open_image(f"{tmp_path}/{name}", counters).layout == "whole"
        assert size > BLOCK
        assert (counters.snapshot().requests, counters.snapshot().bytes_read) == (n_requests, size)


def test_a_view_of_a_pyramid_costs_a_small_level(tmp_path: Path) -> None:
    pixels, uri = smooth(1200, 1700, wave=300), f"{tmp_path}/x.tif"
    write_pyramid(iter([pixels]), pixels.shape[:2], uri, codec="zstd", tile=64)
    counters = Counters()
    image = open_image(uri, counters)
    before = counters.snapshot()
    view = image.view((20, 25))
    assert [size[0] for size in image.sizes] == [1200, 600, 300, 150, 75, 38]
    assert counters.snapshot().since(before).tiles == 12  # of the level with 150 x 213 pixels, at least 4 times 20 x 25
    np.testing.assert_allclose(view.astype(int), images.make_view(pixels, (20, 25)), atol=2)
    np.testing.assert_array_equal(image.view((301, 400)), images.make_view(pixels, (301, 400)))


def test_checksums_are_those_of_the_tiles_and_every_byte_is_read_once(tmp_path: Path) -> None:
    pixels, uri = smooth(300, 400), f"{tmp_path}/x.tif"
    write_pyramid(iter([pixels]), pixels.shape[:2], uri, tile=64)
    data, counters = Path(uri).read_bytes(), Counters()
    image = open_image(uri, counters)
    before = counters.snapshot()
    index = TiffIndex.loads(dump_index(image, counters, checksums=True))
    assert counters.snapshot().since(before).bytes_read <= len(data)
    for plain, level in zip(image.index.levels, index.levels, strict=True):
        np.testing.assert_array_equal(plain.offsets, level.offsets)
        ranges = zip(level.offsets.tolist(), level.counts.tolist(), strict=True)
        assert level.checksums.tolist() == [google_crc32c.value(data[o : o + c]) for o, c in ranges]
    Image.fromarray(pixels).save(tmp_path / "x.png")
    whole = open_image(f"{tmp_path}/x.png", Counters())
    assert dump_index(whole, Counters()) == b""
    assert dump_index(whole, Counters(), checksums=True) == checksum((tmp_path / "x.png").read_bytes())


def test_checksums_of_tiles_that_share_their_start(tmp_path: Path) -> None:
    """The longer one too long to be read in one request with what is before it."""
    uri = tmp_path / "x.tif"
    tifffile.imwrite(uri, smooth(16, 32), tile=(16, 16), photometric="rgb")
    with uri.open("ab") as file:
        file.write(bytes(MAX_RANGE))
    with tifffile.TiffFile(uri, mode="r+") as tif:
        (first, _), (short, _) = tif.pages.first.dataoffsets, tif.pages.first.databytecounts
        tif.pages.first.tags["TileOffsets"].overwrite([first, first], dtype="I")
        tif.pages.first.tags["TileByteCounts"].overwrite([short, MAX_RANGE + 1], dtype="I")
    (level,) = TiffIndex.loads(dump_index(open_image(str(uri), Counters()), Counters(), checksums=True)).levels
    data = uri.read_bytes()[first:]
    assert level.checksums.tolist() == [google_crc32c.value(data[:n]) for n in (short, MAX_RANGE + 1)]


def test_an_image_that_changes_while_it_is_read_is_stale(tmp_path: Path) -> None:
    uri = f"{tmp_path}/x.tif"
    tifffile.imwrite(uri, smooth(100, 100), tile=(16, 16), photometric="rgb")
    image = open_image(uri, Counters())
    tifffile.imwrite(uri, smooth(100, 100), tile=(16, 16), photometric="rgb", description="another")
    with pytest.raises(ImageError) as caught:
        image.view((5, 5))
    assert caught.value.status == "stale"


@pytest.mark.parametrize(
    ("data", "status"), [(b"", "empty"), (b"II*\0", "truncated"), (b"<html>", "not_an_image"), (None, "missing")]
)
def test_no_image(data: bytes | None, status: str) -> None:
    uri = "memory://test_opened/x"
    if data is not None:
        objects.write_bytes(uri, data)
    elif objects.exists(uri):
        objects.delete([uri])
    with pytest.raises(ImageError) as caught:
        open_image(uri, Counters())
    assert caught.value.status == status


def test_a_slide_through_openslide(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("openslide", reason="the extra `slides` is not installed")
    slide, uri = shared_data / "slides/CMU-1-Small-Region.svs", f"{tmp_path}/x.ndpi"
    if not slide.exists():
        pytest.skip(f"{slide} is not there")
    Path(uri).write_bytes(slide.read_bytes())  # OpenSlide looks at what is in it
    image = open_image(uri, Counters())
    assert (image.layout, image.index) == ("slide", None)
    np.testing.assert_array_equal(read(uri), read(str(slide)))
    np.testing.assert_array_equal(image.view((30, 20)), open_image(str(slide), Counters()).view((30, 20)))
