"""Runs, sweeps and folders of them, read as one kind of results."""

from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from ats_core.recipes import SpeedLimits
from pipelines.report.results import Results, results_of
from pipelines.report.row_names import row_names
from pipelines.report.runs import RunError
from pipelines.storage import objects
from tests.report.written import RECIPE, config, trial, write_run, write_sweep

ATS = {"task": "colon_cancer", "model": "ats", "n_patches": 10, "seed": 0}


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3")


def rows(results: Results) -> dict[str, list[str]]:
    return {row: [result.name for result in found] for row, found in results.by_row().items()}


def test_a_run_is_one_result_with_its_settings_beside_what_it_gave(place: str) -> None:
    uri = write_run(objects.join(place, "run"), {"test_error": 0.2, "commit": "abc"}, seed=3, n_patches=5)
    results = results_of(uri + "/")
    (result,) = results.results
    assert (results.title, results.kind, results.dashboard) == ("colon_cancer ats-5, seed 3", "run", "")
    assert (result.name, result.row, result.run, result.error) == ("run", "ats-5", uri, "")
    assert result.summary["test_error"] == 0.2
    assert result.summary["commit"] == "abc"
    assert result.summary["patch_size"] == RECIPE.patch_size  # which summary.json does not say


def test_a_run_that_has_not_finished_says_so_and_what_it_is(tmp_path: Path) -> None:
    (result,) = results_of(write_run(str(tmp_path / "run"), n_patches=5, seed=2)).results
    assert result.error == "not finished"
    assert [result.summary[name] for name in ("task", "model", "n_patches", "seed")] == ["colon_cancer", "ats", 5, 2]
    assert "test_error" not in result.summary


def test_a_folder_has_the_runs_directly_below_and_seeds_and_folds_are_one_row(place: str) -> None:
    for n_patches in (50, 5):
        for seed, test in ((1, "fold0"), (0, "fold1"), (0, "fold0")):
            name = f"ats-{n_patches}-{seed}-{test}"
            write_run(objects.join(place, "out", name), {}, seed=seed, test=test, n_patches=n_patches)
    write_run(objects.join(place, "out", "cnn"), {}, model="cnn", n_patches=0)
    write_run(objects.join(place, "out", "deeper", "run"), {})
    objects.write_bytes(objects.join(place, "out", "note.txt"), b"")
    objects.write_bytes(objects.join(place, "out", "other", "config.json"), b'{"format": 1}')
    results = results_of(objects.join(place, "out"))
    assert (results.title, results.kind) == ("out", "folder")
    assert rows(results) == {
        "ats-5": ["ats-5-0-fold0", "ats-5-0-fold1", "ats-5-1-fold0"],
        "ats-50": ["ats-50-0-fold0", "ats-50-0-fold1", "ats-50-1-fold0"],
        "cnn-100x100": ["cnn"],
    }


def test_a_sweep_is_its_table_and_a_failed_trial_a_result_with_its_error(place: str) -> None:
    settings = {"task": "colon_cancer", "model": "ats", "n_patches": 10, "view_size": "100x100"}
    sweep = write_sweep(
        objects.join(place, "sweeps", "first"),
        [
            trial("ats-10 seed=1", "ats-10", **settings, seed=1, test_error=0.25, test_auroc=float("nan")),
            trial("ats-10 seed=0", "ats-10", run="/runs/a", **settings, seed=0, test_splits="a+b", test_error=0.125),
            trial("ats-10 seed=2", "ats-10", "failed", "GeometryError: it is so. Mend it.", **settings, seed=2),
            trial("ats-10 seed=3", "ats-10", "stopped", **settings, seed=3, test_error=0.5),
            trial("ats-10 seed=4", "ats-10", "pending", **settings, seed=4),
        ],
        dashboard="http://127.0.0.1:8265",
    )
    results = results_of(sweep)
    assert (results.title, results.kind, results.dashboard) == ("first", "sweep", "http://127.0.0.1:8265")
    assert rows(results) == {"ats-10": [f"ats-10 seed={seed}" for seed in range(5)]}
    errors = ["", "", "GeometryError: it is so. Mend it.", "stopped early", "not finished"]
    assert [result.error for result in results.results] == errors
    first, second, failed, *_ = results.results
    assert first.run == "/runs/a"
    assert first.summary == settings | {
        "view_size": [100, 100],
        "test_splits": ["a", "b"],
        "seed": 0,
        "test_error": 0.125,
        "startup_s": 2.0,
    }
    assert isnan(second.summary["test_auroc"])  # a training that diverged is not one that lacks a result
    assert failed.run == ""


def test_a_run_of_a_folder_that_is_also_a_trial_counts_once_under_the_trials_name(tmp_path: Path) -> None:
    shared, alone = (write_run(str(tmp_path / name), {"test_error": 0.5}) for name in ("shared", "alone"))
    of_trial = trial("ats-10 seed=0", "ats-10", run=shared, **ATS)
    for sweep in ("one", "sweeps/two"):  # the latter as jobs/tune_patches.py has it
        write_sweep(str(tmp_path / sweep), [of_trial])
    assert [(result.name, result.run) for result in results_of(str(tmp_path)).results] == [
        ("alone", alone),
        ("ats-10 seed=0", shared),
    ]


def test_trials_of_one_name_in_two_sweeps_are_told_apart(tmp_path: Path) -> None:
    for sweep in ("one", "two"):
        ended = trial("ats-10 seed=0", "ats-10", run=f"/runs/{sweep}", model="ats")
        failed = trial("cnn seed=0", "cnn", "failed", f"of {sweep}", model="cnn")
        write_sweep(str(tmp_path / sweep), [ended, failed])
    results = results_of(str(tmp_path))
    assert rows(results) == {
        "ats-10": ["one/ats-10 seed=0", "two/ats-10 seed=0"],
        "cnn": ["one/cnn seed=0", "two/cnn seed=0"],
    }
    assert [result.error for result in results.by_row()["cnn"]] == ["of one", "of two"]


def test_equal_names_of_two_sweeps_with_other_settings_are_two_rows(tmp_path: Path) -> None:
    for sweep, weight in (("one", 0.01), ("two", 0.1)):
        run = write_run(str(tmp_path / f"run-{sweep}"), {}, entropy_weight=weight)
        write_sweep(str(tmp_path / sweep), [trial("ats-10 seed=0", "ats-10", run=run, **ATS)])
    write_run(str(tmp_path / "alone"), {}, entropy_weight=0.1)
    assert rows(results_of(str(tmp_path))) == {
        "ats-10": ["alone", "two/ats-10 seed=0"],
        "ats-10, entropy_weight 0.01": ["one/ats-10 seed=0"],
    }


def test_rows_of_two_tasks_never_meet(tmp_path: Path) -> None:
    for task in ("cells", "roads"):
        write_sweep(str(tmp_path / task), [trial("a", "ats-10", run=f"/runs/{task}", task=task, model="ats")])
    assert list(results_of(str(tmp_path)).by_row()) == ["cells ats-10", "roads ats-10"]


def test_a_copy_of_a_sweep_is_of_the_runs_that_lie_beside_it(tmp_path: Path) -> None:
    run = write_run(str(tmp_path / "run-1b063d51"), {"test_error": 0.5})
    write_sweep(str(tmp_path / "copy"), [trial("a", "ats-10", run="s3://bucket/out/run-1b063d51", model="ats")])
    assert [(result.name, result.run) for result in results_of(str(tmp_path)).results] == [("a", run)]


def test_a_sweep_in_which_nothing_has_begun_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    write_sweep(str(tmp_path), [])
    with pytest.raises(RunError, match=r"no trial of this sweep has begun\. Try again"):
        results_of(str(tmp_path))


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    write_run(str(tmp_path / "a [1] * b?" / "run"), {})
    assert rows(results_of(str(tmp_path / "a [1] * b?"))) == {"ats-10": ["run"]}


def test_nothing_there_is_an_error_with_a_remedy(place: str) -> None:
    for where in (objects.join(place, "nowhere"), place):
        with pytest.raises(RunError, match=r"no run in it, and no sweep\. Name the directory of a run, of a sweep"):
            results_of(where)
    catalog = write_run(objects.join(place, "run"), {}) + "/model"
    with pytest.raises(RunError, match="no run in it"):
        results_of(catalog)


def test_half_a_table_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    write_sweep(str(tmp_path), [trial("a", "a")])
    whole = (tmp_path / "results.parquet").read_bytes()
    (tmp_path / "results.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"results\.parquet: it is no table.*try again in a moment"):
        results_of(str(tmp_path))


def names(*settings: dict[str, Any]) -> list[str]:
    return row_names([config(replace(RECIPE, **own)) for own in settings])


def test_a_name_says_model_and_patches_or_the_view_where_there_are_none() -> None:
    assert names({"n_patches": 5}, {"model": "uniform"}, {"model": "cnn", "n_patches": 0}) == [
        "ats-5",
        "uniform-10",
        "cnn-100x100",
    ]


def test_what_most_runs_of_a_model_have_goes_unsaid_and_the_rest_is_named() -> None:
    usual, other = {"entropy_weight": 0.01}, {"entropy_weight": 0.1, "n_patches": 50}
    assert names(usual, usual, other) == ["ats-10", "ats-10", "ats-50, entropy_weight 0.1"]
    assert names(usual, other) == ["ats-10, entropy_weight 0.01", "ats-50, entropy_weight 0.1"]
    off, uniform = {"entropy_weight": 0.0}, {"model": "uniform", "entropy_weight": 0.0}
    assert names(usual, usual, off, uniform) == ["ats-10", "ats-10", "ats-10, entropy_weight 0.0", "uniform-10"]


def test_settings_in_settings_switches_sizes_and_uris() -> None:
    stain = replace(RECIPE.augmentation, stain=0.4)
    assert names({}, {}, {"augmentation": stain}) == ["ats-10", "ats-10", "ats-10, stain 0.4"]
    assert names({}, {}, {"gated": True}) == ["ats-10", "ats-10", "ats-10, gated"]
    assert names({}, {}, {"view_size": (50, 80)})[2] == "ats-10, view_size 50x80"
    of_images = [config(options={"images": images}) for images in ("s3://bucket/one/", "s3://bucket/two")]
    assert row_names(of_images) == ["ats-10, images one", "ats-10, images two"]


def test_runs_of_other_classes_or_from_elsewhere_are_not_one_row() -> None:
    of_years = [config(options={"catalog": f"s3://bucket/{year}/catalog"}) for year in (2023, 2024)]
    assert row_names(of_years) == [f"ats-10, catalog s3://bucket/{year}/catalog" for year in (2023, 2024)]
    tasks = [config(replace(RECIPE, classes=classes)) for classes in (("no", "yes"), ("no", "50", "70"))]
    assert row_names(tasks) == ["ats-10, classes no+yes", "ats-10, classes no+50+70"]


def test_colours_of_the_training_images_make_no_name() -> None:
    splits = [config(replace(RECIPE, mean=(mean,) * 3, std=(0.2,) * 3)) for mean in (0.51, 0.52)]
    assert row_names(splits) == ["ats-10", "ats-10"]


def test_which_of_equal_runs_it_is_and_where_it_lies_makes_no_name() -> None:
    options = {"seed": 1, "fold": 1, "runs": 2, "out": "/elsewhere", "eval_every": 3, "n_patches": 10, "epochs": 9}
    assert row_names([config(), config(options=options)]) == ["ats-10", "ats-10"]


def test_a_run_from_before_a_setting_that_counts_as_zero_differs_from_one_that_has_it() -> None:
    earlier, with_it = config(), config(replace(RECIPE, anomaly=2.0))
    del earlier["recipe"]["anomaly"]
    assert row_names([earlier, config(), config(), with_it]) == ["ats-10", "ats-10", "ats-10", "ats-10, anomaly 2.0"]


def test_a_run_that_starts_from_another_differs_from_one_that_does_not() -> None:
    earlier, fresh = config(), config(options={"start_from": None})
    started = config(options={"start_from": "/runs/scenes-ats-24"})
    assert row_names([earlier, fresh, started]) == ["ats-10", "ats-10", "ats-10, start_from scenes-ats-24"]
    assert row_names([fresh, started, started])[0] == "ats-10, no start_from"


def test_a_run_from_before_a_setting_was_there_does_not_differ_in_it() -> None:
    old = config()
    del old["recipe"]["augmentation"]["stain"], old["options"]["precision"], old["recipe"]["backbone"]
    assert row_names([old, config()]) == ["ats-10", "ats-10"]
    other = config(options={"precision": "float32"})
    assert row_names([old, config(), config(), other]) == ["ats-10"] * 3 + ["ats-10, precision float32"]


def test_the_task_comes_first_where_there_are_several() -> None:
    assert row_names([config(), config(SpeedLimits())]) == ["colon_cancer ats-10", "speed_limits ats-10"]
