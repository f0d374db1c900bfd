"""Rows of scores with values that are known, and of a real model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.report.examples import Example, examples
from pipelines.scoring.schema import SCORES
from pipelines.storage.ranges import stat
from pipelines.training.run_directory import RunDirectory
from tests.report.trained import write_catalog, write_trained

CLASSES = ("no", "yes")
ASKED = {
    "images": "s3://bucket/images",
    "catalog": None,
    "model": "s3://bucket/runs/one",
    "classes": CLASSES,
    "task": "toy",
    "patch_size": 20,
    "view_size": [12, 16],
    "n_patches": 3,
    "until": None,
    "max_patches": 200,
    "seed": 0,
    "model_digest": "toy-ats@0123456789ab",
}


def scored(
    image_id: str,
    probabilities: Sequence[float] = (0.25, 0.75),
    patches: Sequence[tuple[int, int, float, float]] = ((24, 30, 0.5, 0.75), (5, 60, 0.25, 0.25)),
    classes: Sequence[str] = CLASSES,
    **more: Any,
) -> dict[str, Any]:
    """A row of an image that was scored; patches are (y, x, attention, weight)."""
    names = ("y", "x", "attention", "weight")
    known = {"uri": f"/images/{image_id}", "etag": "", "height": 48, "width": 64, "label": "", "status": "ok"}
    said = {
        "error": "",
        "prediction": classes[max(range(len(classes)), key=probabilities.__getitem__)],
        "probabilities": list(probabilities),
        "standard_error": 0.5,
        "n_patches": len(patches),
        "patches": [dict(zip(names, patch, strict=True)) for patch in patches],
    }
    costs = {"requests": 3, "bytes_read": 250_000, "model": ASKED["model_digest"]}
    return {"image_id": image_id} | known | said | costs | more


def failed(image_id: str, status: str, error: str, **more: Any) -> dict[str, Any]:
    """A row of an image that was not."""
    row = scored(image_id, patches=(), height=0, width=0, status=status, error=error, standard_error=float("nan"))
    return row | {"prediction": "", "probabilities": []} | more


def table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """As scoring writes it."""
    return pa.Table.from_pylist(list(rows), schema=SCORES)


def write_scores(folder: Path, rows: Sequence[Mapping[str, Any]], parts: int = 2, **asked: Any) -> str:
    """A finished scoring of some rows in a folder; its URI."""
    (folder / "scores").mkdir(parents=True)
    for part in range(parts):
        pq.write_table(table(rows[part::parts]), folder / "scores" / f"part-{part:05d}.parquet")
    RunDirectory(str(folder)).write("scores.json", ASKED | asked)
    return str(folder)


def row_of(example: Example, uri: str, *, etag: str | None = None) -> dict[str, Any]:
    """What scoring says of an image that a model has seen so; `etag` is that of the object unless given."""
    p = example.probability
    probabilities = (p, 1 - p) if example.prediction == CLASSES[0] else (1 - p, p)
    patches = [(y, x, w, w) for (y, x), w in zip(example.centres.tolist(), example.weights.tolist(), strict=True)]
    return scored(
        example.image_id,
        probabilities,
        patches[::-1],
        uri=uri,
        etag=stat(uri).etag if etag is None else etag,
        height=example.size[0],
        width=example.size[1],
        label=example.label,
        standard_error=example.standard_error / (p * (1 - p)),
    )


class Scored:
    """Images, their catalog, a model that has learned nothing, and what it says of them."""

    def __init__(self, folder: Path, image_ids: Sequence[str], **settings: Any) -> None:
        self.catalog = write_catalog(folder / "catalog", image_ids, {image_ids[0]: [(4.0, 8.0, 12.0, 20.0)]})
        said = dict.fromkeys(image_ids, (0.0, 1.0))
        self.run = write_trained(str(folder / "run"), self.catalog, said, **settings)
        self.uris = [f"{self.catalog}-images/{i}.png" for i in range(len(image_ids))]
        self.examples = examples(RunDirectory(self.run), self.catalog, image_ids)
        self.out = folder / "out"

    def rows(self, **more: Any) -> list[dict[str, Any]]:
        """Of all images, as scoring would have them."""
        return [row_of(*pair, **more) for pair in zip(self.examples, self.uris, strict=True)]

    def by_margin(self) -> list[str]:
        """Ids, the least certain first."""
        return [seen.image_id for seen in sorted(self.examples, key=lambda seen: seen.probability)]
