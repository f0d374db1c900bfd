"""The files of scores: each written whole, by the one process that drives the job, under a name that says of what.

A file is there or not there, so what it holds is scored and the rest is not. Whatever was killed, a row is lost or
there once: nobody else writes rows, and the same images, scored again, replace the file of the same name.
"""

import hashlib
import io
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from pipelines.scoring.names import safe_name
from pipelines.scoring.patience import PATIENCE_S, patiently
from pipelines.scoring.schema import ATTENTION, SCORES
from pipelines.storage import objects

PASSING = ("missing", "denied", "stale", "unreadable")
"""Failures of which the next run may find nothing: they are tried again. The others are of the bytes themselves."""
BESIDE = {"geojson": ".geojson", "overlays": ".png"}
"""Folders with a file an image, and the suffix of these."""
READ_AT_ONCE = 16  # files


class ScoreStore:
    """The part files below a URI; a storage that does not take one is waited for so long."""

    def __init__(self, out: str, patience_s: float = PATIENCE_S) -> None:
        self.out, self.patience_s = out, patience_s

    def todo(self, listing: pa.Table, model: str) -> np.ndarray:
        """Positions in the listing of the images that have no valid row; rows that are not valid are removed.

        A row is valid if its image is listed, with the same etag and label, the model's digest is the same, its
        failure, if any, lies in the image, and no other row is of that image.
        """
        position = {image_id: at for at, image_id in enumerate(listing["image_id"].to_pylist())}
        etags, labels = listing["etag"].to_pylist(), listing["label"].to_pylist()
        missing, digest, gone = np.ones(len(listing), bool), _digest(model), set[str]()
        names, attention = self._names("scores"), set(self._names("attention"))
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            for name, rows in zip(names, pool.map(self._state, names), strict=True):
                valid = []
                for row in rows:
                    at = position.get(row["image_id"], -1)
                    found = row["etag"], row["label"], _digest(row["model"])
                    same = at >= 0 and found == (etags[at], labels[at], digest)
                    valid.append(bool(same and missing[at] and row["status"] not in PASSING))
                    if valid[-1]:
                        missing[at] = False
                    else:
                        gone.add(safe_name(row["image_id"]))
                if self._keep(name, valid, attention):
                    attention.discard(name)
        objects.delete([objects.join(self.out, "attention", name) for name in sorted(attention)])
        self._delete_files_of(gone)
        return np.flatnonzero(missing)

    def _delete_files_of(self, images: Collection[str]) -> None:
        """What shows rows that are no more, by the `safe_name` of their images."""
        for kind, suffix in BESIDE.items():
            folder = objects.join(self.out, kind)
            if not images or not objects.exists(folder):
                continue
            stale = {objects.absolute(objects.join(folder, f"{name}{suffix}")) for name in images}
            objects.delete(sorted(stale.intersection(objects.list_uris(folder))))

    def _state(self, name: str) -> list[dict[str, str]]:
        """Of each row of a file, what makes it valid."""
        return self._read("scores", name, ["image_id", "etag", "label", "model", "status"]).to_pylist()

    def _keep(self, name: str, valid: Sequence[bool], attention: Collection[str]) -> bool:
        """Replace a file, and that of its attention, by the rows that are valid, if any: whether it is still there.

        There is a whole file at any time.
        """
        if all(valid):
            return True
        if not any(valid):
            objects.delete([objects.join(self.out, "scores", name)])
            return False
        kept = self._read("scores", name).filter(pa.array(valid))
        if name in attention:
            maps = self._read("attention", name)
            of_kept = pc.is_in(maps["image_id"], kept["image_id"].combine_chunks())
            self._write(f"attention/{name}", maps.filter(of_kept), ATTENTION)
        self._write(f"scores/{name}", kept, SCORES)
        return True

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
        uri = objects.join(self.out, name)
        patiently(lambda: objects.write_bytes(uri, buffer.getvalue()), uri, self.patience_s)


def _digest(model: str) -> str:
    """Of NAME@DIGEST, what says by which model and how an image was scored; the name says where it lay."""
    return model.rpartition("@")[2]
