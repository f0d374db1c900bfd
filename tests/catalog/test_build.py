"""From entries to Parquet and back, with images broken in many ways; on a real Ray."""

import io
import json
import os
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pytest
import ray
from PIL import Image
from ray import cloudpickle

from pipelines.catalog import describe
from pipelines.catalog.build import MARKER, build_catalog, read_catalog
from pipelines.catalog.opened import open_image
from pipelines.catalog.schema import MANIFEST_NAME, SCHEMA, Entry, Manifest
from pipelines.catalog.sources import SOURCES, make_source
from pipelines.catalog.sources.labels_csv import LabelsCsv
from pipelines.errors import CatalogError
from pipelines.lost import LOST, MAX_RETRIES
from pipelines.storage import images as images_
from pipelines.storage import objects, ranges
from pipelines.storage.patches import ImageRef, PatchReader

GOOD = ("a b.jpg", "a%20b.png", "plain 100%.png", "sub/ünï#.webp", "z=1.bmp")
VIEW = (6, 8)


def float_tiff() -> bytes:
    Image.fromarray(np.ones((4, 4), np.float32)).save(buffer := io.BytesIO(), "tiff")
    return buffer.getvalue()


def cut_png() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).save(buffer := io.BytesIO(), "png")
    return buffer.getvalue()[:-2000]


BROKEN = {
    "broken/cut.png": (cut_png(), "truncated"),
    "broken/empty.jpg": (b"", "empty"),
    "broken/float.tiff": (float_tiff(), "unsupported"),
    "broken/page.jpg": (b"<html>404</html>", "not_an_image"),
}
STATUS = dict.fromkeys(GOOD, "ok") | {name: status for name, (_, status) in BROKEN.items()} | {"gone.jpg": "missing"}


@dataclass(frozen=True)
class Listed:
    """A source of given entries."""

    listed: tuple[Entry, ...]
    classes: tuple[str, ...] = ("cat", "dog")
    view_size: tuple[int, int] = VIEW

    def entries(self) -> list[Entry]:
        return list(self.listed)


def labelled_images(folder: str, write_images: Callable[..., None]) -> LabelsCsv:
    """Good and broken images, and labels for all of them and one more."""
    write_images(folder, *GOOD)
    for name, (data, _) in BROKEN.items():
        objects.write_bytes(f"{folder}/{name}", data)
    lines = [f"{name},{'dog' if i % 2 else 'cat'},{'test' if i == 4 else 'train'}" for i, name in enumerate(STATUS)]
    objects.write_bytes(f"{folder}/labels.csv", "\n".join(["image,label,split", *lines]).encode())
    return LabelsCsv(folder, f"{folder}/labels.csv")


def parquet(out: str) -> pa.Table:
    filesystem, path = objects.arrow_filesystem(out)
    return pads.dataset(path, filesystem=filesystem).to_table()


def check(out: str, source: LabelsCsv, manifest: Manifest) -> None:
    """Rows, schema, views and patches, as a trainer sees them."""
    assert Manifest.read(out) == manifest
    table = parquet(out)
    assert table.schema.remove_metadata() == SCHEMA
    rows = {row["image_id"]: row for row in table.to_pylist()}
    assert {name: row["status"] for name, row in rows.items()} == STATUS
    for name, row in rows.items():
        assert bool(row["reason"]) == (name not in GOOD)
        assert (len(row["view"]), row["height"], row["width"]) == ((6 * 8 * 3, 12, 16) if name in GOOD else (0, 0, 0))
    for name in GOOD:
        row, uri = rows[name], rows[name]["uri"]
        pixels = images_.decode(objects.read_bytes(uri), uri)
        stored = ranges.stat(uri)
        assert (row["n_bytes"], row["etag"], row["layout"]) == (stored.size, stored.etag, "whole")
        assert row["view"] == images_.make_view(pixels, VIEW).tobytes()
    ref = ImageRef(**{field: rows["a b.jpg"][field] for field in ImageRef.__slots__})
    assert PatchReader(4).read([ref], np.full((1, 1, 2), 6))[1].all()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_local")
class TestBuild:
    def test_every_image_is_a_row_and_every_broken_one_says_why(self, tmp_path: Path, write_images) -> None:
        source = labelled_images(f"{tmp_path}/the images a=b", write_images)
        out = f"{tmp_path}/split=1/my catalog 100%"
        manifest = build_catalog(source, out, view_size=VIEW)
        check(out, source, manifest)
        assert (manifest.classes, manifest.view_size) == (("cat", "dog"), VIEW)
        assert manifest.images_by("status") == {
            "empty": 1, "missing": 1, "not_an_image": 1, "ok": 5, "truncated": 1, "unsupported": 1,
        }  # fmt: skip
        assert manifest.images_by("split", status="ok") == {"test": 1, "train": 4}
        assert manifest.images_by("label", status="ok", split="train") == {0: 2, 1: 2}

    def test_reading_gives_the_readable_rows_of_the_splits(self, tmp_path: Path, write_images) -> None:
        out = f"{tmp_path}/catalog"
        build_catalog(labelled_images(f"{tmp_path}/images", write_images), out, view_size=VIEW)
        (row,) = read_catalog(out, splits=["test"]).take_all()
        assert (row["image_id"], list(row)) == (GOOD[4], SCHEMA.names)
        with pytest.raises(CatalogError, match="'val'"):
            read_catalog(out, splits=["train", "val"])

    def test_many_rows_keep_their_order_in_small_blocks(self, tmp_path: Path, write_images) -> None:
        write_images(tmp_path / "images", "one.png")
        uri, names = f"{tmp_path}/images/one.png", [f"{i}" for i in range(150)]
        boxes = ((0.5, 1.0, 2.0, 3.0),)
        source = Listed(tuple(Entry(image_id=name, uri=uri, label=0, split="train", boxes=boxes) for name in names))
        build_catalog(source, f"{tmp_path}/catalog")
        rows = read_catalog(f"{tmp_path}/catalog").materialize()
        assert rows.num_blocks() >= 3
        found = rows.take_all()
        assert [row["image_id"] for row in found] == names
        assert found[0]["boxes"] == [{"y0": 0.5, "x0": 1.0, "y1": 2.0, "x1": 3.0}]

    def test_a_limit_is_spread_over_the_source(self, tmp_path: Path, write_images) -> None:
        write_images(tmp_path / "images", *(f"{i}.png" for i in range(10)))
        build_catalog(LabelsCsv(f"{tmp_path}/images"), f"{tmp_path}/catalog", limit=4)
        assert parquet(f"{tmp_path}/catalog")["image_id"].to_pylist() == ["0.png", "2.png", "5.png", "7.png"]

    def test_only_a_finished_catalog_is_one(self, tmp_path: Path, write_images) -> None:
        source, out = labelled_images(f"{tmp_path}/images", write_images), f"{tmp_path}/catalog"
        with pytest.raises(CatalogError, match="not a catalog"):
            read_catalog(out)
        build_catalog(source, out, view_size=VIEW)
        with pytest.raises(CatalogError, match="not empty"):
            build_catalog(source, out, view_size=VIEW)
        objects.write_bytes(f"{out}/notes.txt", b"mine")
        again = build_catalog(source, out, view_size=VIEW, overwrite=True)
        assert objects.read_bytes(f"{out}/notes.txt") == b"mine"
        (Path(out) / "notes.txt").unlink()
        check(out, source, again)
        objects.delete([f"{out}/{MANIFEST_NAME}"])
        with pytest.raises(CatalogError, match="not empty, and no catalog"):
            build_catalog(source, out, view_size=VIEW, overwrite=True)
        objects.write_bytes(f"{out}/{MARKER}", b"")  # as after an interruption
        with pytest.raises(CatalogError, match="--overwrite"):
            read_catalog(out)
        check(out, source, build_catalog(source, out, view_size=VIEW, overwrite=True))

    @pytest.mark.s3
    def test_a_bucket_in_and_out(self, s3: str, write_images) -> None:
        source, out = labelled_images(f"{s3}/the images", write_images), f"{s3}/my catalog 100%"
        check(out, source, build_catalog(source, out, view_size=VIEW))
        assert [row["image_id"] for row in read_catalog(out).take_all()] == list(GOOD)
        with pytest.raises(CatalogError, match="not empty"):
            build_catalog(source, out)
        check(out, source, build_catalog(source, out, view_size=VIEW, overwrite=True))
        tiled, into = f"{s3}/tiled catalog", f"{s3}/pyramids"
        manifest = build_catalog(source, tiled, view_size=VIEW, convert=into, codec="zstd", checksums=True)
        assert manifest.images_by("layout", status="ok") == {"tiles": len(GOOD)}
        assert sorted(row["uri"] for row in read_catalog(tiled).take_all()) == objects.list_uris(into)
        rows = [parquet(where).select(["image_id", "view", "status"]).to_pylist() for where in (out, tiled)]
        assert rows[0] == rows[1]


def test_sources_that_cannot_make_a_catalog(tmp_path: Path) -> None:
    entry = Entry(image_id="same", uri="x.png")
    with pytest.raises(CatalogError, match="no images"):
        build_catalog(Listed(()), f"{tmp_path}/catalog")
    with pytest.raises(CatalogError, match="two images are called 'same'"):
        build_catalog(Listed((entry, entry)), f"{tmp_path}/catalog")
    with pytest.raises(CatalogError, match="no pixels"):
        build_catalog(Listed((entry,)), f"{tmp_path}/catalog", view_size=(0, 5))
    assert not ray.is_initialized() or not objects.exists(f"{tmp_path}/catalog")


def test_an_image_that_kills_its_process_is_alone_unreadable(
    ray_local: None, tmp_path: Path, write_images, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, deaths = [f"{i}.png" for i in range(12)], tmp_path / "deaths"
    write_images(tmp_path / "in", *names)
    deaths.mkdir()

    def deadly(uri: str, *rest: object) -> object:
        if uri.endswith("/3.png"):
            (deaths / uuid.uuid4().hex).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return open_image(uri, *rest)

    monkeypatch.setattr(describe, "open_image", deadly)
    cloudpickle.register_pickle_by_value(describe)  # so that the change is there in other processes too
    try:
        build_catalog(LabelsCsv(f"{tmp_path}/in"), f"{tmp_path}/out", view_size=VIEW)
    finally:
        cloudpickle.unregister_pickle_by_value(describe)
    rows = parquet(f"{tmp_path}/out").sort_by("image_id").to_pylist()
    assert {row["image_id"] for row in rows} == set(names)
    assert {row["image_id"]: row["reason"] for row in rows if row["status"] != "ok"} == {"3.png": LOST}
    assert len(list(deaths.iterdir())) == 2 * (1 + MAX_RETRIES)  # in its block, then alone


@pytest.mark.parametrize("convert", ["{}/in/tiled", "{}/in/tiled/", "{}/in"])
def test_pyramids_are_not_made_of_pyramids(tmp_path: Path, write_images, convert: str) -> None:
    write_images(tmp_path / "in/tiled", "a.png")
    with pytest.raises(CatalogError, match=r"holds images of the source, as .*a\.png"):
        build_catalog(LabelsCsv(f"{tmp_path}/in"), f"{tmp_path}/out", convert=convert.format(tmp_path))
    assert not objects.exists(f"{tmp_path}/out")


def test_pyramids_stay_in_their_folder(tmp_path: Path, write_images) -> None:
    write_images(tmp_path, "in/a.png", "b.png")
    (tmp_path / "labels.csv").write_text("image,label\na.png,1\n../b.png,2\n")
    source = LabelsCsv(f"{tmp_path}/in", f"{tmp_path}/labels.csv")
    with pytest.raises(CatalogError, match=r"\.\./b\.png: its name leads out"):
        build_catalog(source, f"{tmp_path}/out", convert=f"{tmp_path}/tiled")
    assert not objects.exists(f"{tmp_path}/out")


def test_other_catalogs_below_are_not_mixed_in(tmp_path: Path) -> None:
    objects.write_bytes(f"{tmp_path}/runs/catalog/x.parquet", b"")
    with pytest.raises(CatalogError, match="other Parquet files"):
        build_catalog(Listed((Entry(image_id="x", uri="x.png"),)), f"{tmp_path}/runs", overwrite=True)
    assert objects.exists(f"{tmp_path}/runs/catalog/x.parquet")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"classes": 3}'])
def test_a_damaged_sidecar(tmp_path: Path, content: bytes) -> None:
    objects.write_bytes(f"{tmp_path}/{MANIFEST_NAME}", content)
    with pytest.raises(CatalogError, match="cannot be understood"):
        Manifest.read(str(tmp_path))


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    counts = ({"split": "train", "label": 0, "status": "ok", "images": 3, "bytes": 7},)
    manifest = Manifest(source="s", classes=("ü", "b"), view_size=(2, 3), created_by="x", counts=counts)
    manifest.write(str(tmp_path))
    assert Manifest.read(str(tmp_path)) == manifest


def test_a_catalog_of_another_format_says_to_build_it_again(tmp_path: Path) -> None:
    for version in ({}, {"format_version": 3}):
        sidecar = {"source": "s", "classes": [], "view_size": [2, 3], "created_by": "x", "counts": []} | version
        objects.write_bytes(f"{tmp_path}/{MANIFEST_NAME}", json.dumps(sidecar).encode())
        with pytest.raises(CatalogError, match=r"of format [13].* Build it again"):
            Manifest.read(str(tmp_path))


def test_sources_by_name(tmp_path: Path) -> None:
    assert make_source("labels_csv", images="x", labels=None, seed=3) == LabelsCsv("x", None, 3)
    assert make_source("speed_limits", images="x", seed=3) == SOURCES["speed_limits"]("x")
    for name, options, reason in (
        ("nosuch", {}, "none of this name"),
        ("gtsdb", {"images": "x", "labels": "y"}, "no option 'labels'"),
        ("gtsdb", {"images": None}, "needs 'images'"),
    ):
        with pytest.raises(CatalogError, match=reason):
            make_source(name, **options)
