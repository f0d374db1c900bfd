"""The table that goes from step to step, and its rows while they are worked on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.scoring.schema import SCORES
from pipelines.storage.patches import ImageRef

Row = dict[str, Any]

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


def table(rows: Sequence[Row], schema: pa.Schema = BLOCK) -> pa.Table:
    """The rows, of the columns of a schema."""
    return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema=schema)
