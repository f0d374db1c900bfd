"""Tile by tile, every variant of TIFF gives the pixels of a plain decode."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

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
    decoded,
    index_of,
    scene,
    status_of,
    written,
)

DIMMED = np.concatenate([FOUR[..., :3] // 4, FOUR[..., 3:]], axis=2)  # colours multiplied by alpha are below it
PALETTE = np.random.default_rng(1).integers(0, 2**16, (3, 256)).astype(np.uint16)
PLANAR = {"photometric": "rgb", "planarconfig": "separate"}


def variants() -> dict[str, tuple[np.ndarray, dict[str, object]]]:
    rgb: dict[str, object] = {"photometric": "rgb"}
    grey_alpha = {**GREY_OPTIONS, "planarconfig": "contig"}
    found: dict[str, tuple[np.ndarray, dict[str, object]]] = {
        "rgb differences": (COLOUR, {**rgb, "compression": "deflate", "predictor": 2}),
        "jpeg 4:4:4": (COLOUR, {**rgb, "compression": "jpeg", "subsampling": (1, 1)}),
        "jpeg 4:2:2": (COLOUR, {**rgb, "compression": "jpeg", "subsampling": (2, 1)}),
        "jpeg 4:2:0": (COLOUR, {**rgb, "compression": "jpeg", "subsampling": (2, 2)}),
        "jpeg rgb": (COLOUR, {**rgb, "compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}}),
        "jpeg grey": (GREY, {**GREY_OPTIONS, "compression": "jpeg"}),
        "jpeg cmyk": (FOUR, {"photometric": "separated", "compression": "jpeg"}),
        "grey": (GREY, GREY_OPTIONS),
        "min is white": (GREY, {"photometric": "miniswhite"}),
        "alpha": (FOUR, {**rgb, "extrasamples": ["unassalpha"]}),
        "alpha multiplied": (DIMMED, {**rgb, "extrasamples": ["assocalpha"]}),
        "unused sample": (FOUR, {**rgb, "extrasamples": ["unspecified"]}),
        "grey alpha": (FOUR[..., :2], {**grey_alpha, "extrasamples": ["unassalpha"]}),
        "grey unused": (FOUR[..., :2], {**grey_alpha, "extrasamples": ["unspecified"]}),
        "deep alpha": (DEEP, {**rgb, "extrasamples": ["unassalpha"]}),
        "deep multiplied": (DEEP // np.uint16([4, 4, 4, 1]), {**rgb, "extrasamples": ["assocalpha"]}),
        "palette": (GREY, {"photometric": "palette", "colormap": PALETTE}),
        "cmyk": (FOUR, {"photometric": "separated"}),
        "ycbcr": (COLOUR, {"photometric": "ycbcr"}),
        "1 bit": (GREY > 127, GREY_OPTIONS),
        "1 bit deflate": (GREY > 127, {**GREY_OPTIONS, "compression": "deflate"}),
        "1 bit min is white": (GREY > 127, {"photometric": "miniswhite"}),
        "2 bits": (GREY >> 6, {**GREY_OPTIONS, "bitspersample": 2}),
        "4 bits": (GREY >> 4, {**GREY_OPTIONS, "bitspersample": 4}),
        "planar": (np.moveaxis(COLOUR, -1, 0), PLANAR),
        "planar deflate": (np.moveaxis(COLOUR, -1, 0), {**PLANAR, "compression": "deflate", "predictor": 2}),
        "planar jpeg": (np.moveaxis(COLOUR, -1, 0), {**PLANAR, "compression": "jpeg"}),
        "planar deep": (np.moveaxis(DEEP[..., :3], -1, 0), {**PLANAR, "compression": "zstd", "predictor": 2}),
    }
    for codec in (None, "lzw", "deflate", "zstd", "packbits", "lzma"):
        found[f"rgb {codec}"] = COLOUR, {**rgb, "compression": codec}
    for order in "<>":
        for big in (False, True):
            file = {"byteorder": order, "bigtiff": big, "compression": "lzw"}
            found[f"deep rgb {order}{big}"] = DEEP[..., :3], {**rgb, **file, "predictor": 2}
            found[f"deep grey {order}{big}"] = DEEP[..., 0], {**GREY_OPTIONS, **file}
    return found


VARIANTS = variants()
NOT_BY_PILLOW = {"deep rgb >True", "deep grey >True"}  # it knows no big-endian BigTIFF


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_every_variant_gives_the_pixels_of_a_plain_decode(name: str, layout: dict[str, object]) -> None:
    pixels, options = VARIANTS[name]
    data = written(pixels, **options, **layout)
    stored = tifffile.imread(io.BytesIO(data))
    stored = np.moveaxis(stored, 0, -1) if name.startswith("planar") else np.atleast_3d(stored)
    np.testing.assert_array_equal(assembled(data, rgb=False), stored)
    if name in NOT_BY_PILLOW:
        data = written(pixels, **options | {"bigtiff": False}, **layout)
    np.testing.assert_array_equal(assembled(data), images.decode(data, "x"))


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
@pytest.mark.parametrize("codec", ["jpeg2000", "webp", "lerc", "png", "jpegxl"])
def test_codecs_that_pillow_cannot_read(codec: str, layout: dict[str, object]) -> None:
    data = written(COLOUR, photometric="rgb", compression=codec, **layout)
    np.testing.assert_array_equal(assembled(data), tifffile.imread(io.BytesIO(data)))


PILLOW = {
    "jpeg": ("RGB", {"compression": "jpeg", "quality": 80}),
    "group 4": ("1", {"compression": "group4"}),
    "group 3": ("1", {"compression": "group3"}),
    "deflate differences": ("RGB", {"compression": "tiff_adobe_deflate", "tiffinfo": {317: 2}}),
    "palette": ("P", {"compression": "tiff_lzw"}),
    "alpha": ("RGBA", {"compression": "packbits"}),
    "cmyk": ("CMYK", {}),
    "deep": ("I;16", {"compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("name", PILLOW)
def test_what_pillow_writes(name: str) -> None:
    mode, options = PILLOW[name]
    image = Image.fromarray(DEEP[..., 0]) if mode == "I;16" else Image.fromarray(COLOUR).convert(mode)
    image.save(file := io.BytesIO(), "TIFF", strip_size=4000, **options)
    np.testing.assert_array_equal(assembled(file.getvalue()), images.decode(file.getvalue(), "x"))


def test_where_pillow_departs_from_the_standard() -> None:
    deep_white = written(DEEP[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(assembled(deep_white)[..., 0], 255 - (DEEP[..., 0] >> 8))
    grey_alpha = np.stack([GREY // 4, np.maximum(FOUR[..., 3], 64)], axis=2)
    data = written(grey_alpha, **GREY_OPTIONS, planarconfig="contig", extrasamples=["assocalpha"])
    expected = grey_alpha[..., 0].astype(int) + 255 - grey_alpha[..., 1]  # what is multiplied by alpha, upon white
    assert abs(assembled(data)[..., 1] - expected).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_of_few_bits(bits: int) -> None:
    colours = np.ascontiguousarray(PALETTE[:, : 2**bits])
    options = {"bitspersample": bits, "extratags": [(320, 3, colours.size, colours.ravel(), True)]}
    pixels = GREY > 127 if bits == 1 else GREY >> (8 - bits)
    file = io.BytesIO(written(pixels, **GREY_OPTIONS, **options, **STRIPS))
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(file) as tif:
        data[tif.pages[0].tags[262].valueoffset] = 3
    np.testing.assert_array_equal(assembled(bytes(data)), (colours.T >> 8)[pixels.astype(int)])
    np.testing.assert_array_equal(assembled(bytes(data)), images.decode(bytes(data), "x"))


@pytest.mark.parametrize("tile", [(16, 16), (48, 16), (64, 80), (256, 256)])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (15, 100), (100, 17)])
def test_any_size_of_image_and_tile(size: tuple[int, int], tile: tuple[int, int]) -> None:
    pixels = scene(3, np.uint8, *size)
    data = written(pixels, photometric="rgb", tile=tile, compression="zstd")
    np.testing.assert_array_equal(assembled(data), pixels)


@pytest.mark.parametrize("stated", [None, 17])
def test_tiles_that_are_not_stored_are_nodata(stated: int | None) -> None:
    tiles = (None if i % 2 else np.full((16, 32), 9, np.uint8) for i in range(12))
    tags = [(42113, 2, 3, str(stated), True)] if stated else []
    options = {"shape": (53, 75), "dtype": "uint8", "extratags": tags, **TILES, **GREY_OPTIONS}
    data = written(tiles, **options)
    assert set(assembled(data)[:16, 32:64].ravel()) == {stated or 0}
    np.testing.assert_array_equal(assembled(data, rgb=False)[..., 0], tifffile.imread(io.BytesIO(data)))


@pytest.mark.parametrize("planar", [False, True])
def test_an_image_stored_in_one_piece_is_read_in_several(planar: bool) -> None:
    pixels = scene(3, np.uint16, 700, 400)
    stored = np.moveaxis(pixels, -1, 0) if planar else pixels
    data = written(stored, **PLANAR | ({} if planar else {"planarconfig": "contig"}))
    level = index_of(data).levels[0]
    assert max(level.counts) <= tiff.STRIP_BYTES
    assert level.grid[0] > 2
    np.testing.assert_array_equal(assembled(data), (pixels >> 8).astype(np.uint8))
    assert status_of(data[:-1]) == "truncated"


def test_a_pink_slide() -> None:
    """RGB by its tag and YCbCr by its streams: JFIF decides."""
    tiles = (imagecodecs.jpeg8_encode(np.ascontiguousarray(scene(3)[:48, :64]), level=95) for _ in range(1))
    options = {"shape": (48, 64, 3), "dtype": "uint8", "tile": (48, 64), "compression": "jpeg"}
    file = io.BytesIO(written(tiles, photometric="rgb", **options))
    with tifffile.TiffFile(file, mode="r+") as tif:
        tif.pages[0].tags[262].overwrite(2)
    np.testing.assert_array_equal(assembled(file.getvalue()), tifffile.imread(io.BytesIO(file.getvalue())))
    assert abs(assembled(file.getvalue()).astype(int) - scene(3)[:48, :64]).mean() < 8


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd", "packbits", "jpeg", "jpeg2000", "webp"])
def test_a_cut_tile_is_an_error(compression: str | None) -> None:
    data = written(COLOUR, photometric="rgb", compression=compression, **TILES)
    level = index_of(data).levels[0]
    whole = data[level.offsets[0] : level.offsets[0] + level.counts[0]]
    for part in (b"", whole[:1], whole[: len(whole) // 2], whole[: -max(3, len(whole) // 20)]):
        with pytest.raises(ValueError, match=r"."):
            tiff.decode(level, 0, [part])


def test_a_tile_beyond_memory_is_no_damage() -> None:
    level = index_of(written(GREY, **GREY_OPTIONS, **TILES)).levels[0]
    with pytest.raises(MemoryError):
        tiff.decode(replace(level, tile=(2**26, 2**26)), 0, [None])


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "deflate", "zstd"])
def test_a_tile_that_declares_more_than_its_share(compression: str) -> None:
    """An error before decoding of those that decoders would follow, of the others while decoding."""
    level = index_of(written(COLOUR, photometric="rgb", compression=compression, **TILES)).levels[0]
    options = {"compression": compression, "tile": (512, 512), "compressionargs": {}}
    if compression == "jpeg2000":
        options["compressionargs"] = {"codecformat": "j2k"}
    larger = written(np.zeros((512, 512, 3), np.uint8), photometric="rgb", **options)
    (other,) = index_of(larger).levels
    start, end = int(other.offsets[0]), int(other.offsets[0] + other.counts[0])
    with pytest.raises(ValueError, match=r"declares 512 x 512" if "jpeg" in compression else r"."):
        tiff.decode(level, 0, [larger[start:end]])


def test_images_of_one_writer_and_size_share_their_decoder() -> None:
    first, second = (
        index_of(written(p, photometric="rgb", compression="jpeg", **TILES)) for p in (COLOUR, 255 - COLOUR)
    )
    assert first.levels[0].header == second.levels[0].header
    assert len(first.levels[0].header) < 600


def test_threads_share_a_decoder() -> None:
    data = written(COLOUR, photometric="rgb", compression="jpeg", **TILES)
    level = index_of(data).levels[0]
    expected = [decoded(data, level, tile) for tile in range(12)]
    with ThreadPoolExecutor(8) as pool:
        for tile, pixels in zip(range(240), pool.map(lambda i: decoded(data, level, i % 12), range(240)), strict=True):
            np.testing.assert_array_equal(pixels, expected[tile % 12])
