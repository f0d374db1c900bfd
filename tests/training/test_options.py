"""What the options make of a recipe, for every model."""

from typing import get_args

import pytest

from ats_core.errors import RecipeError
from ats_core.recipes import MODELS, ColonCancer, GermanSigns
from pipelines.training.options import TrainOptions
from pipelines.training.train import check


def test_every_model_can_be_chosen() -> None:
    assert set(get_args(TrainOptions.__annotations__["model"])) == set(MODELS)


def test_the_entropy_is_rewarded_only_where_draws_follow_the_attention() -> None:
    weights = {model: TrainOptions(model=model).recipe(ColonCancer()).entropy_weight for model in MODELS}
    assert weights == {"ats": 0.01, "uniform": 0, "deep_mil": 0, "cnn": 0, "ips": 0}
    assert TrainOptions(model="deep_mil", entropy_weight=0.1).recipe(ColonCancer()).entropy_weight == 0.1
    assert TrainOptions(entropy_weight=0.0).recipe(ColonCancer()).entropy_weight == 0


def test_patches_are_those_that_a_model_classifies() -> None:
    chosen = {model: TrainOptions(model=model, n_patches=5).recipe(GermanSigns()).n_patches for model in MODELS}
    assert chosen == {"ats": 5, "uniform": 5, "deep_mil": 170, "cnn": 0, "ips": 5}


def test_options_of_deep_mil_reach_it() -> None:
    recipe = TrainOptions(model="deep_mil", gated=True, chunk=7).recipe(GermanSigns())
    assert (recipe.gated, recipe.chunk) == (True, 7)


def test_none_is_too_few_except_of_workers() -> None:
    assert TrainOptions(num_workers=0).num_workers == 0
    for name in ("epochs", "n_patches", "batch_size", "chunk"):
        with pytest.raises(RecipeError, match=f"Check --{name.replace('_', '-')}"):
            TrainOptions(**{name: 0})
    with pytest.raises(RecipeError, match="--num-workers"):
        TrainOptions(num_workers=-1)


@pytest.mark.parametrize("model", MODELS)
def test_what_can_be_trained_passes_the_check(model: str) -> None:
    options = TrainOptions(model=model, num_workers=0)
    check(options.recipe(ColonCancer()), options)


def test_uniform_attention_has_no_top() -> None:
    options = TrainOptions(model="uniform", eval_sampling="topk")
    with pytest.raises(RecipeError, match="no top"):
        check(options.recipe(ColonCancer()), options)
