"""Recipes build, run, and survive JSON."""

import json
from dataclasses import FrozenInstanceError, asdict, fields, replace

import pytest
import torch

from ats_core.bundle import recipe_from_dict
from ats_core.errors import RecipeError
from ats_core.features import LeNet
from ats_core.losses import attention_loss
from ats_core.recipes import MODELS, RECIPES, Augmentation, ColonCancer, MegapixelMNIST, Recipe, SpeedLimits

GRIDS = {
    "speed_limits": 192,
    "road_scenes": 192,
    "gtsdb": 476,
    "german_scenes": 540,
    "colon_cancer": 2500,
    "megapixel_mnist": 900,
    "images": 100,
}
PAPER = {
    "speed_limits": (SpeedLimits, 1645),
    "colon_cancer": (ColonCancer, 10_000),
    "megapixel_mnist": (MegapixelMNIST, 32_400),
}


@pytest.fixture(params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return RECIPES[request.param]()


@pytest.mark.parametrize("task", PAPER)
def test_the_papers_tasks_have_its_number_of_cells(task: str) -> None:
    recipe, n_cells = PAPER[task]
    assert RECIPES[task] is recipe
    assert recipe().build().grid.n_cells == n_cells


@pytest.mark.parametrize("name", ["deep_mil", "ips"])
def test_patches_of_the_grid_are_those_of_the_task(recipe: Recipe, name: str) -> None:
    model = replace(recipe, model=name).build()
    assert model.grid.n_cells == GRIDS[recipe.task]
    cells = model.propose(torch.zeros(1, recipe.channels, *recipe.view_size)).cells
    assert torch.equal(cells, torch.arange(GRIDS[recipe.task])[None])


def test_a_grid_spreads_evenly_over_the_image() -> None:
    """Half a stride to each border; on speed limits a stride of 80 for patches of 100, as in the paper (section 4)."""
    grid = replace(SpeedLimits(), model="deep_mil").build().grid
    positions = grid.positions(torch.arange(192)[None], torch.tensor([[960, 1280]]))[0]
    expected = torch.cartesian_prod(40 + 80 * torch.arange(12), 40 + 80 * torch.arange(16)).double()
    torch.testing.assert_close(positions, expected)


@pytest.mark.parametrize("model_name", MODELS)
def test_every_recipe_runs_a_step(recipe: Recipe, model_name: str) -> None:
    """At the task's own view and patch size, for one image and two patches, or a grid of six."""
    torch.manual_seed(0)
    model = replace(recipe, model=model_name, n_patches=2, mil_grid=(2, 3)).build().train()
    views = model.standardise(torch.randint(0, 256, (1, *recipe.view_size, recipe.channels), dtype=torch.uint8))
    drawn = model.propose(views)
    stored = torch.randint(0, 256, (*drawn.cells.shape, *(model.patch_size,) * 2, recipe.channels), dtype=torch.uint8)
    output = model(views, drawn, model.standardise(stored))
    loss = attention_loss(output, torch.tensor([1]), entropy_weight=recipe.entropy_weight)
    loss.backward()
    assert output.logits.shape == (1, len(recipe.classes))
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_seed_fixes_the_weights(recipe: Recipe) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(recipe.build().state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["classifier.weight"], states[2]["classifier.weight"])


def test_settings_reach_the_model() -> None:
    recipe = replace(MegapixelMNIST(), n_patches=3, estimator="last", smoothing=0.1, patch_size=20, view_size=(30, 40))
    model = recipe.build()
    assert (model.n_patches, model.estimator, model.smoothing) == (3, "last", 0.1)
    assert (model.patch_size, model.view_size, model.grid.size) == (20, (30, 40), (30, 40))
    assert model.classifier.out_features == 10
    assert (model.standardise.mean.tolist(), model.standardise.std.tolist()) == ([0.0], [1.0])


def test_settings_reach_the_baselines() -> None:
    recipe = replace(ColonCancer(), mil_grid=(4, 5), gated=True, chunk=7, n_patches=3)
    mil, ips, cnn = (replace(recipe, model=name).build() for name in ("deep_mil", "ips", "cnn"))
    assert (mil.grid.size, mil.chunk, mil.patch_size, mil.view_size) == ((4, 5), 7, 27, (100, 100))
    assert mil.attention.gate is not None
    assert (ips.grid.size, ips.chunk, ips.patch_size, ips.n_patches) == ((4, 5), 7, 27, 3)
    assert (cnn.view_size, cnn.backbone.n_features) == ((100, 100), 32)
    assert replace(SpeedLimits(), model="cnn").build().backbone.n_features == 256


def test_survives_json(recipe: Recipe) -> None:
    changed = replace(recipe, epochs=3, augmentation=Augmentation(shift=7, flip=True))
    back = recipe_from_dict(json.loads(json.dumps(asdict(changed))))
    assert asdict(back) == asdict(changed)
    assert all(type(getattr(back, f.name)) is type(getattr(changed, f.name)) for f in fields(Recipe))


def test_cannot_be_changed(recipe: Recipe) -> None:
    with pytest.raises(FrozenInstanceError):
        recipe.epochs = 1


@pytest.mark.parametrize(
    ("setting", "name", "choices"),
    [
        ("model", "atss", "'ats', 'cnn', 'deep_mil', 'ips', 'uniform'"),
        ("attention", "dens", "'dense', 'pooled'"),
        ("features", "resnet50", "'lenet', 'nucleus', 'resnet8'"),
        ("estimator", "best", "'iid', 'last', 'sequential', 'unordered', 'released'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_choices(setting: str, name: str, choices: str) -> None:
    with pytest.raises(RecipeError, match=name) as caught:
        replace(SpeedLimits(), **{setting: name}).build()
    assert choices in caught.value.remedy


def test_an_unknown_backbone_is_refused_with_the_choices() -> None:
    with pytest.raises(RecipeError, match="resnet50") as caught:
        replace(SpeedLimits(), model="cnn", backbone="resnet50").build()
    assert "'resnet16', 'resnet8'" in caught.value.remedy


@pytest.mark.parametrize("settings", [{"channels": 1}, {"mean": (0.5,)}, {"std": (0.5, 0.5)}])
def test_means_that_do_not_fit_the_channels_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="one of each for every channel"):
        replace(SpeedLimits(), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"std": (0.2, 0.0, 0.2)}, "pixels are divided by it"),
        ({"std": (0.2, float("nan"), 0.2)}, "pixels are divided by it"),
        ({"view_size": (6, -1)}, "no height and width"),
        ({"mil_grid": (0, 3)}, "no height and width"),
        ({"patch_size": 0}, "patch_size 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"chunk": 0}, "chunk 0"),
    ],
)
def test_sizes_and_deviations_that_cannot_be_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        replace(SpeedLimits(), **settings)


def test_stains_of_anything_but_colours_are_refused() -> None:
    with pytest.raises(RecipeError, match="red, green and blue"):
        MegapixelMNIST(augmentation=Augmentation(stain=0.4))


class TestOwnNetwork:
    def test_is_built_from_its_module_and_function(self) -> None:
        recipe = replace(SpeedLimits(), features="ats_core.features:LeNet")
        model = recipe.build()
        assert isinstance(model.features, LeNet)
        assert model.features.layers[0].in_channels == 3

    def test_may_be_the_cnns(self) -> None:
        model = replace(SpeedLimits(), model="cnn", backbone="ats_core.backbones:resnet8").build()
        assert model.backbone.n_features == 32

    @pytest.mark.parametrize(
        "name", ["no_such_package:net", "ats_core.features:NoNet", "ats_core.features:", ":net", ".a:b"]
    )
    @pytest.mark.parametrize("setting", ["attention", "features"])
    def test_that_is_not_found_is_refused(self, setting: str, name: str) -> None:
        with pytest.raises(RecipeError, match="check the spelling"):
            replace(SpeedLimits(), **{setting: name}).build()
