"""Rows of a stream -> files: the first row of each image, a part once nothing more of it comes, lost images later."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.lost import LOST
from pipelines.scoring.inputs import LISTING, PART_ROWS, Inputs
from pipelines.scoring.parts import Parts
from pipelines.scoring.stages.block import BLANK, give_up, result
from pipelines.scoring.store import ScoreStore

MODEL = "run@1"
IMAGES = 2 * PART_ROWS  # two parts
BLOCK = 16


@pytest.fixture
def blocks() -> list[pa.Table]:
    rows = [
        {"image_id": f"{i}", "uri": f"/x/{i}", "etag": "e", "n_bytes": 1, "label": "", "file": "", "group": 0}
        for i in range(IMAGES)
    ]
    return list(Inputs(pa.Table.from_pylist(rows, schema=LISTING), None).blocks(np.arange(IMAGES), BLOCK))


def rows_of(images: pa.Table, lost: Sequence[str] = ()) -> pa.Table:
    rows = [BLANK | image | {"status": "empty", "error": "0 bytes"} for image in images.to_pylist()]
    for row in rows:
        if row["image_id"] in lost:
            give_up(row, LOST)
    return result(rows, MODEL)


def ids(store: ScoreStore) -> list[str]:
    return sorted(store.scores().to_table()["image_id"].to_pylist(), key=int)


def test_a_part_is_written_as_soon_as_nothing_more_of_it_comes_whatever_is_lost(
    blocks: list[pa.Table], tmp_path: Path
) -> None:
    store = ScoreStore(str(tmp_path))
    parts, n_seen = Parts(store, blocks, None), []

    def stream() -> Iterator[pa.Table]:
        for block in blocks:
            yield rows_of(block, lost=["3"])
            yield rows_of(block, lost=["3"])  # once more, by a process that was thought dead
            n_seen.append(len(list((tmp_path / "scores").glob("*.parquet"))))

    found = list(parts.gather(blocks, stream()))
    assert n_seen == [int(i >= PART_ROWS // BLOCK - 1) for i in range(len(blocks) - 1)] + [2]
    assert sum(map(len, found)) == IMAGES - 1
    assert ids(store) == [str(i) for i in range(IMAGES) if i != 3]
    (left,) = parts.missing()
    assert left["image_id"].to_pylist() == ["3"]
    assert sum(map(len, parts.gather([left], [rows_of(left)]))) == 1
    assert not list(parts.missing())
    assert ids(store) == [str(i) for i in range(IMAGES)]


def test_what_never_came_is_missing_and_what_came_is_kept(blocks: list[pa.Table], tmp_path: Path) -> None:
    store = ScoreStore(str(tmp_path))
    parts = Parts(store, blocks, None)
    list(parts.gather(blocks, map(rows_of, blocks[1:])))
    assert [images["image_id"].to_pylist() for images in parts.missing()] == [blocks[0]["image_id"].to_pylist()]
    for images in parts.missing():
        parts.put(rows_of(images, lost=images["image_id"].to_pylist()))
    assert ids(store) == [str(i) for i in range(IMAGES)]
