"""Cells -> the pixels of their patches."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import numpy as np
import pyarrow as pa
from torch import Tensor

from pipelines.errors import ImageError
from pipelines.scoring.patience import PATIENT
from pipelines.scoring.stages.block import Row, attempt, centres, good, reference, sliced, table
from pipelines.storage.layouts import WholeLayout, layout_of
from pipelines.storage.patches import PatchReader
from pipelines.storage.stats import Counters

WHOLE_BYTES = 128 * 2**20  # of objects that are read whole, at once


class Read:
    """Cells -> the pixels of the first patches of each image.

    Args:
        patch_size: P.
        n: of each image.
        at_once: images whose patches are asked for, and held, together.
    """

    def __init__(self, patch_size: int, n: int, at_once: int) -> None:
        self.reader = PatchReader(patch_size, cache_mb=0, network=PATIENT)  # no image comes back
        self.n, self.at_once = n, at_once

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """The block, with patches, some rows at a time."""
        for rows in sliced(block, self.at_once):
            attempt(self._read, good(rows))
            yield table(rows)

    def _read(self, rows: Sequence[Row]) -> None:
        for row, pixels in zip(rows, read_patches(self.reader, rows, 0, self.n), strict=True):
            row["pixels"] = b"" if pixels is None else pixels.tobytes()


def read_patches(reader: PatchReader, rows: Sequence[Row], start: int, stop: int) -> list[np.ndarray | None]:
    """The patches start ... stop - 1 of each row, uint8 [n, P, P, C], asked for at once as far as memory has room.

    None where they cannot be had: why, and what reading cost, is told in the row itself.
    """
    read: list[np.ndarray | None] = []
    for group in groups(rows):
        asked: list[tuple[Counters, Future[tuple[Tensor, Tensor]]]] = []
        for row in group:
            counters, centres_1N2 = Counters(), centres(row)[None, start:stop]
            asked.append((counters, reader.submit([reference(row)], centres_1N2, counters=counters)))
        read += [_received(row, *waiting) for row, waiting in zip(group, asked, strict=True)]
    return read


def groups(rows: Sequence[Row], at_most: int = WHOLE_BYTES) -> Iterator[list[Row]]:
    """The rows in their order, cut where objects that are read whole would be more bytes together, one at least."""
    group: list[Row] = []
    held = 0
    for row in rows:
        n_bytes = _held(row)
        if group and n_bytes and held + n_bytes > at_most:
            yield group
            group, held = [], 0
        group.append(row)
        held += n_bytes
    if group:
        yield group


def _held(row: Row) -> int:
    """Bytes of an object that is read whole; of one that is read by its tiles 0."""
    try:
        return row["n_bytes"] if isinstance(layout_of(reference(row)), WholeLayout) else 0
    except ImageError:  # which reading it raises too
        return 0


def _received(row: Row, counters: Counters, future: Future[tuple[Tensor, Tensor]]) -> np.ndarray | None:
    try:
        return future.result()[0][0].numpy()
    except ImageError as error:
        row |= {"status": error.status, "error": error.reason}
        return None
    finally:
        stats = counters.snapshot()
        row["requests"] += stats.requests
        row["bytes_read"] += stats.bytes_read
