"""Means over folds and seeds, and the table of them, against numbers by hand."""

from collections.abc import Mapping, Sequence
from itertools import count
from math import nan, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.estimates import Estimate, estimate
from pipelines.report.paper_table import COLUMNS, FORMS, paper_table
from pipelines.report.results import Result, Results

NUMBERS = count()


def result(error: str = "", *, row: str = "ats-10", seed: int = 0, **summary: Any) -> Result:
    return Result(f"run {next(NUMBERS)}", row, "", {"model": "ats", "n_patches": 10, "seed": seed} | summary, error)


def table(*results: Result) -> list[dict[str, Any]]:
    return paper_table(Results("", results))


def of_seeds(values: Mapping[int, Sequence[float]], measure: str = "test_error") -> list[Result]:
    return [result(seed=seed, **{measure: value}) for seed, folds in values.items() for value in folds]


def test_folds_of_a_seed_first_then_the_standard_error_over_seeds() -> None:
    found = estimate(of_seeds({0: [0.1, 0.3], 1: [0.4, 0.2]}), "test_error")
    assert found is not None
    assert found.value == pytest.approx(0.25)
    assert (found.low, found.high) == pytest.approx((0.2, 0.3))  # of two, half of their distance
    assert found.of == "runs"


def test_a_cross_validation_that_is_not_over_is_in_no_mean() -> None:
    results = of_seeds({0: [0.1, 0.1, 0.1], 1: [0.4], 2: [0.3, 0.3, 0.3]})
    found = estimate(results, "test_error")
    assert found is not None
    assert (found.value, found.of) == (pytest.approx(0.2), "runs")
    (row,) = table(*results)
    assert (row["runs"], row["runs_text"]) == (2, "2 x 3 folds, 1 of fewer")


def test_a_single_seed_has_the_standard_error_over_its_folds() -> None:
    found = estimate(of_seeds({7: [1.0, 2.0, 6.0]}, "train_loss"), "train_loss")
    assert found is not None
    error = sqrt((4 + 1 + 9) / 2 / 3)
    assert (found.value, found.low, found.high) == pytest.approx((3, 3 - error, 3 + error))
    assert found.of == "folds"


def test_a_single_run_has_its_bootstrap_interval_or_none() -> None:
    one = [result(test_error=0.2, test_error_low=0.125, test_error_high=0.3, train_loss=0.5)]
    assert estimate(one, "test_error") == Estimate(0.2, 0.125, 0.3, "images")
    assert estimate(one, "train_loss") == Estimate(0.5, 0.5, 0.5, "")
    assert estimate(one, "test_auroc") is None


def test_what_has_not_finished_is_in_no_mean() -> None:
    results = [*of_seeds({0: [0.2]}), result("stopped early", seed=1, test_error=0.9)]
    assert estimate(results, "test_error") == Estimate(0.2, 0.2, 0.2, "")
    assert estimate(results[1:], "test_error") is None


def test_a_training_that_ended_in_nan_is_not_left_out_of_a_mean() -> None:
    (row,) = table(*of_seeds({0: [0.5], 1: [nan]}, "train_loss"))
    assert (row["train_loss"], row["train_loss_text"]) == (None, "nan")


def test_the_same_run_again_is_no_further_run() -> None:
    errors = {("a",): 0.1, ("b",): 0.3}
    folds = [result(test_splits=list(split), test_error=error) for split, error in errors.items()]
    again = result(test_splits=["b"], test_error=0.5)
    assert estimate([*folds, again], "test_error").value == pytest.approx(0.3)
    (row,) = table(*folds, again)
    assert row["runs_text"] == "1 x 2 folds"


def runs_of(n_folds: int) -> st.SearchStrategy[dict[int, list[float]]]:
    folds = st.lists(st.floats(-1e3, 1e3), min_size=n_folds, max_size=n_folds)
    return st.dictionaries(st.integers(0, 9), folds, min_size=2)


@given(st.integers(1, 4).flatmap(runs_of))
def test_the_same_as_numpy_says(values: dict[int, list[float]]) -> None:
    found = estimate(of_seeds(values), "test_error")
    means = np.array([np.mean(folds) for folds in values.values()])
    error = means.std(ddof=1) / sqrt(len(means))
    assert found is not None
    expected = (means.mean(), means.mean() - error, means.mean() + error)
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=1e-9)


def test_a_row_a_setting_with_a_number_and_a_text_in_every_column() -> None:
    memory, read = {"memory_mb_per_sample": 12.345, "peak_memory_mb": 1500.4}, {"mb_per_image": 0.0314159}
    more = {"ms_per_sample": 1234.56, **memory, **read, "requests_per_image": 1.5}
    ats = [result(seed=seed, train_loss=0.5 + seed, test_error=0.125 * seed, **more) for seed in range(3)]
    one = result(row="cnn-100x100", test_error=0.5, test_error_low=0.25, test_error_high=0.75)
    first, second = table(*ats, one)
    assert first == {
        "row": "ats-10",
        "model": "ats",
        "error": "",
        "n_patches": 10,
        "n_patches_text": "10",
        "runs": 3,
        "runs_text": "3",
        "train_loss": 1.5,
        "train_loss_text": "1.500 ± 0.577",
        "test_error": 0.125,
        "test_error_text": "0.125 ± 0.072",
        "ms_per_sample": pytest.approx(1234.56),
        "ms_per_sample_text": "1234.6",
        "memory_mb_per_sample": pytest.approx(12.345),
        "memory_mb_per_sample_text": "12.3",
        "peak_memory_mb": pytest.approx(1500.4),
        "peak_memory_mb_text": "1,500",
        "mb_per_image": pytest.approx(0.0314159),
        "mb_per_image_text": "0.0314",
        "requests_per_image": 1.5,
        "requests_per_image_text": "1.50",
    }
    assert (second["row"], second["test_error_text"]) == ("cnn-100x100", "0.500 (0.250 to 0.750)")
    assert (second["ms_per_sample"], second["ms_per_sample_text"]) == (None, "\N{EN DASH}")
    assert set(COLUMNS) <= set(first)
    assert {f"{key}_text" for key in COLUMNS if key not in ("row", "error")} <= set(first)
    assert set(FORMS) <= set(COLUMNS)


@pytest.mark.parametrize(
    ("folds", "text"),
    [({0: 1}, "1"), ({0: 1, 1: 1}, "2"), ({0: 5, 1: 5}, "2 x 5 folds")],
)
def test_runs_are_independent_ones_and_their_folds_beside(folds: dict[int, int], text: str) -> None:
    (row,) = table(*of_seeds({seed: [0.5] * n for seed, n in folds.items()}))
    assert (row["runs"], row["runs_text"]) == (len(folds), text)


def test_failures_are_counted_and_a_row_of_nothing_else_is_there_too() -> None:
    failed = [result("ImageError: a.", seed=seed, row="ips-5") for seed in range(2)]
    mixed = [*of_seeds({0: [0.5]}), result("not finished", seed=1), result("ImageError: a.", seed=2)]
    ips, ats, lone = table(*failed, *mixed, result("RecipeError: b.", row="uniform-5"))
    assert (ips["runs"], ips["test_error"], ips["error"]) == (0, None, "2 of 2: ImageError: a.")
    assert (ats["runs"], ats["test_error"]) == (1, 0.5)
    assert ats["error"] == "1 of 3: not finished; 1 of 3: ImageError: a."
    assert (lone["n_patches"], lone["test_error_text"], lone["error"]) == (10, "\N{EN DASH}", "RecipeError: b.")


def test_a_trial_that_failed_before_it_had_settings_is_a_row() -> None:
    (row,) = table(Result("a", "a", "", {}, "RecipeError: c."))
    assert (row["model"], row["n_patches"], row["n_patches_text"]) == ("", None, "\N{EN DASH}")
