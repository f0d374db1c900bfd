"""Cells -> the pixels of their patches."""

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import pyarrow as pa
from torch import Tensor

from pipelines.errors import ImageError
from pipelines.scoring.stages.block import Row, centres, good, reference, table
from pipelines.storage.patches import Network, PatchReader
from pipelines.storage.stats import Counters

PATIENT = Network(attempts=8)  # half a minute: a storage that restarts fails no image


class Read:
    """Cells -> the pixels of the first patches of each image.

    Args:
        patch_size: P.
        n: of each image.
    """

    def __init__(self, patch_size: int, n: int) -> None:
        self.reader, self.n = PatchReader(patch_size, network=PATIENT), n

    def __call__(self, block: pa.Table) -> pa.Table:
        """The block, with patches."""
        rows = block.to_pylist()
        fine = good(rows)
        for row, pixels in zip(fine, read_patches(self.reader, fine, 0, self.n), strict=True):
            row["pixels"] = b"" if pixels is None else pixels.tobytes()
        return table(rows)


def read_patches(reader: PatchReader, rows: Sequence[Row], start: int, stop: int) -> list[np.ndarray | None]:
    """The patches start ... stop - 1 of each row, uint8 [n, P, P, C], all asked for at once.

    None where they cannot be had: why, and what reading cost, is told in the row itself.
    """
    asked: list[tuple[Counters, Future[tuple[Tensor, Tensor]]]] = []
    for row in rows:
        counters, centres_1N2 = Counters(), centres(row)[None, start:stop]
        asked.append((counters, reader.submit([reference(row)], centres_1N2, counters=counters)))
    return [_received(row, *waiting) for row, waiting in zip(rows, asked, strict=True)]


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
