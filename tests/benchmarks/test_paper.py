"""The paper's experiments: which trainings they are, how they are shared, and what a table makes of them."""

from math import sqrt
from pathlib import Path

import pytest

from ats_core.recipes import MegapixelMNIST
from benchmarks.paper import colon, gtsdb, mnist
from benchmarks.paper.__main__ import (
    Options,
    differences,
    keep_what_is_recorded,
    name_of,
    one_a_row,
    tabulated,
    trials_of,
)
from benchmarks.paper.trials import Trial, by_row, joined, lacking, place, share
from benchmarks.record import recorded


def options(experiment: str, **more: object) -> Options:
    return Options(experiment=experiment, images="/data", out="/runs", **more)


def trials(experiment: str, **more: object) -> list[Trial]:
    return trials_of(options(experiment, **more))


def test_table_1_has_every_model_fold_and_run() -> None:
    found = trials("colon", runs=3)
    assert len(found) == 3 * 5 * len(colon.MODELS)
    assert set(colon.PAPER) <= {trial.row for trial in found}
    for trial in found:
        (test,) = trial.splits.test
        assert sorted([*trial.splits.train, test]) == [f"fold{i}" for i in range(5)]
        assert trial.options.seed == trial.source.seed


VARIANTS = (
    *("colon-estimators", "colon-entropy", "colon-below", "mnist-estimators", "mnist-anomaly"),
    *("gtsdb-levers", "gtsdb-prohibitory", "gtsdb-speed-limit"),
)


@pytest.mark.parametrize("experiment", VARIANTS)
def test_variants_differ_in_what_their_rows_name_alone(experiment: str) -> None:
    """Same seeds, same splits: what is compared is the setting."""
    by_name: dict[str, list[Trial]] = {}
    for trial in trials(experiment, runs=2):
        by_name.setdefault(trial.row, []).append(trial)
    assert len(by_name) > 1
    places = [[(trial.options.seed, trial.splits, trial.source) for trial in found] for found in by_name.values()]
    assert all(place == places[0] for place in places)
    settings = [repr((found[0].recipe, found[0].options)) for found in by_name.values()]
    assert len(set(settings)) == len(settings)


def test_all_that_start_from_scenes_start_from_the_same_of_their_kind() -> None:
    started = [trial for trial in trials("gtsdb-prohibitory", runs=2) if trial.start]
    assert len(started) == 2 * gtsdb.FOLDS * len(gtsdb.MODELS)
    for kind, rows in (("cnn", {"CNN 0.3"}), ("ats", set(gtsdb.MODELS) - {"CNN 0.3"})):
        starts = [trial.start for trial in started if trial.row.removesuffix(", from scenes") in rows]
        assert {start.options.model for start in starts} == {kind}
        assert all(start == starts[0] for start in starts)


def test_maps_are_compared_between_rows_of_attention_sampling_alone() -> None:
    assert [trial.row for trial in one_a_row(trials("colon", runs=2))] == ["ATS-10", "ATS-50"]
    assert [trial.row for trial in one_a_row(trials("colon-entropy", runs=2))] == list(colon.ENTROPY)


def test_rows_can_be_chosen() -> None:
    assert {trial.row for trial in trials("mnist", rows=("ATS-5", "CNN"))} == {"ATS-5", "CNN"}


def test_a_row_that_is_not_there_is_named() -> None:
    with pytest.raises(SystemExit, match=r"colon has no row \['ATS10'\]\. Choose from \['ATS-10'"):
        trials("colon", rows=("ATS10", "ATS-50"))


def test_the_parts_of_a_share_are_all_of_it() -> None:
    everything = trials("mnist", runs=3)
    parts = [share(everything, f"{i}/4") for i in range(1, 5)]
    assert sorted(map(id, everything)) == sorted(id(trial) for part in parts for trial in part)


def test_full_size_is_the_paper_s_setting() -> None:
    trial = trials("mnist", full_size=True)[0]
    recipe = trial.options.recipe(trial.recipe)
    assert (trial.source.side, trial.source.n_train, trial.source.n_test, trial.source.n_noise) == (
        1500,
        5000,
        1000,
        50,
    )
    assert (recipe.patch_size, recipe.epochs, recipe.batch_size) == (50, 500, 128)
    assert mnist.recipe_at(mnist.PAPER) == MegapixelMNIST()


def test_a_table_is_of_runs_and_a_run_of_folds() -> None:
    """Mean and standard error over the means of the runs, not over all folds."""
    rows = [
        {"row": "a", "seed": seed, "updates": 10, "test_error": error, "train_loss": 1.0}
        for seed, errors in enumerate([(0.1, 0.3), (0.4, 0.4)])
        for error in errors
    ]
    unfinished = [{"row": "a", "seed": 2, "updates": 10, "test_error": 1.0, "train_loss": 1.0}]
    assert [len(run) for run in by_row(rows + unfinished, folds=2)["a"]] == [2, 2]
    (line,) = tabulated(rows + unfinished, 2, {"a": ("0.1", "0.2")})
    assert line["runs"] == 2
    assert line["test error"] == f"{0.3:.3f} +- {0.2 / sqrt(2) / sqrt(2):.3f}"
    assert (line["AUROC"], line["paper: train loss"], line["paper: test error"]) == ("-", "0.1", "0.2")
    assert tabulated(unfinished, 2) == []


def test_runs_are_compared_with_those_of_their_seed() -> None:
    """Chance that they share, here most of the error, is no part of the difference."""
    keys = ("test_error", "test_auroc", "test_loss", "train_loss")
    rows = [
        {"row": name, "seed": seed} | dict.fromkeys(keys, seed / 10 + more)
        for name, more in (("a", 0.0), ("b", 0.01))
        for seed in (0, 1, 2)
    ]
    (line,) = differences([*rows[:-1], {"row": "c", "seed": 0} | dict.fromkeys(keys, 0.0)], 1)
    assert (line["run by run"], line["runs"], line["AUROC"]) == ("b less a", 2, "0.010 +- 0.000")
    (line,) = differences([{key: row[key] for key in row if key != "train_loss"} for row in rows], 1)
    assert (line["test loss"], line["train loss"]) == ("0.010 +- 0.000", "-")


def test_what_is_recorded_is_not_replaced_by_less() -> None:
    rows = recorded("paper_colon")
    keep_what_is_recorded("paper_colon", [*rows, rows[0] | {"seed": 99}])
    with pytest.raises(SystemExit, match=r"would drop 2 rows of benchmarks/results/paper_colon\.json. Give --add"):
        keep_what_is_recorded("paper_colon", rows[2:])


RECORDED = (
    *("colon", "colon-below", "colon-entropy", "colon-estimators"),
    *("mnist", "mnist-estimators", "mnist-anomaly", "gtsdb-levers", "gtsdb-prohibitory", "gtsdb-speed-limit"),
)


@pytest.mark.parametrize("experiment", RECORDED)
def test_what_is_recorded_is_not_trained_again(experiment: str) -> None:
    rows, every = recorded(name_of(options(experiment))), trials(experiment)
    assert rows
    assert len({place(row) for row in rows}) == len(rows)
    assert len(lacking(every, rows)) == len(every) - len(rows)


def test_without_rows_everything_is_trained_and_full_size_has_rows_of_its_own() -> None:
    every = trials("mnist")
    assert lacking(every, []) == every
    assert name_of(options("mnist", full_size=True)) != name_of(options("mnist"))


def test_rows_found_are_added_to_those_recorded() -> None:
    first, second = ({"row": "a", "seed": seed, "test_splits": ["test"], "error": 0.0} for seed in range(2))
    assert joined([first], [first | {"error": 1.0}, second]) == [first, second]
    assert joined([], [second, first]) == [second, first]


@pytest.mark.parametrize("experiment", ["colon-estimators", "mnist-estimators"])
def test_estimators_are_compared_on_the_attention_that_they_drew_from(experiment: str) -> None:
    """`released` needs the paper's exact order; so then do the others."""
    assert {trial.options.read_ahead for trial in trials(experiment)} == {0}


def test_what_was_never_trained_has_no_summary_and_no_catalog(tmp_path: Path) -> None:
    trial = trials_of(Options(experiment="colon", images="/data", out=str(tmp_path)))[0]
    assert trial.summary() is None
    assert not list(tmp_path.iterdir())
