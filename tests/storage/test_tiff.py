"""Which pages are levels, which files have none, and what an index costs."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.errors import ImageError
from pipelines.storage import images, tiff
from tests.storage.tiffs import (
    COLOUR,
    DEEP,
    FOUR,
    GREY,
    GREY_OPTIONS,
    STRIPS,
    TILES,
    assembled,
    index_of,
    scene,
    status_of,
    written,
)


def levels_of(data: bytes) -> list[tuple[int, int]]:
    return [(level.height, level.width) for level in index_of(data).levels]


def halved(pixels: np.ndarray, times: int) -> np.ndarray:
    return pixels[:: 2**times, :: 2**times]


@pytest.mark.parametrize("sub_ifds", [False, True], ids=["pages", "ome"])
def test_the_levels_of_a_pyramid(sub_ifds: bool) -> None:
    options = {"photometric": "rgb", "compression": "deflate", **TILES}
    with tifffile.TiffWriter(file := io.BytesIO(), ome=sub_ifds) as out:
        out.write(COLOUR, **options, **({"subifds": 2} if sub_ifds else {}))
        for times in (1, 2):
            out.write(halved(COLOUR, times), subfiletype=1, **options)
        out.write(scene(3)[::-1], **options)  # another frame
    data = file.getvalue()
    assert levels_of(data) == [(53, 75), (27, 38), (14, 19)]
    for times in range(3):
        np.testing.assert_array_equal(assembled(data, times), halved(COLOUR, times))


def test_masks_and_thumbnails_are_no_levels() -> None:
    with tifffile.TiffWriter(file := io.BytesIO()) as out:
        out.write(COLOUR, photometric="rgb", **TILES)
        out.write(GREY > 127, photometric="minisblack", subfiletype=4, **TILES)
        out.write(COLOUR[::2, ::4], photometric="rgb", subfiletype=1, **TILES)  # of another shape
        out.write(halved(COLOUR, 1), photometric="rgb", subfiletype=1, **STRIPS)
        out.write(GREY[1:-1, 1:-1] > 127, photometric="minisblack", subfiletype=5, **TILES)
        out.write(halved(COLOUR, 1), photometric="rgb", subfiletype=1, **TILES)
        out.write(halved(COLOUR, 2), photometric="rgb", subfiletype=1, **TILES)
    assert levels_of(file.getvalue()) == [(53, 75), (27, 38), (14, 19)]


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("compression", ["aperio_jp2000_rgb", "aperio_jp2000_ycbc", "jpeg"])
def test_an_aperio_slide(compression: str, tagged: bool, tmp_path: Path) -> None:
    """Levels of 1/4 without a mark, between a thumbnail, a label and a macro."""
    ycbcr = compression.endswith("ycbc")
    stored = np.array(Image.fromarray(COLOUR).convert("YCbCr")) if ycbcr else COLOUR
    arguments = {"codecformat": "j2k", "mct": False, "reversible": True} if "jp2000" in compression else {}
    options = {"photometric": "rgb", "compression": compression, "compressionargs": arguments, "metadata": None}
    description = "Aperio Image Library v11.2.1\r\n75x53 [0,0 75x53] (32x16) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5"
    with tifffile.TiffWriter(path := tmp_path / "slide.svs") as out:
        out.write(stored, description=description, **TILES, **options)
        out.write(halved(COLOUR, 1), photometric="rgb", compression="jpeg", description=description, **STRIPS)
        out.write(halved(stored, 2), description=description, **TILES, **options)
        out.write(GREY, photometric="minisblack", subfiletype=1, compression="lzw", description="Aperio\nlabel")
        out.write(COLOUR, photometric="rgb", subfiletype=9, compression="jpeg", description="Aperio\nmacro", **STRIPS)
    if tagged and ycbcr:
        with tifffile.TiffFile(path, mode="r+") as tif:
            for number in (0, 2):
                tif.pages[number].tags[262].overwrite(6)
    data = path.read_bytes()
    assert levels_of(data) == [(53, 75), (14, 19)]
    for number, original in enumerate((stored, halved(stored, 2))):
        if ycbcr:
            expected = np.array(Image.frombytes("YCbCr", original.shape[1::-1], original.tobytes()).convert("RGB"))
        else:
            expected = tifffile.imread(path, level=number)
        np.testing.assert_array_equal(assembled(data, number), expected)
        assert abs(expected.astype(int) - halved(COLOUR, 2 * number)).mean() < 10


def test_a_turned_image_is_read_whole() -> None:
    assert tiff.read_index(io.BytesIO(written(COLOUR, extratags=[(274, 3, 1, 6, True)])), "x") is None


def test_several_channels_are_refused_and_of_frames_the_first_counts() -> None:
    stack = np.stack([GREY, GREY[::-1]])
    for kind in ("ome", "imagej"):
        for axes, options in (("CYX", {}), ("ZYX", {})):
            tifffile.imwrite(file := io.BytesIO(), stack, **{kind: True}, metadata={"axes": axes}, **options)
            if axes == "CYX":
                assert status_of(file.getvalue()) == "unsupported"
            else:
                np.testing.assert_array_equal(assembled(file.getvalue())[..., 0], GREY)


@pytest.mark.parametrize("dtype", ["float32", "int8", "int16", "uint32", "complex64"])
def test_samples_without_a_meaning_are_refused(dtype: str) -> None:
    assert status_of(written(GREY.astype(dtype), photometric="minisblack")) == "unsupported"


def test_many_bands_and_odd_bits_are_refused() -> None:
    assert status_of(written(FOUR, photometric="minisblack", planarconfig="contig")) == "unsupported"
    assert status_of(written(DEEP[..., 0] >> 4, photometric="minisblack", bitspersample=12)) == "unsupported"
    assert status_of(written(COLOUR, photometric="cielab")) == "unsupported"


def test_what_is_cut_or_damaged_is_refused_or_whole() -> None:
    """The bytes of pixels may change, those that say where they are may not pass unnoticed and crash."""
    data = written(COLOUR, photometric="rgb", compression="deflate", **TILES)
    for length in [0, *range(4, len(data), 97), len(data) - 1]:
        assert status_of(data[:length]) in ("not_an_image", "truncated")
    for position in range(8, 8 + 2 + 12 * 16):
        try:
            tiff.read_index(io.BytesIO(data[:position] + b"\xff" + data[position + 1 :]), "x")
        except ImageError as error:
            assert error.status in images.STATUSES  # noqa: PT017


def bare(height: int, width: int, tags: dict[int, int]) -> bytes:
    """A TIFF of one page whose tags alone exist."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1, **tags}
    entries = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def test_bombs_are_not_opened() -> None:
    side = 2**31 - 1
    assert status_of(bare(side, side, {278: side, 273: 8, 279: 9, 259: 8})) == "too_large"  # one strip
    assert status_of(bare(side, side, {322: 2**16, 323: 2**16, 324: 8, 325: 9})) == "too_large"  # one tile
    assert status_of(bare(side, 2**20, {322: 16, 323: 16, 324: 8, 325: 9})) == "truncated"  # one of 2**43 tiles
    assert status_of(bare(0, 5, {278: 1, 273: 8, 279: 9})) == "truncated"
    assert status_of(bare(5, 5, {322: 0, 323: 0, 324: 8, 325: 9})) == "truncated"


def test_a_huge_image_of_small_tiles_is_none() -> None:
    tiles = (np.zeros((2**12, 2**12), np.uint8) if i == 0 else None for i in range(256))
    options = {"shape": (2**16, 2**16), "dtype": "uint8", "tile": (2**12, 2**12), "compression": "zstd"}
    (level,) = index_of(written(tiles, **options, **GREY_OPTIONS)).levels
    assert (level.height, level.width) == (2**16, 2**16)
    assert level.counts[1:].sum() == 0


def test_a_row_of_tiles_is_bounded() -> None:
    """What is held at once where an image is read from top to bottom; here 3 GB, of a small file."""
    options = {"shape": (2**10, 2**20), "dtype": "uint8", "tile": (2**10, 2**14), "compression": "zstd"}
    data = written(
        (np.zeros((2**10, 2**14), np.uint8) if i == 0 else None for i in range(64)), **options, **GREY_OPTIONS
    )
    with pytest.raises(ImageError, match="row of tiles has 1024 x 1048576 pixels") as caught:
        index_of(data)
    assert caught.value.status == "too_large"


class _Counted(io.BytesIO):
    n_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.n_bytes += len(data)
        return data


def test_an_index_costs_no_pixels() -> None:
    data = written(np.random.default_rng(0).integers(0, 255, (1000, 1000), np.uint8), tile=(128, 128), **GREY_OPTIONS)
    tiff.read_index(file := _Counted(data), "x")
    assert file.n_bytes < 10_000 < len(data) / 100
    assert not file.closed


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "cog_rgb.tif", "small_HE_levels.tiff"])
def test_files_of_other_writers(name: str, shared_data: Path) -> None:
    data = (shared_data / "slides" / name).read_bytes()
    np.testing.assert_array_equal(assembled(data), images.decode(data, name))


def test_every_level_of_other_writers(shared_data: Path) -> None:
    expected = {
        "CMU-1-Small-Region.svs": [(2967, 2220)],
        "cog_rgb.tif": [(232, 383), (116, 192)],
        "small_HE_levels.tiff": [(250, 300), (125, 150), (62, 75), (31, 37)],
    }
    for name, sizes in expected.items():
        data = (shared_data / "slides" / name).read_bytes()
        assert levels_of(data) == sizes
        for number in range(len(sizes)):
            reference = tifffile.imread(io.BytesIO(data), level=number)
            np.testing.assert_array_equal(assembled(data, number), reference)
