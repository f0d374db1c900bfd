"""The rows of a sweep, as they are written, read back and averaged."""

import csv
from pathlib import Path
from typing import Any

import pytest

from pipelines.tuning import table
from pipelines.tuning.data import data_of
from pipelines.tuning.options import SweepOptions
from pipelines.tuning.plan import Trial, trials_of

SUMMARY = {
    "task": "colon_cancer",
    "model": "ats",
    "n_patches": 5,
    "view_size": [100, 100],
    "test_splits": ["fold0"],
    "test_error": 0.25,
    "test_loss": 0.5,
    "machine": "a, b",
    "run": "/elsewhere",
}


@pytest.fixture
def trials(catalog: str) -> list[Trial]:
    options = SweepOptions(catalog=catalog, out="/out", models=("ats",), patch_counts=(5,), seeds=(0, 1, 2))
    return trials_of(options, data_of(options))


def test_a_finished_row_has_every_scalar_of_the_summary(trials: list[Trial]) -> None:
    row = table.row_of(trials[1], "finished", run="/run", startup_s=1.5, summary=SUMMARY)
    assert {name: row[name] for name in ("trial", "row", "status", "error", "run", "startup_s")} == {
        "trial": "ats-5 seed=1",
        "row": "ats-5",
        "status": "finished",
        "error": "",
        "run": "/run",
        "startup_s": 1.5,
    }
    assert (row["view_size"], row["test_splits"], row["train_splits"]) == (
        "100x100",
        "fold0",
        "fold1+fold2+fold3+fold4",
    )
    assert (row["test_error"], row["machine"], row["patch_size"], row["seed"]) == (0.25, "a, b", 27, 1)


def test_a_row_without_a_summary_has_its_settings(trials: list[Trial]) -> None:
    row = table.row_of(trials[0], "failed", error="ValueError: no")
    assert (row["status"], row["error"], row["run"], row["startup_s"]) == ("failed", "ValueError: no", "", None)
    assert {name: row[name] for name in (*table.SETTINGS, "seed")} == {
        "task": "colon_cancer",
        "model": "ats",
        "n_patches": 5,
        "estimator": "unordered",
        "entropy_weight": 0.01,
        "patch_size": 27,
        "view_size": "100x100",
        "batch_size": 5,
        "seed": 0,
    }


def test_both_files_say_the_same_and_nothing_else_is_left(trials: list[Trial], tmp_path: Path) -> None:
    sweep = str(tmp_path / "sweep")
    assert table.read(sweep) == {}
    rows: list[dict[str, Any]] = [
        table.row_of(trials[0], "pending"),
        table.row_of(trials[1], "finished", summary=SUMMARY),
    ]
    table.write(sweep, rows[:1])
    table.write(sweep, rows)
    assert {path.name for path in Path(sweep).iterdir()} == {"results.parquet", "results.csv"}
    read = table.read(sweep)
    assert list(read) == ["ats-5 seed=0", "ats-5 seed=1"]
    assert read["ats-5 seed=1"]["test_error"] == 0.25
    assert read["ats-5 seed=0"]["test_error"] is None
    with Path(sweep, "results.csv").open() as file:
        of_csv = list(csv.DictReader(file))
    assert [row["trial"] for row in of_csv] == list(read)
    assert (of_csv[0]["test_error"], of_csv[1]["test_error"], of_csv[1]["machine"]) == ("", "0.25", "a, b")


def test_results_lie_in_a_bucket_too(trials: list[Trial], s3: str) -> None:
    for status in ("pending", "finished"):
        table.write(f"{s3}/sweep", [table.row_of(trials[0], status)])
    assert table.read(f"{s3}/sweep")[trials[0].name]["status"] == "finished"


def test_means_are_over_finished_trials(trials: list[Trial]) -> None:
    errors = (0.1, 0.3)
    rows = [table.row_of(t, "finished", summary={"test_error": e}) for t, e in zip(trials, errors, strict=False)]
    head, line = table.means([*rows, table.row_of(trials[2], "failed", error="x")]).splitlines()
    assert head.split()[:3] == ["trials", "test", "error"]
    assert line.split()[:5] == ["ats-5", "2/3", "0.200", "+-", "0.100"]
    assert table.means(rows[:1]).splitlines()[1].split()[:3] == ["ats-5", "1/1", "0.100"]
