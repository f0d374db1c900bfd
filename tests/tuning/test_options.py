"""What a sweep refuses, and what its options are called."""

import re
from typing import Any, get_args

import pytest
import tyro

from ats_core.errors import RecipeError
from ats_core.recipes import MODELS, RECIPES
from pipelines.training.options import TrainOptions
from pipelines.tuning.options import USE, Estimator, Model, SweepOptions, Task


def test_every_task_model_and_estimator_can_be_named() -> None:
    assert set(get_args(Task)) == set(RECIPES)
    assert set(get_args(Model)) == set(MODELS) == set(USE)
    assert set(get_args(Estimator)) <= {
        value for of in get_args(TrainOptions.__annotations__["estimator"]) for value in get_args(of)
    }


def test_the_command_line_has_one_name_for_one_option(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--n-patches", "5", "10", "--models", "ats", "cnn", "--view-sizes", "10x20", "--epochs", "3"]
    options = tyro.cli(SweepOptions, args=line)
    assert (options.patch_counts, options.models, options.epochs) == ((5, 10), ("ats", "cnn"), 3)
    assert options.views() == ((10, 20),)
    with pytest.raises(SystemExit):
        tyro.cli(SweepOptions, args=["--help"])
    names = re.findall(r"^\W (--[\w-]+)", capsys.readouterr().out, re.MULTILINE)
    assert not {"--model", "--seed", "--view-size", "--patch-size", "--estimator", "--entropy-weight"} & set(names)
    assert {"--n-patches", "--models", "--epochs", "--images-in", "--out"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"models": ()}, "--models"),
        ({"seeds": ()}, "--seeds"),
        ({"samples": 0}, "--samples"),
        ({"max_concurrent": 0}, "--max-concurrent"),
        ({"grace_epochs": 0}, "--grace-epochs"),
        ({"view_sizes": ("100",)}, "100x100"),
        ({"view_sizes": ("0x5",)}, "100x100"),
        ({"epochs": 0}, "--epochs"),
        ({"search": "optuna", "seeds": (0, 1)}, "luckiest"),
    ],
)
def test_what_no_sweep_can_have_is_refused(wrong: dict[str, Any], what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        SweepOptions(**wrong)


def test_one_training_has_the_options_of_a_training_job() -> None:
    sweep = SweepOptions(out="/out", epochs=3, images_in="memory", models=("ats",))
    swept = {"n_patches": 5, "entropy_weight": 0.1}
    expected = {"epochs": 3, "images_in": "memory", "num_workers": 0, "seed": 7}
    assert sweep.of_run("ats", 7, **swept) == TrainOptions(out="/out", model="ats", **swept, **expected)
    assert sweep.of_run("uniform", 7, **swept) == TrainOptions(out="/out", model="uniform", n_patches=5, **expected)
    assert type(sweep.of_run("ats", 7)) is TrainOptions
