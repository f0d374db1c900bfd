"""What every kind of file turns into, or why it does not."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageFile

from pipelines.errors import ImageError
from pipelines.storage import images

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    image.save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def status_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        images.decode(data, "x")
    assert caught.value.thing == "x"
    assert caught.value.remedy
    return caught.value.status


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_their_pixels(kind: str) -> None:
    pixels = noise(9, 14)
    decoded = images.decode(encoded(Image.fromarray(pixels), kind), "x")
    np.testing.assert_array_equal(decoded, pixels)
    assert decoded.flags.writeable
    assert decoded.dtype == np.uint8


def test_grey_becomes_three_equal_channels() -> None:
    grey = noise(5, 6)[..., 0]
    decoded = images.decode(encoded(Image.fromarray(grey), "PNG"), "x")
    np.testing.assert_array_equal(decoded, np.repeat(grey[..., None], 3, axis=2))


def test_one_bit_becomes_black_and_white() -> None:
    bits = Image.fromarray(noise(5, 6)[..., 0] > 127)
    assert set(images.decode(encoded(bits, "PNG"), "x").ravel()) == {0, 255}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_keeps_the_high_byte(kind: str) -> None:
    deep = np.array([[0, 255, 256], [32768, 65280, 65535]], np.uint16)
    decoded = images.decode(encoded(Image.fromarray(deep), kind), "x")
    np.testing.assert_array_equal(decoded[..., 0], deep >> 8)
    assert decoded.shape == (2, 3, 3)


def test_palette_becomes_its_colours() -> None:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, *RED])
    np.testing.assert_array_equal(images.decode(encoded(image, "PNG"), "x"), np.full((2, 3, 3), RED))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_on_white(mode: str) -> None:
    rgba = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    rgba.paste((40, 40, 40, 255), (0, 0, 1, 2))
    rgba.paste((0, 0, 0, 128), (1, 0, 2, 2))
    decoded = images.decode(encoded(rgba.convert(mode), "PNG"), "x")
    np.testing.assert_array_equal(decoded[:, 0], 40)
    np.testing.assert_array_equal(decoded[:, 1], 127)
    np.testing.assert_array_equal(decoded[:, 2:], 255)


def test_a_transparent_palette_entry_becomes_white() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([*RED, 1, 2, 3])
    decoded = images.decode(encoded(image, "GIF", transparency=0), "x")
    np.testing.assert_array_equal(decoded, [[WHITE, (1, 2, 3)]])


def test_a_transparent_colour_becomes_white() -> None:
    image = Image.fromarray(np.array([[RED, (1, 2, 3)]], np.uint8))
    decoded = images.decode(encoded(image, "PNG", transparency=RED), "x")
    np.testing.assert_array_equal(decoded, [[WHITE, (1, 2, 3)]])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    np.testing.assert_allclose(images.decode(encoded(red, kind), "x"), np.full((16, 16, 3), RED), atol=3)


@pytest.mark.parametrize(("orientation", "upright"), [(1, 0), (3, 2), (6, 3), (8, 1)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_orientation_is_applied(orientation: int, upright: int, kind: str) -> None:
    pixels, exif = noise(3, 5), Image.Exif()
    exif[0x0112] = orientation
    decoded = images.decode(encoded(Image.fromarray(pixels), kind, exif=exif), "x")
    np.testing.assert_array_equal(decoded, np.rot90(pixels, upright))


def test_the_first_of_several_frames_counts() -> None:
    first, second = (Image.fromarray(noise(4, 4, seed)) for seed in (0, 1))
    data = encoded(first, "TIFF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(images.decode(data, "x"), np.asarray(first))


def test_pixels_without_a_uint8_meaning_are_unsupported() -> None:
    assert status_of(encoded(Image.fromarray(np.ones((3, 3), np.float32)), "TIFF")) == "unsupported"
    assert status_of(encoded(Image.fromarray(np.ones((3, 3), np.int32)), "TIFF")) == "unsupported"


def test_what_is_no_image() -> None:
    assert status_of(b"") == "empty"
    assert status_of(b"<html><title>404 Not Found</title></html>") == "not_an_image"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF"])
def test_what_begins_like_an_image_may_be_read_whole(kind: str) -> None:
    data = encoded(Image.fromarray(noise(20, 30)), kind)
    assert images.check_start(data[: images.START], len(data), "x") is None
    assert images.decode(data, "x").shape == (20, 30, 3)


def test_formats_that_are_named_nowhere_are_no_images() -> None:
    assert status_of(encoded(Image.fromarray(noise(20, 30)), "ICO", sizes=[(16, 16)])) == "not_an_image"


@pytest.mark.parametrize(
    ("start", "n_bytes", "status"),
    [(b"notanimagenotanimage", 10, "not_an_image"), (b"\xff\xd8\xff", images.MAX_BYTES + 1, "too_large")],
)
def test_what_is_not_to_be_read_whole(start: bytes, n_bytes: int, status: str) -> None:
    with pytest.raises(ImageError, match=str(n_bytes)) as caught:
        images.check_start(start, n_bytes, "x")
    assert caught.value.status == status


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_is_stored_as_one_value(mode: str) -> None:
    data = encoded(Image.fromarray(noise(5, 6)).convert(mode), "PNG")
    pixels, exact = images.decode_stored(data, "x")
    assert (pixels.shape, pixels.dtype, exact) == ((5, 6), np.uint8, False)
    np.testing.assert_array_equal(images.as_rgb(pixels), images.decode(data, "x"))


def test_palettes_and_16_bit_are_more_than_looks() -> None:
    image = Image.fromarray(noise(8, 9))
    deep = imagecodecs.png_encode(noise(8, 9) * np.uint16(257))
    found = [encoded(image, "PNG"), encoded(image.quantize(4), "PNG"), encoded(image.quantize(4), "GIF"), deep]
    assert [images.decode_stored(data, "x").exact for data in found] == [False, True, True, True]


def test_a_bomb_is_not_opened() -> None:
    for side in (17_000, 30_000, 2**31 - 1):  # just above the bound; where Pillow warns; where it refuses
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        chunk = b"IHDR" + header
        png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
        assert status_of(png + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))) == "too_large"


CASES = {
    "jpeg": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"lossless": True}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "gif": ("GIF", {}),
    "ppm": ("PPM", {}),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own, on damaged TIFF and EXIF
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("asked_to_invent", [False, True])
def test_a_cut_file_never_gives_other_pixels(case: str, asked_to_invent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is cut: an error with a status, or, where only an end mark is lost, the very pixels."""
    kind, options = CASES[case]
    data = encoded(Image.fromarray(noise(40, 50)), kind, **options)
    whole, statuses = images.decode(data, "x"), set()
    for length in {*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 30, len(data))}:
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", asked_to_invent)
        try:
            np.testing.assert_array_equal(images.decode(data[:length], "x"), whole)
        except ImageError as error:
            statuses.add(error.status)
    assert {"truncated", "empty"} <= statuses <= {"truncated", "empty", "not_an_image"}


def test_every_status_has_a_remedy() -> None:
    assert len(set(images.STATUSES)) == len(images.STATUSES)
    for status in images.STATUSES:
        assert images.image_error("x", status, "because").remedy.endswith(".")


def test_a_view_is_the_mean_of_what_it_covers() -> None:
    pixels = noise(8, 12)
    expected = pixels.reshape(4, 2, 3, 4, 3).astype(float).mean((1, 3))
    np.testing.assert_allclose(images.make_view(pixels, (4, 3)), expected, atol=0.5)


def test_a_view_of_another_ratio_takes_pixels_by_their_centres() -> None:
    row = np.array([[0, 90, 240, 7]], np.uint8)
    view = images.make_view(np.repeat(row[..., None], 3, axis=2), (1, 3))
    np.testing.assert_array_equal(view[0, :, 0], [0, 165, 7])  # 4/3 pixels each


@pytest.mark.parametrize("view_size", [(1, 1), (5, 3), (20, 30)])
def test_a_view_has_the_size_asked_for_and_keeps_the_mean(view_size: tuple[int, int]) -> None:
    pixels = noise(10, 15)
    view = images.make_view(pixels, view_size)
    assert view.shape == (*view_size, 3)
    assert view.dtype == np.uint8
    np.testing.assert_allclose(view.mean((0, 1)), pixels.mean((0, 1)), atol=1)


def test_a_view_larger_than_the_image_repeats_pixels() -> None:
    pixels = noise(2, 3)
    np.testing.assert_array_equal(images.make_view(pixels, (4, 6)), pixels.repeat(2, 0).repeat(2, 1))


def test_names_of_images() -> None:
    assert all(images.is_image(name) for name in ("a.JPG", "s3://b/c d/100%.tiff", "x.y.webp"))
    assert not any(images.is_image(name) for name in ("a.csv", "jpg", "a.jpg/annotations.txt"))
