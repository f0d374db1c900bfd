"""Tables of runs, against figures worked out by hand."""

from typing import Any

import pytest

from pipelines.report.cross_validation import cross_validation_table, mean_and_error, runs_table
from pipelines.report.table import name_of, summary_table


def summary(error: float, n_test: int = 20, **more: Any) -> dict[str, Any]:
    base = {"task": "colon_cancer", "model": "ats", "n_patches": 10, "view_size": [100, 100], "seed": 3}
    return base | {"test_error": error, "n_test": n_test} | more


def cells(table: str, title: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.strip().startswith(title))
    return line.strip().removeprefix(title).split()


def test_mean_and_standard_error() -> None:
    assert mean_and_error([0.1, 0.2, 0.3, 0.4]) == pytest.approx((0.25, (0.05 / 3) ** 0.5 / 2))
    assert str(mean_and_error([0.1])[1]) == "nan"


def test_one_run_is_the_mean_over_its_folds_and_the_error_also_of_all_images() -> None:
    table = cross_validation_table([summary(0.1, train_loss=0.5), summary(0.4, n_test=10, train_loss=0.7)])
    assert "colon_cancer ats-10, seed 3: mean and standard error over 2 folds" in table
    assert cells(table, "wrong images") == ["6", "of", "30:", "error", "0.200"]
    assert cells(table, "test_error") == ["0.250", "+-", "0.150"]
    assert cells(table, "train_loss") == ["0.600", "+-", "0.100"]
    assert "test_auroc" not in table


def test_several_runs_are_the_mean_over_their_means() -> None:
    runs = [[summary(0.1), summary(0.3)], [summary(0.2), summary(0.6)], [summary(0.3), summary(0.3)]]
    table = runs_table(runs)
    assert "over 3 runs of 2 folds" in table
    assert cells(table, "test_error") == ["0.300", "+-", "0.058"]


def test_runs_side_by_side() -> None:
    ours = summary(0.1, test_error_low=0.05, test_error_high=0.15, attention_on_box=0.8, recall_positive=0.9)
    cnn = summary(0.2) | {"model": "cnn", "n_patches": 0, "view_size": [250, 200]}
    table = summary_table([ours, cnn])
    assert (name_of(ours), name_of(cnn)) == ("colon_cancer ats-10", "colon_cancer cnn-250x200")
    assert cells(table, "test error") == ["0.100", "0.200"]
    assert cells(table, "95 % interval") == ["0.050", "to", "0.150", "-"]
    assert cells(table, "recall positive") == ["0.900", "-"]
    assert cells(table, "attention on boxes") == ["0.800", "-"]
    assert "AUROC" not in table


def test_a_recall_has_its_interval_below() -> None:
    ends = {"recall_positive_low": 0.8, "recall_positive_high": 1.0}
    lines = summary_table([summary(0.1, recall_positive=0.9, **ends)]).splitlines()
    below = next(i for i, line in enumerate(lines) if line.startswith("recall positive")) + 1
    assert lines[below].split() == ["95", "%", "interval", "0.800", "to", "1.000"]
    assert sum("recall" in line for line in lines) == 1
