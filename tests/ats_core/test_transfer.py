"""A model begins with the networks of another where they mean the same, and says so where they do not fit."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ats_core import bundle
from ats_core.errors import RecipeError
from ats_core.models import Model
from ats_core.recipes import MODELS, MegapixelMNIST, Recipe, SpeedLimits
from ats_core.transfer import start_from

SMALL = {
    "speed_limits": SpeedLimits(view_size=(24, 32), patch_size=16, n_patches=2, mil_grid=(2, 3)),
    "megapixel_mnist": MegapixelMNIST(view_size=(6, 6), patch_size=15, n_patches=2, mil_grid=(2, 3)),
}
SETS = [(of, to) for of in MODELS for to in MODELS if of == to or "cnn" not in (of, to)]


def trained(recipe: Recipe) -> tuple[Recipe, dict[str, Tensor]]:
    """A saved model, none of whose weights and statistics is one that a fresh model has."""
    torch.manual_seed(1)
    model = recipe.build()
    for value in model.state_dict().values():
        value.add_(1)
    return bundle.read(bundle.dumps(model, recipe))


def started(recipe: Recipe, of: Recipe) -> tuple[Model, dict[str, Tensor], tuple[str, ...]]:
    """A model that starts from another, the weights of that, and what it took."""
    torch.manual_seed(0)
    model = recipe.build()
    of, weights = trained(of)
    return model, weights, start_from(model, recipe, weights, of)


@pytest.mark.parametrize("task", SMALL)
@pytest.mark.parametrize(("of", "to"), SETS)
def test_what_is_taken_is_that_of_the_other_and_the_rest_is_its_own(task: str, of: str, to: str) -> None:
    recipe = replace(SMALL[task], model=to)
    model, weights, taken = started(recipe, replace(SMALL[task], model=of))
    torch.manual_seed(0)
    fresh = recipe.build().state_dict()
    assert "features" in taken or to == "cnn"
    assert of == to or ("classifier" in taken) == ("ips" not in (of, to)), "which does not read a mean of features"
    assert of == to or set(taken) <= {"features", "classifier"}
    for name, value in model.state_dict().items():
        expected = weights if name.partition(".")[0] in taken else fresh
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("model", MODELS)
def test_a_classifier_of_other_classes_begins_anew(model: str) -> None:
    of = replace(SMALL["speed_limits"], model=model)
    same, *_, taken = started(of, of)
    assert set(taken) == {name for name, _ in same.named_children()} - {"standardise"}
    for classes in (("no", "yes"), tuple(reversed(of.classes))):  # of other shape, or other order
        assert "classifier" not in started(replace(of, classes=classes), of)[-1]
        if model != "cnn":
            assert started(replace(of, classes=classes, model="uniform"), of)[-1][-1] != "classifier"


def test_the_colours_are_the_tasks_own() -> None:
    of = SMALL["speed_limits"]
    model, *_ = started(replace(of, mean=(0.1, 0.2, 0.3)), of)
    assert model.standardise.mean.tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_views_may_be_of_another_size() -> None:
    of = SMALL["speed_limits"]
    assert "attention" in started(replace(of, view_size=(40, 48)), of)[-1]


def test_a_network_that_does_not_fit_is_named() -> None:
    of = SMALL["speed_limits"]
    for ours, theirs in ((0.0, 2.0), (2.0, 0.0), (2.0, 1.0)):
        with pytest.raises(RecipeError, match=rf"attention of the model .*: it has anomaly {theirs}, not {ours}"):
            started(replace(of, anomaly=ours), replace(of, anomaly=theirs))
    with pytest.raises(RecipeError, match="features of the model to start from: it has features resnet8, not lenet"):
        started(replace(of, features="lenet"), of)
    of = replace(of, features="nucleus")
    with pytest.raises(RecipeError, match="features of the model to start from: its weights are of other shapes"):
        started(replace(of, patch_size=27), of)


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"cnn"}))
def test_nothing_in_common_with_a_cnn(model: str) -> None:
    of = replace(SMALL["speed_limits"], model=model)
    for one, other in ((of, replace(of, model="cnn")), (replace(of, model="cnn"), of)):
        with pytest.raises(RecipeError, match="no network in common"):
            started(one, other)
