"""Megapixel MNIST as a source: files that are what is rendered, a catalog that reads them in place, the jobs."""

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tifffile

from jobs import build_catalog, train_megapixel_mnist
from pipelines.catalog.describe import describe
from pipelines.catalog.schema import BOX_SIDES, Entry
from pipelines.catalog.sources.digits.layout import Layout
from pipelines.catalog.sources.gtsdb import Gtsdb
from pipelines.catalog.sources.megapixel_mnist import MARKER, TRUTH, MegapixelMNIST
from pipelines.errors import CatalogError
from pipelines.storage.images import make_view
from pipelines.storage.patches import ImageRef, PatchReader

SMALL = MegapixelMNIST(images="", side=301, n_train=5, n_test=3, n_noise=6)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> MegapixelMNIST:
    source = replace(SMALL, images=str(tmp_path_factory.mktemp("digits")))
    source.entries()
    return source


def rendered(source: MegapixelMNIST) -> Iterator[np.ndarray]:
    yield from (source.image("train", i) for i in range(source.n_train))
    yield from (source.image("test", i) for i in range(source.n_test))


def rows_of(entries: list[Entry], view_size: tuple[int, int]) -> list[dict[str, Any]]:
    """Catalog rows, made in this process."""
    boxes = ([dict(zip(BOX_SIDES, box, strict=True)) for box in entry.boxes] for entry in entries)
    table = [asdict(entry) | {"boxes": own} for entry, own in zip(entries, boxes, strict=True)]
    return describe(pa.Table.from_pylist(table), view_size).to_pylist()


def test_an_image_is_its_file(generated: MegapixelMNIST) -> None:
    entries = generated.entries()
    assert [e.image_id for e in entries] == [f"train/{i:05d}" for i in range(5)] + [f"test/{i:05d}" for i in range(3)]
    assert [e.split for e in entries] == ["train"] * 5 + ["test"] * 3
    for entry, pixels in zip(entries, rendered(generated), strict=True):
        assert (pixels.dtype, pixels.shape) == (np.uint8, (301, 301))
        np.testing.assert_array_equal(tifffile.imread(entry.uri), pixels)


def test_labels_and_boxes_are_of_the_digit_that_occurs_three_times(generated: MegapixelMNIST) -> None:
    for split in ("train", "test"):
        collage = generated.collages[split]
        for i, entry in enumerate(entry for entry in generated.entries() if entry.split == split):
            digits = collage.digits[i].tolist()
            assert digits.count(entry.label) == 3
            corners = [(y, x) for y, x, *_ in entry.boxes]
            where = zip(collage.layout.positions_N52[i].tolist(), digits, strict=True)
            assert corners == [tuple(at) for at, digit in where if digit == entry.label]
            assert {(y1 - y0, x1 - x0) for y0, x0, y1, x1 in entry.boxes} == {(28, 28)}


def test_the_catalog_reads_tiles_in_place_and_patches_are_the_pixels(generated: MegapixelMNIST) -> None:
    rows = rows_of(generated.entries(), generated.view_size)
    refs = [ImageRef(*(row[name] for name in ImageRef.__slots__)) for row in rows]
    centres = np.array([[0, 0], [150, 150], [256, 255], [300, 12], [301, 301]])
    patches, inside = PatchReader(50).read(refs, np.stack([centres] * len(refs)))
    for n, (row, pixels) in enumerate(zip(rows, rendered(generated), strict=True)):
        assert (row["layout"], row["status"], row["source_uri"]) == ("tiles", "ok", "")
        grey = np.repeat(pixels[..., None], 3, axis=-1)
        assert row["view"] == make_view(grey, (36, 36)).tobytes()
        padded = np.pad(grey, ((25, 25), (25, 25), (0, 0)))
        for k, (y, x) in enumerate(centres):
            np.testing.assert_array_equal(patches[n, k], padded[y : y + 50, x : x + 50])
    assert inside[:, 1].all()
    assert inside[:, 0].sum() == len(rows) * 25 * 25


def test_the_truth_beside_the_images_says_which_digit_lies_where(generated: MegapixelMNIST) -> None:
    rows = list(csv.DictReader(io.StringIO((Path(generated.images) / TRUTH).read_text())))
    assert len(rows) == 8 * 5
    layout, digits = generated.collages["test"].layout, generated.collages["test"].digits
    own = [row for row in rows if row["image"] == "test/00001.tif"]
    assert [int(row["digit"]) for row in own] == digits[1].tolist()
    assert [[int(row["y"]), int(row["x"])] for row in own] == layout.positions_N52[1].tolist()


def test_one_folder_serves_every_rule(generated: MegapixelMNIST) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(generated.images).rglob("*")}
    for rule in ("max", "top"):
        other = replace(generated, labels=rule)
        labels = [entry.label for entry in other.entries()]
        assert labels == [*other.collages["train"].labels(rule), *other.collages["test"].labels(rule)]
    assert before == {path: path.stat().st_mtime_ns for path in Path(generated.images).rglob("*")}


def test_ten_labels_an_image_are_had_in_memory_alone(tmp_path: Path) -> None:
    source = replace(SMALL, images=str(tmp_path / "none"), labels="multi")
    with pytest.raises(CatalogError, match="a catalog holds one"):
        source.entries()
    assert not (tmp_path / "none").exists()
    collage = source.collages["train"]
    assert collage.labels("multi").sum(axis=1).tolist() == [len(set(own)) for own in collage.digits.tolist()]


@pytest.mark.parametrize("seed", [0, 5])
def test_training_images_take_the_seed_after_that_of_the_test_images(seed: int) -> None:
    for on_top in (False, True):
        collages = replace(SMALL, seed=seed, digits_on_top=on_top).collages
        for split, n, own in (("train", 5, seed + 1), ("test", 3, seed)):
            wanted = Layout.draw(own, collages[split].pictures.labels, n, 301, 6)
            for name in Layout.__slots__:
                np.testing.assert_array_equal(getattr(collages[split].layout, name), getattr(wanted, name))


def test_the_view_follows_the_side() -> None:
    sizes = {side: replace(SMALL, side=side).view_size for side in (1500, 500, 200)}
    assert sizes == {1500: (180, 180), 500: (60, 60), 200: (24, 24)}


def test_an_interrupted_generation_is_finished(tmp_path: Path) -> None:
    source = replace(SMALL, images=str(tmp_path), n_train=1, n_test=1)
    source.entries()
    (tmp_path / TRUTH).unlink()
    (tmp_path / "test/00000.tif").write_bytes(b"half")
    (entry,) = (entry for entry in source.entries() if entry.split == "test")
    np.testing.assert_array_equal(tifffile.imread(entry.uri), source.image("test", 0))


def test_other_settings_or_other_files_are_refused(generated: MegapixelMNIST, tmp_path: Path) -> None:
    for other, said in (({"n_noise": 7}, "n_noise 6, not 7"), ({"mnist": "/x"}, "mnist False, not True")):
        with pytest.raises(CatalogError, match=rf"{said}.*delete this one"):
            replace(generated, **other).entries()
    (tmp_path / "photo.jpg").write_bytes(b"someone's")
    with pytest.raises(CatalogError, match=f"no {MARKER}.*Name an empty folder"):
        replace(SMALL, images=str(tmp_path)).entries()


@pytest.mark.parametrize("wrong", [{"side": 137}, {"n_train": -1}, {"n_noise": -1}, {"seed": 2**32}, {"labels": "sum"}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CatalogError, match=r"Give|Take one of: majority, max, top, multi"):
        replace(SMALL, **wrong)


def test_images_go_to_a_bucket(s3: str) -> None:
    source = replace(SMALL, images=f"{s3}/digits", n_train=2, n_test=0, n_noise=0)
    rows = rows_of(source.entries(), (9, 9))
    assert [(row["status"], row["layout"]) for row in rows] == [("ok", "tiles")] * 2
    refs = [ImageRef(*(row[name] for name in ImageRef.__slots__)) for row in rows]
    patches, _ = PatchReader(300).read(refs, np.full((2, 1, 2), 150))
    np.testing.assert_array_equal(patches[1, 0, ..., 0], source.image("train", 1)[:300, :300])
    assert source.entries() == replace(source).entries()


def test_mnist_is_named_by_its_folder(shared_data: Path, tmp_path: Path) -> None:
    source = replace(SMALL, images=str(tmp_path), mnist=str(shared_data / "mnist"))
    entries = source.entries()
    np.testing.assert_array_equal(tifffile.imread(entries[0].uri), source.image("train", 0))
    assert len(source.collages["train"].pictures.labels) == 60_000


def test_the_training_job_names_the_images_by_their_settings(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    job, out = train_megapixel_mnist, str(tmp_path)
    source = job.source_of(job.Options(out=out, side=500, n_noise=0, digits_on_top=True, labels="top", n_train=7))
    assert source.images == f"{out}/images/megapixel-v1-small-500-7-1000-noise0-digits-on-top"
    wanted = {"side": 500, "n_train": 7, "n_noise": 0, "digits_on_top": True, "labels": "top"}
    assert source == MegapixelMNIST(images=source.images, **wanted)
    (said,) = capsys.readouterr().out.splitlines()
    assert "scikit-learn's 8 x 8 digits scaled to 28 x 28" in said
    smoke = job.source_of(job.Options(out=out, smoke=True, download=True))
    assert (smoke.n_train, smoke.n_test, smoke.mnist) == (16, 16, f"{out}/mnist")
    assert "scikit-learn" not in capsys.readouterr().out


def test_the_grid_of_the_training_job_covers_the_image_patch_by_patch() -> None:
    job = train_megapixel_mnist
    assert job.recipe_of(job.Options()).mil_grid == (30, 30)
    assert job.recipe_of(job.Options(side=220)).mil_grid == (5, 5)


def test_options_of_the_catalog_job_reach_the_source(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    job, out = build_catalog, f"{tmp_path}/catalog"
    options = {"side": 300, "n_train": 4, "n_noise": 0, "digits_on_top": True, "labels": "max", "seed": 3}
    made = job.source_of(job.Options(source="megapixel_mnist", out=out, **options))
    assert made == MegapixelMNIST(images=f"{out}-images", **options)
    assert "scikit-learn's 8 x 8 digits" in capsys.readouterr().out
    fetched = job.source_of(job.Options(source="megapixel_mnist", out=out, download=True))
    assert fetched.mnist == f"{out}-mnist"
    with pytest.raises(CatalogError, match="no option 'mnist'"):
        job.source_of(job.Options(source="gtsdb", images="/x", mnist="/y"))
    with pytest.raises(CatalogError, match="nothing to download"):
        job.fetch(job.Options(source="gtsdb"), Gtsdb("/x"))
