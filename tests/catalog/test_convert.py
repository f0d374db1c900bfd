"""Images of many kinds, converted into folders and buckets; resumed, replaced, refused."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.catalog.convert import converted
from pipelines.catalog.opened import open_image
from pipelines.errors import ImageError
from pipelines.storage import images, objects
from pipelines.storage.stats import Counters


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / 30
    return np.stack([np.sin(y) * 100 + 128, np.cos(x) * 100 + 128, np.sin(x + y) * 100 + 128], -1).astype(np.uint8)


def pillow(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    tifffile.imwrite(buffer := io.BytesIO(), pixels, **options)
    return buffer.getvalue()


RGB = smooth(300, 270)
GREY16 = RGB[..., 0] * np.uint16(200)
TURNED = Image.Exif()
TURNED[0x0112] = 6
JPEGS = {"rgb.png", "turned.jpg", "alpha.png", "strips.tif"}
MASK = RGB[..., 0] > 127
DEEP = RGB * np.uint16(257)
SOURCES = {
    "rgb.png": (pillow(RGB), np.uint8, 3),
    "turned.jpg": (pillow(RGB, "JPEG", exif=TURNED), np.uint8, 3),
    "grey.png": (pillow(RGB[..., 0]), np.uint8, 1),
    "deep.png": (pillow(GREY16), np.uint16, 1),
    "mask.png": (pillow(Image.fromarray(MASK)), np.uint8, 1),
    "grey alpha.png": (pillow(RGB[..., :2]), np.uint8, 1),
    "palette.png": (pillow(Image.fromarray(RGB).quantize(16)), np.uint8, 3),
    "deep colour.png": (imagecodecs.png_encode(DEEP), np.uint8, 3),
    "alpha.png": (pillow(np.concatenate([RGB, RGB[..., :1]], -1)), np.uint8, 3),
    "strips.tif": (tiff(RGB, rowsperstrip=7, compression="zlib", photometric="rgb"), np.uint8, 3),
    "deep strips.tif": (tiff(RGB * np.uint16(200), rowsperstrip=7, photometric="rgb"), np.uint16, 3),
    "white is zero.tif": (tiff(RGB[..., 0], tile=(64, 64), photometric="miniswhite"), np.uint8, 1),
    "mask.tif": (tiff(MASK, tile=(64, 64), photometric="minisblack"), np.uint8, 1),
    "palette.tif": (pillow(Image.fromarray(RGB).quantize(16), "TIFF"), np.uint8, 3),
    "deep alpha.tif": (tiff(DEEP[..., [0, 1, 2, 2]], photometric="rgb", extrasamples=["unassalpha"]), np.uint8, 3),
}  # fmt: skip


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where images come from and go to."""
    if request.param == "s3":
        yield request.getfixturevalue("s3")
    elif request.param == "local":
        yield str(tmp_path)
    else:
        yield "memory://test_convert"
        objects.delete(objects.list_uris("memory://test_convert"))


def convert(uri: str, target: str, codec: str = "jpeg") -> None:
    with converted(uri, target, Counters(), codec=codec) as nearest:
        assert objects.exists(nearest)


def rgb(uri: str) -> np.ndarray:
    return np.concatenate([band for _, band in open_image(uri, Counters()).bands(0, True)])


def test_every_kind_of_image_anywhere(place: str) -> None:
    for name, (data, dtype, samples) in SOURCES.items():
        uri, target = f"{place}/from/{name}", f"{place}/my pyramids 100%/ü/{name}.tif"
        objects.write_bytes(uri, data)
        convert(uri, target, codec="zstd")
        np.testing.assert_array_equal(rgb(target), images.decode(data, uri))
        with tifffile.TiffFile(io.BytesIO(objects.read_bytes(target))) as found:
            page = found.pages.first
            assert (page.dtype, page.samplesperpixel, page.is_tiled, len(found.pages)) == (dtype, samples, True, 2)
    names = {objects.relative(uri, objects.root(place)) for uri in objects.list_uris(place)}
    assert names == {f"from/{n}" for n in SOURCES} | {f"my pyramids 100%/ü/{n}.tif" for n in SOURCES}


def test_colour_is_jpeg_unless_asked_otherwise(tmp_path: Path) -> None:
    for name, (data, _, _) in SOURCES.items():
        (tmp_path / name).write_bytes(data)
        convert(f"{tmp_path}/{name}", f"{tmp_path}/out.tif")
        with tifffile.TiffFile(tmp_path / "out.tif") as found:
            assert found.pages.first.compression.name == ("JPEG" if name in JPEGS else "ZSTD"), name
        error = rgb(f"{tmp_path}/out.tif").astype(int) - images.decode(data, name)
        assert np.abs(error).mean() < (4 if name in JPEGS else 1e-9), name


def test_what_is_done_is_not_done_again(place: str) -> None:
    uri, target = f"{place}/x.png", f"{place}/out/x.tif"
    objects.write_bytes(uri, pillow(RGB))
    convert(uri, target)
    made, before = objects.read_bytes(target), objects.stat(target)
    with converted(uri, target, Counters()) as nearest:
        assert nearest == target
    assert objects.stat(target) == before
    convert(uri, target, codec="zstd")  # in another way
    assert len(objects.read_bytes(target)) != len(made)
    objects.write_bytes(uri, pillow(RGB[::-1]))  # of other bytes
    convert(uri, target)
    np.testing.assert_allclose(rgb(target).astype(int), RGB[::-1], atol=30)


def test_the_file_says_what_it_was_made_of(tmp_path: Path) -> None:
    uri = f"{tmp_path}/ü.png"
    objects.write_bytes(uri, pillow(RGB))
    convert(uri, f"{tmp_path}/x.tif")
    with tifffile.TiffFile(tmp_path / "x.tif") as found:
        assert json.loads(found.pages.first.description) == {
            "source": uri, "etag": objects.stat(uri).etag, "codec": "jpeg", "quality": 90, "tile": 256,
            "software": "attention-sampling",
        }  # fmt: skip


@pytest.mark.parametrize("there", [b"", b"text", b"II*\0", tiff(RGB), tiff(RGB)[:200], tiff(RGB, description="{")])
def test_another_file_of_the_name_is_replaced(tmp_path: Path, there: bytes) -> None:
    (tmp_path / "x.png").write_bytes(pillow(RGB))
    (tmp_path / "x.tif").write_bytes(there)
    convert(f"{tmp_path}/x.png", f"{tmp_path}/x.tif", codec="zstd")
    np.testing.assert_array_equal(rgb(f"{tmp_path}/x.tif"), RGB)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (pillow(RGB)[:-200], "truncated"),
        (tiff(RGB, tile=(64, 64))[:-200], "truncated"),
        (b"", "empty"),
        (None, "missing"),
    ],
)
def test_what_cannot_be_read_leaves_nothing(tmp_path: Path, data: bytes | None, status: str) -> None:
    if data is not None:
        (tmp_path / "x").write_bytes(data)
    with pytest.raises(ImageError) as caught, converted(f"{tmp_path}/x", f"{tmp_path}/out/x.tif", Counters()):
        pass
    assert caught.value.status == status
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "x"] == []


def test_damage_within_leaves_nothing(tmp_path: Path) -> None:
    """Tiles that turn out to be broken when half of the pyramid is written."""
    data = bytearray(tiff(RGB, tile=(64, 64), compression="zlib", photometric="rgb"))
    with tifffile.TiffFile(io.BytesIO(data)) as found:
        start, count = found.pages.first.dataoffsets[-3], found.pages.first.databytecounts[-3]
    data[start : start + count] = bytes(count)
    (tmp_path / "x.tif").write_bytes(data)
    for target in (f"{tmp_path}/out/x.tif", "memory://test_convert_damage/x.tif"):
        with pytest.raises(ImageError, match="tile"), converted(f"{tmp_path}/x.tif", target, Counters()):
            pass
        assert not objects.exists(target)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tiff_may_be_larger_than_what_is_decoded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.tif").write_bytes(tiff(RGB, tile=(64, 64), photometric="rgb"))
    (tmp_path / "x.png").write_bytes(pillow(RGB))
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 270)
    convert(f"{tmp_path}/x.tif", f"{tmp_path}/y.tif", codec="zstd")
    monkeypatch.undo()
    np.testing.assert_array_equal(rgb(f"{tmp_path}/y.tif"), RGB)
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 270)
    with pytest.raises(ImageError, match="300 x 270 pixels"):
        convert(f"{tmp_path}/x.png", f"{tmp_path}/z.tif")
