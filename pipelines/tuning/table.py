"""What a sweep gave: results.parquet and results.csv, a row a trial, and a table of means."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from pipelines.report.estimates import estimate, finished
from pipelines.report.results import SETTINGS, Result, of_trial
from pipelines.storage import objects
from pipelines.tuning.plan import Trial

MEASURES = (
    ("test error", "test_error", ".3f"),
    ("AUROC", "test_auroc", ".3f"),
    ("test loss", "test_loss", ".3f"),
    ("train loss", "train_loss", ".3f"),
    ("ms/image", "ms_per_sample", ".1f"),
    ("MB/image", "mb_per_image", ".3f"),
)
ENDED = ("finished", "stopped")


def row_of(trial: Trial, status: str, **more: Any) -> dict[str, Any]:
    """A row of the results: the trial, its settings, and with `summary` every scalar of that.

    Args:
        trial: any.
        status: "pending", "finished", "failed" or "stopped".
        more: `error`, `run`, `startup_s` (seconds) and `summary`, as far as there are any.
    """
    summary = more.pop("summary", None) or {}
    head = {"trial": trial.name, "row": trial.row, "status": status, "error": "", "run": "", "startup_s": None}
    settings = {name: getattr(trial.recipe, name) for name in SETTINGS} | {"seed": trial.options.seed}
    splits = {"train_splits": list(trial.splits.train), "test_splits": list(trial.splits.test)}
    values = settings | splits | {name: value for name, value in summary.items() if name != "run"}
    return head | more | {name: _scalar(value) for name, value in values.items()}


def _scalar(value: Any) -> Any:
    """Sizes as 100x100, names as a+b."""
    if not isinstance(value, list | tuple):
        return value
    return ("x" if all(isinstance(part, int) for part in value) else "+").join(map(str, value))


def write(sweep: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write both files of a sweep directory anew."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    for name, written in (("results.parquet", pq.write_table), ("results.csv", csv.write_csv)):
        content = io.BytesIO()
        written(table, content)
        _replace(objects.join(sweep, name), content.getvalue())


def _replace(uri: str, content: bytes) -> None:
    """Write an object at once: a killed job leaves the one before, and no half of one."""
    if not objects.is_local(uri):
        return objects.write_bytes(uri, content)
    objects.write_bytes(f"{uri}.part", content)
    Path(f"{uri}.part").replace(uri)
    return None


def read(sweep: str) -> dict[str, dict[str, Any]]:
    """The rows of a sweep by trial; none before there are any."""
    uri = objects.join(sweep, "results.parquet")
    if not objects.exists(uri):
        return {}
    return {row["trial"]: row for row in pq.read_table(pa.BufferReader(objects.read_bytes(uri))).to_pylist()}


def means(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each setting: mean and standard error of its finished trials, as the report has them (`estimate`)."""
    of: dict[str, list[Result]] = {}
    for row in rows:
        of.setdefault(row["row"], []).append(of_trial(row))
    width = max(map(len, of)) + 2
    lines = [f"{'':<{width}}{'trials':>8}" + "".join(f"{title:>18}" for title, *_ in MEASURES)]
    for name, trials in of.items():
        cells = "".join(f"{_cell(trials, key, form):>18}" for _, key, form in MEASURES)
        lines.append(f"{name:<{width}}{f'{len(finished(trials))}/{len(trials)}':>8}{cells}")
    return "\n".join(lines)


def _cell(trials: Sequence[Result], measure: str, form: str) -> str:
    found = estimate(trials, measure)
    if found is None:
        return "-"
    error = f" +- {found.high - found.value:{form}}" if found.of in ("runs", "folds") else ""
    return format(found.value, form) + error
