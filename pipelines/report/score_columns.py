"""What a report says of all images of a scoring: columns of numbers, in one pass over its files.

Shape suffixes: n images that were scored, m of them with a label, C classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from pipelines.report.estimates import Estimate
from pipelines.report.runs import RunError
from pipelines.report.scores import NO_LABEL, Scores, labels_of, probabilities_of
from pipelines.training.bootstrap import Measure, auroc_of, intervals, mean_of

FIRST, SUMS = ("image_id", "error"), ("requests", "bytes_read", "n_patches")
MOST = 100_000  # images; with more an interval is thinner than .007


@dataclass(frozen=True, slots=True)
class Columns:
    """All images of a scoring, 30 bytes each."""

    by_status: list[dict[str, Any]]
    """For each "status", "ok" first, then by frequency: "images", "n_patches", "requests" and "megabytes" of all, and
    "image_id" and "error" of the first."""
    said_n: np.ndarray
    """int32, the most probable class."""
    two_n2: np.ndarray
    """float32, the second largest probability, and the largest."""
    error_n: np.ndarray
    """float32, the standard error of the margin between the logits of these two."""
    patches_n: np.ndarray
    """int32."""
    label_n: np.ndarray
    """int32; see `labels_of`."""
    labelled_mC: np.ndarray
    """float32, the probabilities of the images with a label."""

    @property
    def images(self) -> int:
        """All of them."""
        return sum(status["images"] for status in self.by_status)

    @property
    def known_n(self) -> np.ndarray:
        """bool, which have a label."""
        return self.label_n != NO_LABEL

    @property
    def wrong_m(self) -> np.ndarray:
        """bool."""
        return self.said_n[self.known_n] != self.label_n[self.known_n]


def columns_of(scores: Scores) -> Columns:
    """The columns of a scoring; RunError where no image has a row yet, or the model says no probabilities."""
    names = ["status", "label", "probabilities", "standard_error", *FIRST, *SUMS]
    statuses, parts = [], []
    for batch in scores.batches(names):
        statuses.append(_by_status(pa.Table.from_batches([batch]).append_column("images", _ones(len(batch)))))
        parts.append(_part(batch.filter(pc.equal(batch["status"], "ok")), scores))
    if not parts:
        raise RunError(scores.uri, "no image has a row yet", "Wait until the scoring has written some.")
    rows = _by_status(pa.concat_tables(statuses)).to_pylist()
    by_status = [row | {"megabytes": row.pop("bytes_read") / 1e6} for row in rows]
    by_status.sort(key=lambda row: (row["status"] != "ok", -row["images"]))
    columns = Columns(by_status, *map(np.concatenate, zip(*parts, strict=True)))
    if not np.isfinite(columns.two_n2).all():
        raise RunError(scores.uri, "the model says no finite probabilities", "Its training diverged: use another.")
    return columns


def _ones(n: int) -> pa.Array:
    return pa.array(np.ones(n, np.int64))


def _by_status(table: pa.Table) -> pa.Table:
    """A row a status, of images or of such rows: the first of some columns, the sums of others."""
    wanted = [*((name, "first") for name in FIRST), *((name, "sum") for name in ("images", *SUMS))]
    found = table.group_by("status", use_threads=False).aggregate(wanted)  # in order, so that the first is the first
    return found.rename_columns({f"{name}_{what}": name for name, what in wanted})


def _part(batch: pa.RecordBatch, scores: Scores) -> tuple[np.ndarray, ...]:
    p_nC, label_n = probabilities_of(batch, scores.classes), labels_of(batch, scores.classes)
    return (
        p_nC.argmax(1).astype(np.int32),
        np.partition(p_nC, -2, axis=1)[:, -2:],
        batch["standard_error"].to_numpy(),
        batch["n_patches"].to_numpy(),
        label_n,
        p_nC[label_n != NO_LABEL],
    )


def measures_of(columns: Columns) -> dict[str, Estimate]:
    """The "error" of the images with a label, and the "auroc", mean over the classes, if each has an image.

    With their 95 % intervals, by the bootstrap over images, up to `MOST` of them; none where no image has a label.
    """
    label_m = torch.from_numpy(columns.label_n[columns.known_n])
    if not len(label_m):
        return {}
    measures: dict[str, Measure] = {"error": mean_of(torch.from_numpy(columns.wrong_m).float())}
    p_mC = torch.from_numpy(columns.labelled_mC)
    if label_m.unique().tolist() == list(range(p_mC.shape[1])):
        of_classes = [auroc_of(p_m, label_m == c) for c, p_m in enumerate(p_mC.unbind(1))]
        measures["auroc"] = lambda counts_RB: torch.stack([of_class(counts_RB) for of_class in of_classes]).mean(0)
    once_1m = torch.ones(1, len(label_m), dtype=torch.float64)
    found = intervals(measures, [""] * len(label_m)) if len(label_m) <= MOST else {}
    return {name: _estimate(measure(once_1m), found.get(name)) for name, measure in measures.items()}


def _estimate(value_1: Tensor, interval: tuple[float, float] | None) -> Estimate:
    value = value_1.item()
    low, high = interval or (value, value)
    return Estimate(value, low, high, "images" if low < high else "")
