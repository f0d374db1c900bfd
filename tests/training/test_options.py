"""What the options make of a recipe, for every model."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from ats_core.errors import RecipeError
from ats_core.recipes import MODELS, ColonCancer, GermanSigns
from jobs.train_colon_cancer import check_folds
from pipelines.catalog.schema import Manifest
from pipelines.errors import CatalogError
from pipelines.training.options import TrainOptions
from pipelines.training.train import TRAIN_TEST, Splits, check, class_counts, fold_splits, run_name


def test_every_model_can_be_chosen() -> None:
    assert set(get_args(TrainOptions.__annotations__["model"])) == set(MODELS)


def test_the_entropy_is_rewarded_only_where_draws_follow_the_attention() -> None:
    weights = {model: TrainOptions(model=model).recipe(ColonCancer()).entropy_weight for model in MODELS}
    assert weights == {"ats": 0.01, "uniform": 0, "deep_mil": 0, "cnn": 0, "ips": 0}
    assert TrainOptions(model="deep_mil", entropy_weight=0.1).recipe(ColonCancer()).entropy_weight == 0.1
    assert TrainOptions(entropy_weight=0.0).recipe(ColonCancer()).entropy_weight == 0


def test_only_attention_sampling_starts_from_anomaly() -> None:
    chosen = {model: TrainOptions(model=model, anomaly=2.0).recipe(GermanSigns()).anomaly for model in MODELS}
    assert chosen == dict.fromkeys(MODELS, 0.0) | {"ats": 2.0}


def test_patches_are_those_that_a_model_classifies() -> None:
    chosen = {model: TrainOptions(model=model, n_patches=5).recipe(GermanSigns()).n_patches for model in MODELS}
    assert chosen == {"ats": 5, "uniform": 5, "deep_mil": 476, "cnn": 0, "ips": 5}


def test_options_of_deep_mil_reach_it() -> None:
    recipe = TrainOptions(model="deep_mil", gated=True, chunk=7).recipe(GermanSigns())
    assert (recipe.gated, recipe.chunk) == (True, 7)


def test_the_patch_size_is_the_tasks_unless_given() -> None:
    assert TrainOptions().recipe(ColonCancer()).patch_size == 27
    assert TrainOptions(patch_size=50).recipe(ColonCancer()).patch_size == 50


def test_a_run_is_named_by_what_is_trained_however_it_was_asked_for() -> None:
    def name(**given: Any) -> str:
        options = TrainOptions(**given)
        return run_name(options.recipe(ColonCancer()), options, "catalog", TRAIN_TEST)

    assert name(n_patches=10, model="ats", out="/elsewhere", images="/images") == name()
    changes = {"n_patches": 11, "seed": 1, "read_ahead": 0, "lr": 0.1, "anomaly": 1.0, "start_from": "runs/other"}
    assert len({name(), *(name(**{key: value}) for key, value in changes.items())}) == 7
    assert name(anomaly=0.0) == name() == "colon_cancer-ats-10-seed0-36481b64", "as older runs are called"


def test_none_is_too_few_except_of_workers() -> None:
    assert TrainOptions(num_workers=0).num_workers == 0
    for name in ("epochs", "eval_every", "n_patches", "patch_size", "batch_size", "chunk", "lr"):
        with pytest.raises(RecipeError, match=f"Check --{name.replace('_', '-')}"):
            TrainOptions(**{name: 0})
    for name in ("num_workers", "anomaly", "seed", "read_ahead", "lr"):
        with pytest.raises(RecipeError, match=f"Check --{name.replace('_', '-')}"):
            TrainOptions(**{name: -1})


@pytest.mark.parametrize("model", MODELS)
def test_what_can_be_trained_passes_the_check(model: str) -> None:
    options = TrainOptions(model=model, num_workers=0)
    check(options.recipe(ColonCancer()), options)


def test_uniform_attention_has_no_top() -> None:
    options = TrainOptions(model="uniform", eval_sampling="topk")
    with pytest.raises(RecipeError, match="no top"):
        check(options.recipe(ColonCancer()), options)


def test_the_top_has_each_cell_once() -> None:
    options = TrainOptions(estimator="iid", n_patches=10_001)
    check(options.recipe(ColonCancer()), options)
    options = replace(options, eval_sampling="topk")
    with pytest.raises(RecipeError, match="cells, and each is taken once"):
        check(options.recipe(ColonCancer()), options)


@pytest.mark.parametrize("model", MODELS)
def test_options_that_a_model_has_no_use_for_are_refused(model: str) -> None:
    for option, models in (({"gated": True}, {"deep_mil"}), ({"chunk": 8}, {"deep_mil", "ips"})):
        if model in models:
            TrainOptions(model=model, **option)
        else:
            with pytest.raises(RecipeError, match=f"with --model {model}"):
                TrainOptions(model=model, **option)


def test_one_fold_tests_and_the_others_train() -> None:
    assert fold_splits(3, 1) == Splits(train=("fold0", "fold2"), test=("fold1",))
    for fold in (-1, 3):
        with pytest.raises(RecipeError, match="0 to 2"):
            fold_splits(3, fold)


def test_a_split_without_a_labelled_image_is_refused() -> None:
    rows = [{"split": "train", "label": 0}, {"split": "test", "label": -1}]
    counts = tuple({"images": 3, "status": "ok", "layout": "png"} | row for row in rows)
    manifest = Manifest(source="", classes=("no", "yes"), view_size=(2, 2), created_by="a test", counts=counts)
    assert class_counts(manifest, ("train",)) == (3, 0)
    with pytest.raises(CatalogError, match=r"\['test'\]"):
        class_counts(manifest, ("test",))


def test_folds_are_those_of_the_catalog(tmp_path: Path) -> None:
    counts = tuple({"split": f"fold{i}", "label": 0, "images": 1, "status": "ok", "layout": ""} for i in range(4))
    manifest = Manifest(source="", classes=("no", "yes"), view_size=(2, 2), created_by="a test", counts=counts)
    manifest.write(str(tmp_path))
    check_folds(str(tmp_path), 4)
    with pytest.raises(CatalogError, match="4 folds, not 5"):
        check_folds(str(tmp_path), 5)
