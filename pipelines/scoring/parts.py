"""The rows of a stream, gathered into files of scores: the first of each image, each file when its last row came."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.lost import LOST
from pipelines.scoring.schema import ATTENTION
from pipelines.scoring.store import ScoreStore


class Parts:
    """Rows of RESULT, by the part that they belong to.

    Args:
        store: where the files go.
        blocks: all images that are to have a row, some of one part together.
        grid: rows and columns of the attention, where that is kept too.
    """

    def __init__(self, store: ScoreStore, blocks: Sequence[pa.Table], grid: tuple[int, int] | None) -> None:
        self.store, self.blocks, self.grid = store, blocks, grid
        n_positions = 1 + blocks[-1]["position"][-1].as_py()
        self._missing, self._coming = np.zeros(n_positions, bool), np.zeros(n_positions, bool)
        for block in blocks:
            self._missing[block["position"].to_numpy()] = True
        self._to_come: Counter[int] = Counter()
        self._there: dict[int, list[pa.Table]] = {}

    def missing(self) -> Iterator[pa.Table]:
        """Of each block the images without a row."""
        for block in self.blocks:
            if len(images := block.filter(pa.array(self._missing[block["position"].to_numpy()]))):
                yield images

    def gather(self, blocks: Iterable[pa.Table], stream: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Take what comes of some blocks: the rows that are new. A lost image is as missing as one that never came.

        A part is written when nothing of it is to come any more, with what there is; at the end the others are.
        """
        for block in blocks:
            self._coming[block["position"].to_numpy()] = True
            self._to_come[block["part"][0].as_py()] += len(block)
        for rows in stream:
            rows = rows.filter(pa.array(self._coming[rows["position"].to_numpy()]))
            if not len(rows):
                continue
            part = rows["part"][0].as_py()
            self._coming[rows["position"].to_numpy()] = False
            self._to_come[part] -= len(rows)
            found = rows.filter(pc.not_equal(rows["error"], LOST))
            self._there.setdefault(part, []).append(found)
            if not self._to_come[part]:
                self._write(part)
            self._missing[found["position"].to_numpy()] = False
            yield found
        for part in list(self._there):
            self._write(part)
        self._coming[:] = False
        self._to_come.clear()

    def put(self, rows: pa.Table) -> None:
        """A file of rows of one part, as they are."""
        attention = attention_of(rows, self.grid) if self.grid else None
        self.store.write(rows["part"][0].as_py(), rows.sort_by("position"), attention)

    def _write(self, part: int) -> None:
        rows = pa.concat_tables(self._there.pop(part))
        if len(rows):
            self.put(rows)


def attention_of(rows: pa.Table, grid: tuple[int, int]) -> pa.Table:
    """ATTENTION of the rows of RESULT that have any, over a grid of so many rows and columns."""
    rows = rows.filter(pc.greater(pc.binary_length(rows["attention"]), 0))
    n, (height, width) = len(rows), grid
    values = pa.array(np.frombuffer(b"".join(rows["attention"].to_pylist()), np.float16))
    maps = pa.ListArray.from_arrays(np.arange(n + 1, dtype=np.int32) * height * width, values)
    return pa.table([rows["image_id"].combine_chunks(), [height] * n, [width] * n, maps], schema=ATTENTION)
