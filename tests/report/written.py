"""Run and sweep directories as a training and a sweep leave them, with values that are known."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ats_core.recipes import ColonCancer, Recipe
from pipelines.storage import objects
from pipelines.training.options import TrainOptions
from pipelines.training.run_directory import RunDirectory

RECIPE = ColonCancer()


def config(recipe: Recipe = RECIPE, *, seed: int = 0, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The config.json of a run."""
    given = asdict(TrainOptions(seed=seed)) | dict(options or {})
    return {"recipe": asdict(recipe), "options": given, "catalog": "/data/catalog", "started": 0.0}


def write_run(
    uri: str,
    summary: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    test: str = "test",
    history: Sequence[Mapping[str, Any]] = (),
    **settings: Any,
) -> str:
    """A run directory of colon cancer with some settings of its recipe; unfinished without a summary."""
    recipe, directory = replace(RECIPE, **settings), RunDirectory(uri)
    directory.write("config.json", config(recipe, seed=seed))
    directory.write("model/config.json", {"format": 1, "recipe": asdict(recipe)})
    if history:
        directory.write_metrics(history)
    if summary is not None:
        names = ("task", "model", "n_patches", "estimator", "entropy_weight", "view_size")
        known = {name: getattr(recipe, name) for name in names} | {"seed": seed, "test_splits": [test]}
        directory.write("summary.json", known | {"run": uri} | dict(summary))
    return uri


def epoch(number: int, **measures: Any) -> dict[str, Any]:
    """A row of metrics.jsonl: 10 images a second for 4 seconds, a quarter of them waiting."""
    row = {"epoch": number, "train_loss": 1 / number, "updates": 8 * number, "seconds": 4.0, "images_per_second": 10.0}
    read = {"requests_per_image": 1.5, "mb_per_image": 0.25, "decode_ms_per_image": 5.0, "retries": 1}
    return row | read | {"read_wait_s": 1.0, "peak_memory_mb": 100.0 * number} | measures


def write_sweep(uri: str, rows: Sequence[Mapping[str, Any]], **settings: Any) -> str:
    """A sweep directory; a trial that lacks a column has nothing in it."""
    RunDirectory(uri).write("sweep.json", settings)
    names = list(dict.fromkeys(name for row in rows for name in row))
    content = io.BytesIO()
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), content)
    objects.write_bytes(objects.join(uri, "results.parquet"), content.getvalue())
    return uri


def trial(name: str, row: str, status: str = "finished", error: str = "", run: str = "", **more: Any) -> dict[str, Any]:
    """A row of a sweep's results."""
    return {"trial": name, "row": row, "status": status, "error": error, "run": run, "startup_s": 2.0} | more
