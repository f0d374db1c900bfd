"""The files of scores: what is valid, what is removed, and that a file is there whole or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.errors import CatalogError
from pipelines.scoring.inputs import LISTING
from pipelines.scoring.patience import patiently
from pipelines.scoring.schema import ATTENTION, SCORES
from pipelines.scoring.store import BESIDE, PASSING, ScoreStore
from pipelines.storage import objects
from pipelines.storage.images import STATUSES

MODEL = "run@1"


def listing(ids: Sequence[str], **etags: str) -> pa.Table:
    rows = [
        {"image_id": i, "uri": f"/x/{i}", "etag": etags.get(i, "e"), "n_bytes": 1, "label": "", "file": "", "group": 0}
        for i in ids
    ]
    return pa.Table.from_pylist(rows, schema=LISTING)


def scores(ids: Sequence[str], **more: Any) -> pa.Table:
    blank = {
        "etag": "e", "height": 1, "width": 1, "label": "", "status": "ok", "error": "", "prediction": "a",
        "probabilities": [1.0], "standard_error": 0.0, "n_patches": 0, "patches": [], "requests": 1, "bytes_read": 1,
        "model": MODEL,
    }  # fmt: skip
    return pa.Table.from_pylist([blank | {"image_id": i, "uri": f"/x/{i}"} | more for i in ids], schema=SCORES)


def attention(ids: Sequence[str]) -> pa.Table:
    rows = [{"image_id": i, "rows": 1, "columns": 2, "attention": [0.5, 0.5]} for i in ids]
    return pa.Table.from_pylist(rows, schema=ATTENTION)


def ids(store: ScoreStore) -> list[str]:
    return sorted(store.scores().to_table()["image_id"].to_pylist())


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ScoreStore:
    return ScoreStore(f"{tmp_path}/out" if request.param == "disk" else f"{request.getfixturevalue('s3')}/out")


def test_what_has_a_row_is_done(tmp_path: Path) -> None:
    store, images = ScoreStore(str(tmp_path)), listing("abcdef")
    assert store.todo(images, MODEL).tolist() == [0, 1, 2, 3, 4, 5]
    store.write(0, scores("ab"))
    store.write(1, scores("ef"))
    assert store.todo(images, MODEL).tolist() == [2, 3]
    assert ids(store) == list("abef")


def test_rows_that_are_no_longer_valid_are_removed(store: ScoreStore) -> None:
    """Of another etag or model, not listed any more, or there twice; files without any row disappear."""
    store.write(0, scores("abc"), attention("abc"))
    store.write(1, scores("d", model="run@2"), attention("d"))
    store.write(2, scores("ae"), attention("ae"))
    assert store.todo(listing("abdef", b="new"), MODEL).tolist() == [1, 2, 4]
    assert ids(store) == ["a", "e"]
    files = objects.list_uris(store.out)
    assert [uri.rsplit("/", 2)[1] for uri in files] == ["attention"] * 2 + ["scores"] * 2
    assert store.todo(listing("abdef", b="new"), MODEL).tolist() == [1, 2, 4]  # and nothing changes


def test_what_shows_a_row_that_is_no_more_is_removed(store: ScoreStore) -> None:
    names = ["sub/a b", "b"]
    store.write(0, scores(names))
    shown = [objects.join(store.out, kind, f"{i}{suffix}") for kind, suffix in BESIDE.items() for i in names]
    for uri in shown:
        objects.write_bytes(uri, b"x")
    store.todo(listing(names, **{"sub/a b": "other"}), MODEL)
    assert [uri for uri in shown if objects.exists(uri)] == shown[1::2]


def test_a_row_of_another_label_is_scored_again_and_one_of_a_moved_model_is_not(tmp_path: Path) -> None:
    store = ScoreStore(str(tmp_path))
    store.write(0, scores("a", label="cat"))
    store.write(1, scores("b", model="elsewhere@1"))
    assert store.todo(listing("ab"), MODEL).tolist() == [0]
    assert ids(store) == ["b"]


@pytest.mark.parametrize("status", STATUSES)
def test_failures_that_may_pass_are_tried_again(tmp_path: Path, status: str) -> None:
    store = ScoreStore(str(tmp_path))
    store.write(0, scores("a", status=status, error="why"))
    assert len(store.todo(listing("a"), MODEL)) == (status in PASSING)


def test_the_same_rows_have_one_file(tmp_path: Path) -> None:
    store = ScoreStore(str(tmp_path))
    for _ in range(2):
        store.write(0, scores("ab"))
    assert ids(store) == ["a", "b"]
    store.write(0, scores("a", model="run@2"))
    assert len(objects.list_uris(str(tmp_path))) == 2


def test_attention_whose_scores_were_never_written_is_removed(tmp_path: Path) -> None:
    """As of a run that was killed between the two."""
    store = ScoreStore(str(tmp_path))
    store.write(0, scores("ab"), attention("ab"))
    (scored,) = [uri for uri in objects.list_uris(str(tmp_path)) if "/scores/" in uri]
    objects.delete([scored])
    assert store.todo(listing("ab"), MODEL).tolist() == [0, 1]
    assert not list(tmp_path.rglob("*.parquet"))


def test_no_file_is_ever_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that dies leaves what was there."""
    store = ScoreStore(str(tmp_path), patience_s=0)
    store.write(0, scores("ab"))
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        store.write(1, scores("cd"))
    assert ids(store) == ["a", "b"]
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".parquet"]


def test_a_storage_that_is_gone_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.scoring.patience.PAUSE_S", 0.01)
    errors: list[Exception] = [OSError("down"), TimeoutError("slow")]

    def write() -> str:
        if errors:
            raise errors.pop()
        return "written"

    assert patiently(write, "x") == "written"
    errors += [OSError("down")] * 1000
    with pytest.raises(OSError, match="down"):
        patiently(write, "x", patience_s=0.05)
    assert 990 <= len(errors) < 1000
    errors[:] = [OSError("down"), CatalogError("x", "it is none", "Choose another.")]
    with pytest.raises(CatalogError, match="it is none"):
        patiently(write, "x")
    assert len(errors) == 1
