"""Which images are scored, and how they are cut into blocks and parts."""

import os
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.catalog.describe import describe
from pipelines.errors import CatalogError
from pipelines.scoring.inputs import LISTING, PART_ROWS, Inputs, list_images
from pipelines.scoring.options import ScoreOptions
from pipelines.storage import objects
from pipelines.storage.objects import ObjectStat

NAMES = ["a b.png", "it's.png", "sub/100 %.png", "ä…é.png"]
VIEW = (8, 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "images" / name)
    return tmp_path / "images"


def listed(images: object, **options: object) -> pa.Table:
    return list_images(ScoreOptions(model="m", images=str(images), **options), VIEW).listing


def test_a_folder_or_a_glob_with_its_etags(folder: Path) -> None:
    rows = listed(folder).to_pylist()
    assert [row["image_id"] for row in rows] == sorted(NAMES)
    assert all(ObjectStat(row["n_bytes"], row["etag"]) == objects.stat(row["uri"]) for row in rows)
    assert [row["image_id"] for row in listed(folder / "sub" / "*.png").to_pylist()] == ["100 %.png"]


def test_a_name_that_is_no_text_costs_its_own_image_alone(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(b"not to be named")
    rows = listed(folder).select(["image_id", "uri"])
    assert sorted(rows["image_id"].to_pylist()) == sorted([*NAMES, r"\udcff.png"])
    assert {row["image_id"]: row["status"] for row in describe(rows, VIEW).to_pylist()} == dict.fromkeys(
        NAMES, "ok"
    ) | {r"\udcff.png": "missing"}


def test_a_list_names_what_is_there_and_what_is_not(folder: Path) -> None:
    lines = [NAMES[0], f"{folder}/{NAMES[2]}", "", "gone.png", f"./{NAMES[0]}", NAMES[0]]
    (folder / "list.txt").write_text("\r\n".join(lines))
    rows = listed(folder / "list.txt").to_pylist()
    assert [row["image_id"] for row in rows] == [NAMES[0], f"{folder}/{NAMES[2]}", "gone.png"]
    assert [row["uri"] for row in rows] == [f"{folder}/{NAMES[0]}", f"{folder}/{NAMES[2]}", f"{folder}/gone.png"]
    assert [bool(row["etag"]) for row in rows] == [bool(row["n_bytes"]) for row in rows] == [True, True, False]


def test_a_protocol_that_nobody_speaks_costs_a_list_one_row(folder: Path) -> None:
    (folder / "list.txt").write_text(f"htps://x/a.png\n{NAMES[0]}")
    assert [(row["uri"], bool(row["etag"])) for row in listed(folder / "list.txt").to_pylist()] == [
        ("htps://x/a.png", False),
        (f"{folder}/{NAMES[0]}", True),
    ]


def test_labels_and_splits_come_from_a_csv(folder: Path) -> None:
    (folder / "l.csv").write_text(f"image,label,split\n{NAMES[0]},yes,test\n{NAMES[1]},no,train\n")
    rows = listed(folder, labels=str(folder / "l.csv")).to_pylist()
    assert {row["image_id"]: row["label"] for row in rows if row["label"]} == {NAMES[0]: "yes", NAMES[1]: "no"}
    assert [row["image_id"] for row in listed(folder, labels=str(folder / "l.csv"), splits=("test",)).to_pylist()] == [
        NAMES[0]
    ]


def test_what_cannot_be_scored_is_refused(folder: Path) -> None:
    for images, reason in ((folder / "none", "no files"), (folder / "none.txt", "cannot be read")):
        with pytest.raises(CatalogError, match=reason):
            listed(images)
    (folder / "l.csv").write_text(f"image,label,split\n{NAMES[0]},yes,test\n")
    with pytest.raises(CatalogError, match="no image is of split 'fold0'; there are: test"):
        listed(folder, labels=str(folder / "l.csv"), splits=("test", "fold0"))
    (folder / "list.txt").write_text(NAMES[0])
    for name, value in (("labels", str(folder / "l.csv")), ("splits", ("test",)), ("save_catalog", f"{folder}/c")):
        with pytest.raises(CatalogError, match=f"a list, which has no .*Leave --{name.replace('_', '-')} out"):
            listed(folder / "list.txt", **{name: value})


@given(data=st.data())
def test_every_image_is_in_one_block_and_blocks_stay_what_they_are(data: st.DataObject) -> None:
    """Whatever is done already; a block is of one part and of one group of one file, and parts are in order."""
    groups = data.draw(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 90)), min_size=1, max_size=8))
    rows = [(f"{file}{i}", i) for i, (file, n) in enumerate(groups) for _ in range(n)]
    n, size = len(rows), data.draw(st.integers(1, 70))
    todo = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    names = [str(i) for i in range(n)]
    listing = pa.table(
        [names, names, [""] * n, [0] * n, [""] * n, [file for file, _ in rows], [group for _, group in rows]],
        schema=LISTING,
    )
    inputs = Inputs(listing, None)
    whole = [block["position"].to_pylist() for block in inputs.blocks(np.arange(n), size)]
    assert list(chain(*whole)) == list(range(n))
    some = list(inputs.blocks(todo, size))
    left = set(todo.tolist())
    assert [block["position"].to_pylist() for block in some] == [
        kept for block in whole if (kept := [at for at in block if at in left])
    ]
    for block in some:
        assert 1 <= len(block) <= size
        assert all(len(set(block[name].to_pylist())) == 1 for name in ("file", "group", "part"))
        assert block["image_id"].to_pylist() == [str(at) for at in block["position"].to_pylist()]
    parts = [block["part"][0].as_py() for block in inputs.blocks(np.arange(n), size)]
    assert parts == sorted(parts)
    assert len(set(parts)) <= -(-n // PART_ROWS)
