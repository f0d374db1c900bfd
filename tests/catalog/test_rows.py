"""A catalog row for each image, made in this process: converted, refused, counted."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile

from pipelines.catalog import describe as describe_
from pipelines.catalog.build import large_and_whole
from pipelines.catalog.describe import describe
from pipelines.catalog.opened import open_image
from pipelines.catalog.schema import SCHEMA
from pipelines.storage import images as images_
from pipelines.storage import objects, ranges
from pipelines.storage.tiff import TiffIndex

VIEW = (6, 8)


def rows_of(*uris: str, **options: Any) -> list[dict[str, Any]]:
    """Catalog rows, made in this process."""
    own = {"label": -1, "split": "", "group": "", "boxes": []}
    entries = [{"image_id": uri.rsplit("/", 1)[1], "uri": uri} | own for uri in uris]
    return describe(pa.Table.from_pylist(entries), VIEW, **options).to_pylist()


@pytest.mark.parametrize("into", ["memory://test_build_convert", "{}/pyramids"])
def test_a_converted_image_is_the_row_of_its_pyramid(tmp_path: Path, write_images, into: str) -> None:
    write_images(tmp_path / "from", "x.png", "x.bmp", "cut.png", height=40, width=50)
    uris, into = [f"{tmp_path}/from/{name}" for name in ("x.png", "x.bmp", "cut.png")], into.format(tmp_path)
    objects.write_bytes(uris[2], objects.read_bytes(uris[2])[:-200])
    *good, bad = rows_of(*uris, convert=into, codec="zstd", checksums=True)
    for row, uri, plain in zip(good, uris, rows_of(*uris), strict=False):
        target = f"{into}/{row['image_id']}.tif"
        stored = ranges.stat(target)
        assert (row["uri"], row["etag"], row["n_bytes"]) == (target, stored.etag, stored.size)
        assert (row["source_uri"], row["layout"], row["status"]) == (uri, "tiles", "ok")
        (level,) = TiffIndex.loads(row["index"]).levels
        assert (level.height, level.width, level.tile, len(level.checksums)) == (40, 50, (256, 256), 1)
        assert (plain["source_uri"], plain["layout"], plain["index"]) == ("", "whole", b"")
        assert {name: row[name] for name in ("view", "height", "width")} == {
            name: plain[name] for name in ("view", "height", "width")
        }
    assert (bad["uri"], bad["status"], bad["source_uri"]) == (uris[2], "truncated", "")
    assert objects.list_uris(into) == sorted(row["uri"] for row in good)
    again = rows_of(*uris, convert=into, codec="zstd")
    assert [row["etag"] for row in again] == [row["etag"] for row in (*good, bad)]  # nothing was written
    objects.delete(objects.list_uris(into))


def test_a_row_counts_what_is_read_from_storage_alone(tmp_path: Path, write_images) -> None:
    """Two stats and the bytes of the source, a stat of what may be there before, and one of what is there after."""
    write_images(tmp_path, "x.png")
    uri, into = f"{tmp_path}/x.png", "memory://test_build_counts"
    first, again = (rows_of(uri, convert=into)[0] for _ in range(2))
    target = objects.stat(f"{into}/x.png.tif").size
    assert (first["requests"], first["bytes_read"]) == (5, objects.stat(uri).size)
    assert again["bytes_read"] >= target  # in place: it is the storage that is read
    objects.delete(objects.list_uris(into))


def test_what_needs_more_memory_than_there_is_makes_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its one tile is said to have 256 TiB."""
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((16, 16), np.uint8), tile=(16, 16), photometric="minisblack")
    monkeypatch.setattr(images_, "MAX_PIXELS", 2**60)
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+") as tif:
        for tag in ("ImageLength", "ImageWidth", "TileLength", "TileWidth"):
            tif.pages.first.tags[tag].overwrite(2**24)
    (row,) = rows_of(f"{tmp_path}/x.tif")
    assert (row["status"], row["layout"]) == ("too_large", "")
    assert "TiB" in row["reason"]


def test_a_target_that_cannot_be_written_is_no_row(tmp_path: Path, write_images) -> None:
    """The disk is full after 1000 bytes."""
    write_images(tmp_path, "x.png", height=90, width=90)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            rows_of(f"{tmp_path}/x.png", convert=f"{tmp_path}/out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tiff_is_catalogued_with_its_index(tmp_path: Path) -> None:
    pixels = np.arange(40 * 50 * 3).reshape(40, 50, 3).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, tile=(16, 16), photometric="rgb")
    (row,) = rows_of(f"{tmp_path}/x.tif")
    (level,) = TiffIndex.loads(row["index"]).levels
    assert (row["layout"], row["height"], row["width"], row["channels"]) == ("tiles", 40, 50, 3)
    assert (level.tile, len(level.offsets), level.checksums) == ((16, 16), 12, None)
    assert row["view"] == images_.make_view(pixels, VIEW).tobytes()


def test_large_images_that_are_stored_whole_are_found(tmp_path: Path, write_images) -> None:
    write_images(tmp_path, "small.png")
    write_images(tmp_path, "large.png", height=20, width=30)
    tifffile.imwrite(tmp_path / "tiled.tif", np.zeros((40, 50, 3), np.uint8), tile=(16, 16), photometric="rgb")
    rows = rows_of(*(f"{tmp_path}/{name}" for name in ("small.png", "large.png", "tiled.tif", "gone.png")))
    (tmp_path / "catalog").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), tmp_path / "catalog/x.parquet")
    (found,) = large_and_whole(f"{tmp_path}/catalog", pixels=20 * 30 - 1).to_pylist()
    assert found == {"n_bytes": (tmp_path / "large.png").stat().st_size, "height": 20, "width": 30}
    assert len(large_and_whole(f"{tmp_path}/catalog")) == 0


def test_rows_have_the_schema_whatever_they_hold() -> None:
    """A column that is all empty in one file must not change its type: the directory could not be read."""
    entry = {"image_id": "x", "uri": "/nowhere/x.jpg", "label": -1, "split": "", "group": "", "boxes": []}
    rows = describe(pa.Table.from_pylist([entry]), VIEW)
    assert rows.schema == SCHEMA
    assert rows.to_pylist()[0]["status"] == "missing"
    assert all(value is not None for value in rows.to_pylist()[0].values())


def test_what_nobody_foresaw_costs_the_row_of_one_image(
    tmp_path: Path, write_images, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, "a.png", "b.png")

    def opened(uri: str, *rest: object) -> object:
        if uri.endswith("a.png"):
            raise ZeroDivisionError("a header of no size")
        return open_image(uri, *rest)

    monkeypatch.setattr(describe_, "open_image", opened)
    rows = rows_of(*(f"{tmp_path}/{name}" for name in ("a.png", "b.png")))
    assert [(row["status"], row["reason"]) for row in rows] == [
        ("unreadable", "ZeroDivisionError: a header of no size"),
        ("ok", ""),
    ]
