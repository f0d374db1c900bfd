"""A header says what reading all of the image would, for some KB; and notices where the end is missing."""

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from pipelines.catalog.opened import open_image
from pipelines.errors import ImageError
from pipelines.storage import headers, images, objects
from pipelines.storage.headers import Header, read_header
from pipelines.storage.stats import Counters, ReaderStats

PIXELS = np.random.default_rng(0).integers(0, 256, (90, 140, 3)).astype(np.uint8)
TURNED = Image.Exif()
TURNED[0x0112] = 6


def encoded(kind: str, pixels: np.ndarray | Image.Image = PIXELS, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


def tiff(**options: object) -> bytes:
    tifffile.imwrite(buffer := io.BytesIO(), PIXELS, photometric="rgb", **options)
    return buffer.getvalue()


def film(image: Image.Image) -> bytes:
    """Two frames as one animated WebP."""
    return encoded("WEBP", image, save_all=True, append_images=[image.rotate(180)], lossless=True)


RGB = Image.fromarray(PIXELS)
PROFILE = np.random.default_rng(1).bytes(50_000)
KINDS = {
    "jpeg": encoded("JPEG"),
    "jpeg, progressive": encoded("JPEG", progressive=True),
    "jpeg, turned": encoded("JPEG", exif=TURNED),
    "jpeg, with a large header": encoded("JPEG", icc_profile=PROFILE),
    "jpeg, CMYK": encoded("JPEG", RGB.convert("CMYK")),
    "jpeg, several pictures": encoded("MPO", save_all=True, append_images=[RGB]),
    "jpeg, with a film behind it": encoded("JPEG") + PROFILE,
    "jpeg, filled up": encoded("JPEG") + bytes(9000),
    "png": encoded("PNG"),
    "png, turned": encoded("PNG", exif=TURNED),
    "png, 16 bit": encoded("PNG", PIXELS[..., 0] * np.uint16(257)),
    "png, 16-bit colour": imagecodecs.png_encode(PIXELS * np.uint16(257)),
    "png, filled up": encoded("PNG") + bytes(9000),
    "webp": encoded("WEBP", lossless=True),
    "webp, turned": encoded("WEBP", lossless=True, exif=TURNED),
    "webp, with a large header": encoded("WEBP", lossless=True, icc_profile=PROFILE),
    "webp, several frames": film(RGB),
    "avif": encoded("AVIF", quality=100),
    "avif, turned": encoded("AVIF", quality=100, exif=TURNED),
    "gif": encoded("GIF"),
    "bmp": encoded("BMP"),
    "ppm": encoded("PPM"),
    "jpeg 2000": encoded("JPEG2000"),
    "tiff, tiles": tiff(tile=(16, 32)),
    "tiff, strips": tiff(rowsperstrip=10, compression="zlib"),
    "tiff, one strip": tiff(rowsperstrip=90, compression="zlib"),
    "tiff, turned": encoded("TIFF", exif=TURNED),
    "tiff, float": encoded("TIFF", np.ones((9, 9), np.float32)),
    "tiff, 32 bit, turned": encoded("TIFF", np.ones((9, 9), np.int32), exif=TURNED),
    "text": b"<html><title>404 Not Found</title></html>",
    "nothing": b"",
}


def header_of(uri: str) -> tuple[Header, ReaderStats]:
    header = read_header(uri, counters := Counters())
    return header, counters.snapshot()


def said(uri: str, read: object) -> tuple[object, ...]:
    """Layout, size and etag of an image, or why it has none."""
    try:
        image = read(uri, Counters())
    except ImageError as error:
        return error.status, error.thing
    return image.layout, image.sizes, image.stat


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def load(*_: object) -> None:
        raise AssertionError("decoded")

    for kind in (ImageFile.ImageFile, *ImageFile.ImageFile.__subclasses__()):
        if "load" in vars(kind):
            monkeypatch.setattr(kind, "load", load)
    return monkeypatch


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_says_what_all_of_the_image_does(tmp_path: Path, kind: str, no_decoding: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.jpg").write_bytes(KINDS[kind])
    found = said(f"{tmp_path}/x.jpg", read_header)
    no_decoding.undo()
    assert found == said(f"{tmp_path}/x.jpg", open_image)


@pytest.mark.parametrize("name", ["missing.jpg", "missing.ndpi"])
def test_what_is_not_there(tmp_path: Path, name: str) -> None:
    assert said(f"{tmp_path}/{name}", read_header) == said(f"{tmp_path}/{name}", open_image)


def test_formats_and_progressive_jpeg(tmp_path: Path) -> None:
    for kind, data in KINDS.items():
        (tmp_path / kind).write_bytes(data)
    found = [kind for kind in KINDS if "jpeg," in kind and header_of(f"{tmp_path}/{kind}")[0].progressive]
    assert found == ["jpeg, progressive"]
    kinds = ["jpeg", "jpeg, several pictures", "webp", "avif", "tiff, tiles", "tiff, turned"]
    formats = [header_of(f"{tmp_path}/{kind}")[0].format for kind in kinds]
    assert formats == ["JPEG", "MPO", "WEBP", "AVIF", "TIFF", "TIFF"]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own, on damaged TIFF and EXIF
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("text", "nothing")])
def test_what_is_called_broken_is_broken(tmp_path: Path, kind: str) -> None:
    """Wherever it is cut, the header gives no other size, and no error where the whole image gives none.

    But for a PNG or JPEG whose pixels are all there, and its end mark is not.
    """
    data, path = KINDS[kind], tmp_path / "x"
    path.write_bytes(data)
    whole = said(str(path), read_header)
    for length in {*range(1, len(data), max(1, len(data) // 12)), *range(max(1, len(data) - 30), len(data), 4)}:
        path.write_bytes(data[:length])
        header, pixels = said(str(path), read_header), said(str(path), open_image)
        if len(header) == 3:
            assert header[:2] == whole[:2]
        elif len(pixels) == 3:
            assert header[0] == "truncated"
            assert length > len(data) - 24
        else:
            assert header[0] == pixels[0]


@pytest.mark.parametrize("kind", ["jpeg", "jpeg, turned", "png", "webp", "tiff, tiles", "tiff, turned"])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_missing_end_is_noticed(tmp_path: Path, kind: str, share: float) -> None:
    (tmp_path / "x").write_bytes(KINDS[kind][: int(len(KINDS[kind]) * share)])
    assert said(f"{tmp_path}/x", read_header)[0] == "truncated"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": TURNED}, {"optimize": True}])
def test_a_cut_photograph_is_noticed_wherever_it_is_cut(tmp_path: Path, options: dict[str, object]) -> None:
    y, x = np.mgrid[:400, :600]
    waves = np.stack([np.sin(y / 30) * 90 + 128, np.cos(x / 40) * 90 + 128, np.sin((x + y) / 50) * 90 + 128], -1)
    pixels = (waves + np.random.default_rng(0).normal(0, 5, waves.shape)).clip(0, 255).astype(np.uint8)
    data = encoded("JPEG", pixels, **options)
    lengths = range(2000, len(data) - 2, 997)
    for length in lengths:
        (tmp_path / "x").write_bytes(data[:length])
        assert said(f"{tmp_path}/x", read_header)[0] == "truncated", length
    assert len(lengths) > 15


def test_a_thumbnail_has_an_end_mark_of_its_own(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + encoded("JPEG", PIXELS[:16, :16])
    data = encoded("JPEG", exif=exif)
    (tmp_path / "x").write_bytes(data[: data.rindex(b"\xff\xda") + 500])
    assert b"\xff\xd9" in (tmp_path / "x").read_bytes()[-headers.TAIL :]
    assert said(f"{tmp_path}/x", read_header)[0] == "truncated"


def test_a_large_image_costs_some_kb(s3: str) -> None:
    large = np.random.default_rng(0).integers(0, 256, (800, 1000, 3)).astype(np.uint8)
    for kind, n_requests in (("JPEG", 3), ("PNG", 3), ("WEBP", 3), ("BMP", 2)):
        options = {"WEBP": {"lossless": True, "method": 0}}.get(kind, {})
        objects.write_bytes(uri := f"{s3}/x.{kind}", data := encoded(kind, large, **options))
        header, stats = header_of(uri)
        assert header.sizes == ((800, 1000),)
        assert len(data) > 400_000
        assert stats.bytes_read <= 3 * headers.BLOCK
        assert stats.requests == n_requests


def test_too_many_pixels_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(KINDS["png"])
    monkeypatch.setattr(images, "MAX_PIXELS", 90 * 140 - 1)
    assert said(f"{tmp_path}/x", read_header)[0] == "too_large"
    monkeypatch.undo()
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    assert said(f"{tmp_path}/x", read_header)[0] == "too_large"
