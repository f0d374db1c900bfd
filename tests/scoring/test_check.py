"""What headers tell of images before they are scored."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image

from pipelines.catalog.build import LARGE
from pipelines.catalog.schema import Entry
from pipelines.scoring import check as module
from pipelines.scoring.check import CHECKS, FINDINGS, MIN_ROWS, Checked, check
from pipelines.storage import images, objects
from pipelines.storage.headers import Header, read_header

PATCH, VIEW = 50, (20, 30)


def encoded(kind: str, height: int, width: int, mode: str = "RGB", **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


def block_of(*uris: str, patch_size: int = PATCH, view_size: tuple[int, int] = VIEW) -> pa.Table:
    images = pa.table({"number": range(len(uris)), "image_id": [u.rsplit("/", 1)[-1] for u in uris], "uri": uris})
    return module._check_block(images, patch_size, view_size).select(CHECKS.names)


def row_of(uri: str, **options: Any) -> dict[str, Any]:
    (row,) = block_of(uri, **options).to_pylist()
    return row


def tiled(path: Path, height: int, width: int, *levels: int, tile: int = 64) -> str:
    """A TIFF of flat tiles and reduced copies, each smaller by such a factor."""
    shape = (height, width, 3)
    options = {"photometric": "rgb", "tile": (tile, tile), "compression": "zlib"}
    with tifffile.TiffWriter(path) as file:
        file.write(np.zeros(shape, np.uint8), subifds=len(levels), **options)
        for level in levels:
            file.write(np.zeros((height // level, width // level, 3), np.uint8), subfiletype=1, **options)
    return str(path)


def test_findings_of_each_kind(tmp_path: Path) -> None:
    made = {
        "fine.jpg": encoded("JPEG", 60, 90),
        "progressive.jpg": encoded("JPEG", 60, 90, progressive=True),
        "low.png": encoded("PNG", PATCH - 1, 90),
        "narrow.png": encoded("PNG", 90, PATCH - 1),
        "cmyk.jpg": encoded("JPEG", 60, 90, "CMYK"),
        "large.ppm": b"P6 2001 1000 255\n" + bytes(2001 * 1000 * 3),
        "break even.ppm": b"P6 2000 1000 255\n" + bytes(2000 * 1000 * 3),
        "all three.jpg": encoded("JPEG", PATCH - 1, 41_000, progressive=True),
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    rows = block_of(*(f"{tmp_path}/{name}" for name in made)).to_pylist()
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["image_id"]: row["findings"] for row in rows} == {
        "fine.jpg": [],
        "progressive.jpg": ["progressive"],
        "low.png": ["too_small"],
        "narrow.png": ["too_small"],
        "cmyk.jpg": [],
        "large.ppm": ["untiled"],
        "break even.ppm": [],
        "all three.jpg": ["untiled", "progressive", "too_small"],
    }
    large = rows[5]
    assert (large["height"], large["width"], large["format"], large["layout"]) == (1000, 2001, "PPM", "whole")
    assert (large["patch_bytes"], large["patch_pixels"]) == (large["n_bytes"], 2001 * 1000)
    assert large["view_pixels"] == 2001 * 1000


def test_an_image_smaller_than_the_view_is_too_small(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encoded("PNG", 60, 90))
    assert row_of(f"{tmp_path}/x.png", patch_size=9, view_size=(60, 90))["findings"] == []
    assert row_of(f"{tmp_path}/x.png", patch_size=9, view_size=(60, 91))["findings"] == ["too_small"]


def test_strips_are_untiled_and_cost_those_that_a_patch_touches(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((1000, 2500), np.uint8), rowsperstrip=100, compression=None)
    row = row_of(f"{tmp_path}/x.tif", patch_size=101)
    assert (row["layout"], row["findings"]) == ("strips", ["untiled"])
    assert row["patch_pixels"] == row["patch_bytes"] == 2 * 100 * 2500


def test_a_patch_costs_the_tiles_that_it_touches_on_average(tmp_path: Path) -> None:
    uri = tiled(tmp_path / "x.tif", 640, 640)
    touched = np.mean([(start + PATCH - 1) // 64 - start // 64 + 1 for start in range(64)]) ** 2
    with tifffile.TiffFile(uri) as file:
        counts = file.pages.first.databytecounts
    row = row_of(uri)
    assert (row["patch_pixels"], row["patch_bytes"]) == (round(touched * 64 * 64), round(touched * np.mean(counts)))


def test_a_patch_touches_no_more_tiles_than_there_are(tmp_path: Path) -> None:
    row = row_of(tiled(tmp_path / "x.tif", 60, 100))
    assert row["patch_pixels"] == round((1 + (PATCH - 1) / 64) * 64 * 64)


def test_views_of_large_images_need_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 100_000)
    found = {}
    for levels in ((), (2,), (2, 4), (4,)):
        row = row_of(tiled(tmp_path / "x.tif", 640, 960, *levels))
        assert (row["layout"], row["height"], row["width"]) == ("tiles", 640, 960)
        found[levels] = row["view_pixels"], row["findings"]
    assert found == {
        (): (640 * 960, ["no_levels"]),
        (2,): (320 * 480, ["no_levels"]),
        (2, 4): (160 * 240, []),
        (4,): (160 * 240, []),
    }
    monkeypatch.setattr(module, "LARGE", LARGE)
    assert row_of(tiled(tmp_path / "x.tif", 640, 960))["findings"] == []


def test_what_cannot_be_scored(tmp_path: Path) -> None:
    png = encoded("PNG", 60, 90)
    tifffile.imwrite(whole := io.BytesIO(), np.zeros((200, 200), np.uint8), tile=(64, 64))
    made = {
        "cut.jpg": encoded("JPEG", 60, 90)[:-100],
        "cut.tif": whole.getvalue()[:-1],
        "cut.png": png[: len(png) // 2],
        "header.png": png[:20],
        "text.jpg": b"not an image, but text",
        "empty.jpg": b"",
        "bomb.ppm": b"P6 20000 20000 255\n" + bytes(99),
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    rows = block_of(*(f"{tmp_path}/{name}" for name in [*made, "missing.jpg"])).to_pylist()
    assert {row["image_id"]: row["status"] for row in rows} == {
        "cut.jpg": "truncated",
        "cut.tif": "truncated",
        "cut.png": "truncated",
        "header.png": "truncated",
        "text.jpg": "not_an_image",
        "empty.jpg": "empty",
        "bomb.ppm": "too_large",
        "missing.jpg": "missing",
    }
    for row in rows:
        assert row["reason"]
        assert row["status"] in images.STATUSES
        assert (row["height"], row["n_bytes"], row["findings"], row["layout"]) == (0, 0, [], "")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (MemoryError("9 GB"), "too_large", "out of memory: 9 GB"),
        (ZeroDivisionError("a header of no size"), "unreadable", "ZeroDivisionError: a header of no size"),
    ],
)
def test_what_no_reader_refuses_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, reason: str
) -> None:
    def read(uri: str, *_: object) -> Header:
        if uri == "bad.png":
            raise error
        return read_header(uri, *_)

    (tmp_path / "good.png").write_bytes(encoded("PNG", 60, 90))
    monkeypatch.setattr(module, "read_header", read)
    bad, good = block_of("bad.png", str(tmp_path / "good.png")).to_pylist()
    assert (bad["status"], bad["reason"], good["status"]) == (status, reason, "ok")


def test_a_table_has_each_code_once_with_its_remedy(tmp_path: Path) -> None:
    made = {
        "a.jpg": encoded("JPEG", 60, 90),
        "b.jpg": encoded("JPEG", 60, 90, progressive=True),
        "c.jpg": encoded("JPEG", 9, 9, progressive=True),
        "d.ppm": b"P6 3000 1000 255\n" + bytes(3000 * 1000 * 3),
        "e.ppm": b"P6 5000 1000 255\n" + bytes(5000 * 1000 * 3),
        "f.jpg": b"",
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    lines = Checked(block_of(*(f"{tmp_path}/{name}" for name in [*made, "no.jpg"]))).table().splitlines()
    assert lines[0] == "7 images, 1 of them with nothing to be said against"
    assert [line.split()[:2] for line in lines[1:-1:3]] == [
        ["empty", "1"],
        ["missing", "1"],
        ["progressive", "2"],
        ["untiled", "2"],
        ["too_small", "1"],
    ]
    assert "cannot be scored: there is no such object" in lines[4]
    assert "reading 12.0 MB and decoding 4.0 MP" in lines[10]
    names = ["f.jpg", "no.jpg", "b.jpg", "d.ppm", "c.jpg"]
    assert [line.strip() for line in lines[2:-1:3]] == [f"{tmp_path}/{name}" for name in names]
    remedies = [images.image_error("", code, "").remedy for code in ("empty", "missing")]
    remedies += [FINDINGS[code][1] for code in ("progressive", "untiled", "too_small")]
    assert [line.strip() for line in lines[3:-1:3]] == remedies
    assert lines[-1].startswith("a header took ")


def test_nothing_to_be_said(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(encoded("JPEG", 60, 90))
    first, last = Checked(block_of(f"{tmp_path}/x.jpg")).table().splitlines()
    assert first == "1 images, 1 of them with nothing to be said against"
    assert last == f"a header took 2.0 requests and {(tmp_path / 'x.jpg').stat().st_size / 1e3:.1f} kB"


NAMES = ["a b.jpg", 'it\'s "q".jpg', "100 %.jpg", "%41.jpg", "größe 画像.jpg", "a#b?c.jpg", "x..y.jpg"]


def test_a_bucket_is_checked_by_ray(ray_local: None, s3: str) -> None:
    names = NAMES + [f"{n}.jpg" for n in range(2 * MIN_ROWS)]
    large = encoded("JPEG", 1100, 2000, quality=95)
    for name in names:
        objects.write_bytes(objects.join(s3, "images", name), large if name in NAMES else b"x" * 20)
    entries = [Entry(image_id=name, uri=objects.join(s3, "images", name)) for name in [*names, "missing.jpg"]]
    checked = check(entries, patch_size=PATCH, view_size=VIEW, out=f"{s3}/out dir")
    rows = checked.rows
    assert rows.schema == CHECKS
    assert rows["image_id"].to_pylist() == [*names, "missing.jpg"]
    statuses = ["ok"] * len(NAMES) + ["not_an_image"] * (len(names) - len(NAMES)) + ["missing"]
    assert rows["status"].to_pylist() == statuses
    whole = rows.slice(0, len(NAMES)).to_pylist()
    assert len(large) > 2_000_000
    assert {row["n_bytes"] for row in whole} == {len(large)}
    assert all(row["findings"] == ["untiled"] and row["requests"] == 3 for row in whole)
    assert all(row["bytes_read"] < 2**16 for row in whole)
    stored = objects.read_bytes(f"{s3}/out dir/check.parquet")
    assert pq.read_table(io.BytesIO(stored)).equals(rows)
