"""Which trainings a sweep is made of, and what they are called."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ats_core.errors import RecipeError
from ats_core.recipes import MODELS, ColonCancer
from pipelines.errors import CatalogError
from pipelines.storage import objects
from pipelines.training.train import TRAIN_TEST, Splits
from pipelines.tuning.data import data_of
from pipelines.tuning.options import SweepOptions
from pipelines.tuning.plan import Trial, sweep_name, trials_of
from tests.tuning.conftest import write_manifest


def plan(catalog: str, **options: Any) -> list[Trial]:
    chosen = SweepOptions(catalog=catalog, out="/out", **options)
    return trials_of(chosen, data_of(chosen))


def test_the_same_training_is_one_trial(catalog: str) -> None:
    """Of 5 x 2 x 2 x 2 combinations, those that differ in what a model has no use for are one."""
    axes = {"patch_counts": (5, 10), "estimators": ("unordered", "iid"), "entropy_weights": (0.0, 0.1)}
    trials = plan(catalog, models=tuple(MODELS), **axes)
    counts = {model: sum(trial.recipe.model == model for trial in trials) for model in MODELS}
    assert counts == {"ats": 8, "uniform": 4, "deep_mil": 2, "ips": 4, "cnn": 1}
    assert len({trial.run for trial in trials}) == len({trial.name for trial in trials}) == len(trials)


def test_names_say_what_differs(catalog: str) -> None:
    rows = [trial.row for trial in plan(catalog, models=tuple(MODELS), patch_counts=(5,), entropy_weights=(0.0, 0.1))]
    assert rows == [
        *("ats-5 entropy_weight=0.0", "ats-5 entropy_weight=0.1", "uniform-5"),
        *("deep_mil-2500 entropy_weight=0.0", "deep_mil-2500 entropy_weight=0.1"),
        *("ips-5 entropy_weight=0.0", "ips-5 entropy_weight=0.1", "cnn-100x100"),
    ]
    assert [trial.row for trial in plan(catalog, models=("ats",), patch_sizes=(27, 40), patch_counts=(5,))] == [
        "ats-5 patch_size=27",
        "ats-5 patch_size=40",
    ]


def test_every_setting_of_a_seed_and_fold_comes_before_the_next(catalog: str) -> None:
    trials = plan(catalog, models=("ats",), patch_counts=(5, 10), seeds=(0, 3), test_folds=(1, 4))
    assert [trial.name for trial in trials] == [
        f"ats-{n} test=fold{fold} seed={seed}" for seed in (0, 3) for fold in (1, 4) for n in (5, 10)
    ]
    assert trials[0].splits == Splits(train=("fold0", "fold2", "fold3", "fold4"), test=("fold1",))
    assert {trial.row for trial in trials} == {"ats-5", "ats-10"}


def test_the_run_of_a_setting_is_the_same_in_every_sweep(catalog: str) -> None:
    (alone,) = plan(catalog, models=("ats",), patch_counts=(10,))
    axes = {"estimators": ("iid", "unordered"), "entropy_weights": (0.1, 0.01), "patch_sizes": (40, 27)}
    assert alone.run in {trial.run for trial in plan(catalog, models=("ats",), patch_counts=(5, 10), **axes)}
    assert alone.recipe == ColonCancer()
    assert alone.run.startswith("/out/colon_cancer-ats-10-seed0-")


def test_options_of_one_model_reach_it_alone(catalog: str) -> None:
    options = {
        t.recipe.model: t.options for t in plan(catalog, models=tuple(MODELS), patch_counts=(5,), gated=True, chunk=7)
    }
    assert {model: (of.gated, of.chunk) for model, of in options.items()} == {
        "ats": (False, None),
        "uniform": (False, None),
        "deep_mil": (True, 7),
        "ips": (False, 7),
        "cnn": (False, None),
    }


def test_views_of_a_source_are_catalogs_of_their_own(tmp_path: Path) -> None:
    views = {"models": ("uniform", "cnn", "deep_mil"), "view_sizes": ("100x100", "250x200"), "patch_counts": (5,)}
    options = SweepOptions(task="colon_cancer", images="/images", out=str(tmp_path), **views)
    trials = trials_of(options, data_of(options))
    assert [(trial.row, trial.recipe.view_size) for trial in trials] == [
        ("uniform-5 view_size=100x100", (100, 100)),
        ("uniform-5 view_size=250x200", (250, 200)),
        ("cnn-100x100", (100, 100)),
        ("cnn-250x200", (250, 200)),
        ("deep_mil-2500", (100, 100)),
    ]
    assert len({trial.catalog for trial in trials}) == 2
    assert all(trial.options.view_size is None for trial in trials), "the catalog says it"


def test_views_of_a_catalog_are_what_they_are(catalog: str) -> None:
    assert [trial.row for trial in plan(catalog, models=("cnn",), view_sizes=("100x100",))] == ["cnn-100x100"]
    with pytest.raises(CatalogError, match=r"\(100, 100\), not \(50, 50\)"):
        plan(catalog, models=("cnn",), view_sizes=("50x50",))


def test_the_task_is_the_catalogs_own_unless_named(tmp_path: Path) -> None:
    known = write_manifest(tmp_path / "known", "train", "test", source="Gtsdb(images='x', task='prohibitory')")
    (trial,) = plan(known, models=("ats",), patch_counts=(5,))
    assert (trial.recipe.task, trial.recipe.classes, trial.splits) == ("gtsdb", ("negative", "positive"), TRAIN_TEST)
    (trial,) = plan(known, models=("ats",), patch_counts=(5,), task="speed_limits")
    assert trial.recipe.task == "speed_limits"
    unknown = write_manifest(tmp_path / "unknown", "train", "test", source="Other()")
    with pytest.raises(RecipeError, match="Pass --task"):
        plan(unknown)


def test_folds_are_of_images_that_have_some(tmp_path: Path, catalog: str) -> None:
    with pytest.raises(RecipeError, match="0 to 4"):
        plan(catalog, test_folds=(5,))
    with pytest.raises(RecipeError, match="no folds"):
        plan(write_manifest(tmp_path / "split", "train", "test"), test_folds=(1,))


def test_a_sweep_is_named_by_its_trials(catalog: str) -> None:
    options = SweepOptions(catalog=catalog, out="/out")
    names = {
        sweep_name(of, trials_of(of, data_of(of)))
        for of in (options, replace(options, seeds=(0, 1)), replace(options, asha=True), replace(options, epochs=3))
    }
    assert len(names) == 4
    assert all(name.startswith("colon_cancer-") for name in names)
    assert sweep_name(replace(options, name="mine"), trials_of(options, data_of(options))) == "mine"


def test_training_images_are_counted_before_and_after_there_is_a_catalog(tmp_path: Path, catalog: str) -> None:
    options = SweepOptions(catalog=catalog, out="/out")
    data = data_of(options)
    assert data.n_train((100, 100), data.splits[0]) == 4 * 20
    generated = data_of(SweepOptions(task="megapixel_mnist", out=str(tmp_path)))
    assert generated.n_train((180, 180), TRAIN_TEST) == 5000
    assert not objects.exists(f"{tmp_path}/images"), "to count them, none is made"


def test_generated_images_lie_beside_the_runs(tmp_path: Path) -> None:
    source = data_of(SweepOptions(out=str(tmp_path), smoke=True)).source
    assert (source.images, source.n_train, source.n_test) == (f"{tmp_path}/images/road_scenes-smoke", 16, 16)
