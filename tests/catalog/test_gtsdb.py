"""German traffic signs: the layout, the tasks, and the counts of the real frames."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.catalog.made import catalog_uri
from pipelines.catalog.sources.gtsdb import TASKS, Gtsdb, choose_label, parse_signs
from pipelines.errors import CatalogError

GT = "00000.ppm;10;20;30;50;4\n00000.ppm;0;0;9;9;2\n00000.ppm;100;20;109;29;4\n00002.ppm;1;2;3;4;13\n"


def test_lines_become_half_open_boxes() -> None:
    signs = parse_signs(GT)
    assert signs[0][0] == (4, (20, 10, 51, 31))
    assert list(signs) == [0, 2]
    with pytest.raises(CatalogError, match="line 5"):
        parse_signs(GT + "00003.ppm;1;2;3\n")


def test_labels_and_their_boxes() -> None:
    signs = parse_signs(GT)[0]
    assert choose_label(signs, "speed_limit") == (2, ((20, 10, 51, 31), (20, 100, 30, 110)))  # 70, the largest
    assert choose_label(signs, "prohibitory")[0] == 1
    assert len(choose_label(signs, "prohibitory")[1]) == 3
    assert choose_label(parse_signs(GT)[2], "prohibitory") == (0, ())
    assert choose_label([], "speed_limit") == (0, ())


def test_the_prohibitory_types() -> None:
    assert set(TASKS["prohibitory"]["prohibitory"]) == {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16}


@pytest.mark.parametrize("suffix", ["ppm", "jpg"])
@pytest.mark.parametrize(("frames", "named"), [("", ""), ("images", ""), ("images", "images")])
def test_layouts(tmp_path: Path, write_images: Callable[..., None], suffix: str, frames: str, named: str) -> None:
    write_images(tmp_path / frames, *(f"{i:05d}.{suffix}" for i in (2, 0, 1)), f"13/00000.{suffix}")
    (tmp_path / "gt.txt").write_text(GT)
    entries = Gtsdb(str(tmp_path / named)).entries()
    assert [(e.image_id, e.label) for e in entries] == [("00000", 1), ("00001", 0), ("00002", 0)]
    assert all(Path(e.uri).parent == tmp_path / frames for e in entries), "cut-out signs are no frames"


def test_the_official_test_frames_are_used_when_there(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images(tmp_path, "00000.ppm", "00599.ppm", "00600.ppm", "00899.ppm")
    (tmp_path / "gt.txt").write_text(GT + "00600.ppm;1;2;3;4;1\n")
    assert [e.split for e in Gtsdb(str(tmp_path)).entries()] == ["train", "train", "test", "test"]
    (tmp_path / "gt.txt").write_text(GT)
    with pytest.raises(CatalogError, match="test frame"):
        Gtsdb(str(tmp_path)).entries()


def test_folds_are_of_the_training_frames(tmp_path: Path, write_images: Callable[..., None]) -> None:
    numbers = (*range(10), 600, 601)
    write_images(tmp_path, *(f"{i:05d}.ppm" for i in numbers))
    lines = [f"{i:05d}.ppm;1;2;3;4;1\n" for i in (*range(4), 600)]  # 4 of 10 positive
    (tmp_path / "gt.txt").write_text("".join(lines))
    entries = Gtsdb(str(tmp_path), folds=2).entries()
    assert [e.split for e in entries[10:]] == ["test", "test"]
    positives = Counter((e.split, e.label) for e in entries[:10])
    assert positives == {("fold0", 0): 3, ("fold1", 0): 3, ("fold0", 1): 2, ("fold1", 1): 2}


def test_a_catalog_without_folds_is_called_as_before_there_were_any() -> None:
    names = {catalog_uri(Gtsdb("/data", folds=folds), "/runs") for folds in (0, 5)}
    assert "/runs/catalogs/gtsdb-3de4dbb0" in names
    assert len(names) == 2


def test_missing_parts_are_named(tmp_path: Path, write_images: Callable[..., None]) -> None:
    folder = tmp_path / "frames"
    write_images(folder, "00000.ppm")
    with pytest.raises(CatalogError, match=r"gt\.txt"):
        Gtsdb(str(folder)).entries()
    write_images(tmp_path / "other", "photo.jpg")
    with pytest.raises(CatalogError, match="no frame"):
        Gtsdb(str(tmp_path / "other")).entries()


def test_the_real_frames(shared_data: Path) -> None:
    source = Gtsdb(str(shared_data / "gtsdb"))
    entries = source.entries()
    assert source.classes == ("none", "prohibitory")
    assert Counter(e.label for e in entries) == {0: 336, 1: 264}
    assert all(bool(e.boxes) == bool(e.label) for e in entries)
    splits = Counter((e.split, e.label) for e in entries)
    assert sum(n for (split, _), n in splits.items() if split == "test") == 120
    assert splits["test", 1] in (52, 53)
    limits = Gtsdb(str(shared_data / "gtsdb"), task="speed_limit", seed=1).entries()
    assert {e.label for e in limits if e.split == "test"} == {0, 1, 2, 3}
    assert [e.split for e in limits] != [
        e.split for e in Gtsdb(str(shared_data / "gtsdb"), task="speed_limit").entries()
    ]
