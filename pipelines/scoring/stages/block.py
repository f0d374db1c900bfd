"""The table that goes from step to step, and its rows while they are worked on."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.lost import LOST, MAX_RETRIES, retries
from pipelines.scoring.schema import SCORES
from pipelines.storage.patches import ImageRef

Row = dict[str, Any]

log = logging.getLogger(__name__)

_OF_SCORES = ["probabilities", "standard_error", "n_patches", "patches", "prediction", "model"]
BLOCK = pa.schema(
    [
        *(SCORES.field(name) for name in SCORES.names if name not in _OF_SCORES),
        ("part", pa.int32()),
        ("position", pa.int64()),  # among all images
        ("channels", pa.int32()),
        ("n_bytes", pa.int64()),
        ("object_etag", pa.string()),
        ("index", pa.binary()),
        ("view", pa.binary()),
        ("cells", pa.binary()),  # arrays as their bytes: int64 [N]
        ("proposal", pa.binary()),  # float64 [N]
        ("weights", pa.binary()),  # float64 [N]
        ("undrawn", pa.float64()),
        ("centres", pa.binary()),  # int64 [N, 2]
        ("attention", pa.binary()),  # float16 [K]
        ("pixels", pa.large_binary()),  # of the first n patches, uint8 [n, P, P, C]
    ]
)
BLANK: Row = {
    "status": "ok",
    "error": "",
    **dict.fromkeys(("height", "width", "channels", "n_bytes", "requests", "bytes_read"), 0),
    **dict.fromkeys(("index", "view", "cells", "proposal", "weights", "centres", "attention", "pixels"), b""),
    "object_etag": "",
    "undrawn": 0.0,
}
"""Of an image of which nothing is known yet."""

RESULT = pa.schema([*SCORES, *(BLOCK.field(name) for name in ("part", "position", "attention"))])
"""What comes out in the end: the scores, and what the writer of files needs beside."""

_NOTHING: Row = {
    "prediction": "",
    "probabilities": [],
    "standard_error": math.nan,
    "n_patches": 0,
    "patches": [],
    "attention": b"",
}
"""Said of an image that has failed."""


def reference(row: Row) -> ImageRef:
    """What a reader needs to know of an opened image."""
    names = ("uri", "height", "width", "channels", "n_bytes", "index")
    return ImageRef(etag=row["object_etag"], **{name: row[name] for name in names})


def centres(row: Row) -> np.ndarray:
    """int64 [N, 2], (y, x) of the patches of all drawn cells."""
    return np.frombuffer(row["centres"], np.int64).reshape(-1, 2).copy()  # torch takes none that is read-only


def good(rows: Sequence[Row]) -> list[Row]:
    """Those of which nothing has failed so far."""
    return [row for row in rows if row["status"] == "ok"]


def give_up(row: Row, reason: str) -> None:
    """Note in a row why it goes no further; the next run tries it again."""
    row |= {"status": "unreadable", "error": reason}


def attempt(step: Callable[[list[Row]], None], rows: Sequence[Row]) -> None:
    """Do a step for some rows together; where it raises, for each alone, so that only those are given up that raise.

    What was written into a row, or counted in it, before the step raised is forgotten. All are given up where the
    process has died of this step, or of its neighbours, again and again: one of them kills it.

    Args:
        step: writes into the rows, and expects one at least.
        rows: that nothing else refers to.
    """
    if not rows:
        return
    if retries() > MAX_RETRIES:
        for row in rows:
            give_up(row, LOST)
        return
    copies = [dict(row) for row in rows]
    failure: Exception | None = None
    try:
        step(copies)
    except Exception as error:
        failure = error
    if failure is None:
        for row, changed in zip(rows, copies, strict=True):
            row |= changed
    elif len(rows) > 1:
        log.warning("%d images are tried one by one: %s: %s", len(rows), type(failure).__name__, failure)
        for row in rows:
            attempt(step, [row])
    else:
        log.warning("%s is given up", rows[0]["uri"], exc_info=failure)
        give_up(rows[0], f"{type(failure).__name__}: {failure}")


def sliced(block: pa.Table, at_once: int) -> Iterator[list[Row]]:
    """The rows of a block, at most so many at once."""
    for start in range(0, len(block), at_once):
        yield block.slice(start, at_once).to_pylist()


def result(rows: Sequence[Row], model: str) -> pa.Table:
    """The rows, of RESULT, by a model; nothing is said of those that have failed."""
    for row in rows:
        row |= {"model": model, **({} if row["status"] == "ok" else _NOTHING)}
    return table(rows, RESULT)


def table(rows: Sequence[Row], schema: pa.Schema = BLOCK) -> pa.Table:
    """The rows, of the columns of a schema."""
    return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema=schema)
