"""The files of scores: each written whole, by the one process that drives the job, under a name that says of what.

A file is there or not there, so what it holds is scored and the rest is not. Whatever was killed, a row is lost or
there once: nobody else writes rows, and the same images, scored again, replace the file of the same name.
"""

import hashlib
import io
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from pipelines.scoring.schema import ATTENTION, SCORES
from pipelines.storage import objects

PASSING = ("missing", "denied", "stale", "unreadable")
"""Failures of which the next run may find nothing: they are tried again. The others are of the bytes themselves."""
PATIENCE_S = 60.0  # for a storage that does not take a file
PAUSE_S = 2.0
READ_AT_ONCE = 16  # files

log = logging.getLogger(__name__)


class ScoreStore:
    """The part files below a URI."""

    def __init__(self, out: str) -> None:
        self.out = out

    def todo(self, listing: pa.Table, model: str) -> np.ndarray:
        """Positions in the listing of the images that have no valid row; rows that are not valid are removed.

        A row is valid if its image is listed, with the same etag, the model is the same, its failure, if any, lies in
        the image, and no other row is of that image.
        """
        position = {image_id: at for at, image_id in enumerate(listing["image_id"].to_pylist())}
        etags, missing = listing["etag"].to_pylist(), np.ones(len(listing), bool)
        names = self._names("scores")
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            for name, rows in zip(names, pool.map(self._state, names), strict=True):
                valid = []
                for row in rows:
                    at = position.get(row["image_id"], -1)
                    same = at >= 0 and (row["etag"], row["model"]) == (etags[at], model)
                    valid.append(bool(same and missing[at] and row["status"] not in PASSING))
                    if valid[-1]:
                        missing[at] = False
                self._keep(name, valid)
        orphans = set(self._names("attention")) - set(self._names("scores"))
        objects.delete([objects.join(self.out, "attention", name) for name in sorted(orphans)])
        return np.flatnonzero(missing)

    def _state(self, name: str) -> list[dict[str, str]]:
        """Of each row of a file, what makes it valid."""
        return self._read("scores", name, ["image_id", "etag", "model", "status"]).to_pylist()

    def _keep(self, name: str, valid: Sequence[bool]) -> None:
        """Replace a file, and that of its attention, by the rows that are valid; there is a whole file at any time."""
        if all(valid):
            return
        if not any(valid):
            objects.delete([objects.join(self.out, "scores", name)])
            return
        kept = self._read("scores", name).filter(pa.array(valid))
        if name in self._names("attention"):
            attention = self._read("attention", name)
            of_kept = pc.is_in(attention["image_id"], kept["image_id"].combine_chunks())
            self._write(f"attention/{name}", attention.filter(of_kept), ATTENTION)
        self._write(f"scores/{name}", kept, SCORES)

    def write(self, position: int, scores: pa.Table, attention: pa.Table | None = None) -> None:
        """A file of some rows, of SCORES, beside that of their attention; `position` sorts it among the others."""
        digest = hashlib.sha256(repr(scores.select(["image_id", "model"]).to_pydict()).encode()).hexdigest()[:12]
        name = f"part-{position:06d}-{digest}.parquet"
        if attention is not None:  # first: where there are scores, there is attention
            self._write(f"attention/{name}", attention, ATTENTION)
        self._write(f"scores/{name}", scores, SCORES)

    def scores(self) -> pads.Dataset:
        """All rows."""
        filesystem, path = objects.arrow_filesystem(objects.join(self.out, "scores"))
        files = [f"{path}/{name}" for name in self._names("scores")]
        return pads.dataset(files, filesystem=filesystem, schema=SCORES, format="parquet")

    def _read(self, kind: str, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        filesystem, path = objects.arrow_filesystem(objects.join(self.out, kind, name))
        return pq.read_table(path, filesystem=filesystem, columns=columns, partitioning=None)

    def _names(self, kind: str) -> list[str]:
        folder = objects.join(self.out, kind)
        try:
            uris = objects.list_uris(folder)
        except FileNotFoundError:
            return []
        return [uri.rsplit("/", 1)[-1] for uri in uris if uri.endswith(".parquet")]

    def _write(self, name: str, table: pa.Table, schema: pa.Schema) -> None:
        buffer = io.BytesIO()
        pq.write_table(table.select(schema.names).cast(schema), buffer)
        uri, began = objects.join(self.out, name), time.monotonic()
        while True:
            try:
                objects.write_bytes(uri, buffer.getvalue())
                return
            except Exception as error:  # every storage has its own; the last one is raised
                if time.monotonic() - began > PATIENCE_S:
                    raise
                log.warning("%s is not written yet: %s", uri, error)
                time.sleep(PAUSE_S)
