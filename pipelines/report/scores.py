"""What a scoring left, read back a few columns and rows at a time: there may be millions of images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from pipelines.report.runs import RunError
from pipelines.scoring.schema import SCORES, SIDECAR
from pipelines.scoring.store import ScoreStore
from pipelines.storage import objects
from pipelines.training.run_directory import RunDirectory

OK = pc.field("status") == "ok"
NO_LABEL, NO_CLASS = np.int32(-1), np.int32(-2)
ASKED = {
    *("images", "catalog", "model", "model_digest", "task", "classes", "view_size"),
    *("n_patches", "until", "max_patches", "seed"),
}


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of some images by one model."""

    uri: str
    asked: Mapping[str, Any]
    """scores.json."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the model, in the order of the probabilities."""
        return tuple(self.asked["classes"])

    @property
    def model(self) -> str:
        """Its name, without the digest."""
        return self.asked["model_digest"].rpartition("@")[0]

    def batches(self, columns: Sequence[str], only: pc.Expression | None = None) -> Iterator[pa.RecordBatch]:
        """Some columns of the images, or of those that meet a condition."""
        batches = ScoreStore(self.uri).scores().to_batches(columns=list(columns), filter=only)
        return (batch for batch in batches if len(batch))

    def rows(self, image_ids: Sequence[str]) -> list[dict[str, Any]]:
        """All that is known of a few images, in the order given; only the files that have them are read whole."""
        every, wanted = ScoreStore(self.uri).scores(), pc.field("image_id").isin(pa.array(image_ids, pa.string()))
        files = every.to_table(columns=["__filename"], filter=wanted)["__filename"].unique().to_pylist()
        some = pads.dataset(files, filesystem=every.filesystem, schema=SCORES, format="parquet")
        found = {row["image_id"]: row for row in some.to_table(filter=wanted).to_pylist()}
        return [found[image_id] for image_id in image_ids]

    def least_certain(self, k: int) -> list[str]:
        """Ids of the scored images whose two largest probabilities are nearest to each other, the nearest first."""
        return self._lowest(k, ["probabilities"], lambda batch: _margin(probabilities_of(batch, self.classes)))

    def surest_wrong(self, k: int) -> list[str]:
        """Ids of those whose label is another than was said, the surest first."""

        def key(batch: pa.RecordBatch) -> np.ndarray:
            p_nC, label_n = probabilities_of(batch, self.classes), labels_of(batch, self.classes)
            return np.where((label_n != NO_LABEL) & (label_n != p_nC.argmax(1)), -_margin(p_nC), np.nan)

        return self._lowest(k, ["probabilities", "label"], key)

    def _lowest(self, k: int, columns: Sequence[str], key: Callable[[pa.RecordBatch], np.ndarray]) -> list[str]:
        """Ids of the k scored images of the smallest keys, ascending; those of equal keys by id, NaN is left out."""
        lowest: list[tuple[float, str]] = []
        for batch in self.batches(["image_id", *columns], OK):
            keys = key(batch)
            bound = lowest[-1][0] if lowest and len(lowest) == k else np.inf
            chosen = np.flatnonzero(keys <= bound)
            chosen = chosen[keys[chosen] <= np.partition(keys[chosen], k - 1)[k - 1]] if len(chosen) > k else chosen
            ids = batch["image_id"].take(pa.array(chosen)).to_pylist()
            lowest = sorted([*lowest, *zip(keys[chosen].tolist(), ids, strict=True)])[:k]
        return [image_id for _, image_id in lowest]


def is_scores(uri: str) -> bool:
    """Whether a scoring wrote there."""
    return objects.exists(objects.join(uri, SIDECAR))


def scores_of(uri: str) -> Scores:
    """The scores of a folder; RunError when there are none."""
    uri = objects.absolute(uri).rstrip("/")
    asked = RunDirectory(uri).read(SIDECAR)
    if asked is None or not asked.keys() >= ASKED:
        raise RunError(uri, f"there is no whole {SIDECAR} in it", "Name the --out of jobs/score_bucket.py.")
    return Scores(uri, asked)


def probabilities_of(batch: pa.RecordBatch, classes: Sequence[str]) -> np.ndarray:
    """float32 [n, C] of images that were scored."""
    return batch["probabilities"].flatten().to_numpy().reshape(len(batch), len(classes))


def labels_of(batch: pa.RecordBatch, classes: Sequence[str]) -> np.ndarray:
    """The label of each image as the place of its class, int32 [n]; `NO_LABEL`, or `NO_CLASS` of the model."""
    places = pc.index_in(batch["label"], value_set=pa.array(classes, pa.string()))
    unknown = pc.equal(batch["label"], "")
    return pc.if_else(unknown, NO_LABEL, pc.fill_null(places, NO_CLASS)).to_numpy(zero_copy_only=False)


def _margin(p_nC: np.ndarray) -> np.ndarray:
    two_n2 = np.partition(p_nC, -2, axis=1)[:, -2:]
    return two_n2[:, 1] - two_n2[:, 0]
