"""One conformance suite for every model: propose which cells to read, read them, classify."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional

from ats_core.errors import DrawError, RecipeError
from ats_core.estimators import ESTIMATORS
from ats_core.features import features_of_patches
from ats_core.geometry import extract_patches
from ats_core.losses import attention_loss
from ats_core.models import MODELS, RELEASED, AttentionSampling, Output, PatchModel
from ats_core.recipes import Recipe
from ats_core.sampling import Draw, draw

EveryDraw = Callable[[Tensor, int, str], tuple[Draw, Tensor]]
CLASSES = ("none", "one", "two")
ONE_CHANNEL = {"channels": 1, "mean": (0.5,), "std": (0.25,)}
SMALL = {  # the nets of each task over six cells
    "speed_limits": Recipe(
        task="s",
        classes=CLASSES,
        view_size=(24, 32),
        patch_size=16,
        attention="pooled",
        features="resnet8",
        n_patches=2,
    ),
    "colon_cancer": Recipe(
        task="c", classes=CLASSES, view_size=(2, 3), patch_size=11, attention="dense", features="nucleus", n_patches=2
    ),
    "megapixel_mnist": Recipe(
        task="m",
        classes=CLASSES,
        view_size=(2, 3),
        patch_size=13,
        attention="dense",
        features="lenet",
        n_patches=2,
        **ONE_CHANNEL,
    ),
}
IMAGE_SIZE = (60, 90)


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def build(recipe: Recipe) -> AttentionSampling:
    torch.manual_seed(0)
    model = recipe.build().double().eval()  # in training mode features depend on the other patches of the batch
    for name, parameter in model.attention.named_parameters():
        if name.endswith("weight"):
            parameter.data *= 3  # attention that prefers some cells
    return model


@pytest.fixture(params=SMALL)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return SMALL[request.param]


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, recipe: Recipe) -> AttentionSampling:
    return build(replace(recipe, model=request.param))


def some_images(model: AttentionSampling, b: int = 3) -> Tensor:
    """Noise [B, C, H, W] of 8 bit."""
    shape = (b, len(model.standardise.mean), *IMAGE_SIZE)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(7))


def see(model: AttentionSampling, images: Tensor) -> Tensor:
    """The views that the model standardises."""
    views = functional.adaptive_avg_pool2d(images.float(), model.view_size).round().byte()
    return model.standardise(views.movedim(1, -1))


def read(model: AttentionSampling, images: Tensor, cells: Tensor) -> Tensor:
    """The standardised patches [B, N, C, P, P] of cells [B, N]."""
    sizes = torch.tensor([images.shape[2:]]).expand(len(images), 2)
    centres = model.grid.centres(cells, sizes, model.patch_size)
    patches, inside = extract_patches(images, centres, model.patch_size)
    return model.standardise(patches.movedim(2, -1), inside)


def classify(model: AttentionSampling, images: Tensor, drawn: Draw) -> Output:
    return model(see(model, images), drawn, read(model, images, drawn.cells))


def perturbed(model: AttentionSampling) -> AttentionSampling:
    """The same model with other weights, as a few steps earlier."""
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=seeded(3)).double() * parameter.abs().max()
    return other


def full_logits(model: AttentionSampling, images: Tensor) -> Tensor:
    """Logits without sampling: the sum over all cells."""
    attention = model.attend(see(model, images))
    every_cell = torch.arange(model.grid.n_cells).expand(len(images), -1)
    features = features_of_patches(model.features, read(model, images, every_cell))
    return model.classifier((attention[..., None] * features).sum(1))


class TestPropose:
    def test_names_cells_and_their_attention(self, model: AttentionSampling) -> None:
        assert isinstance(model, PatchModel)
        views = see(model, some_images(model))
        drawn = model.propose(views, generator=seeded(0))
        assert drawn.cells.shape == (3, 2)
        assert drawn.cells.min() >= 0
        assert drawn.cells.max() < model.grid.n_cells
        torch.testing.assert_close(drawn.proposal, model.attend(views).gather(1, drawn.cells))

    def test_holds_no_gradient(self, model: AttentionSampling) -> None:
        with_graph: list[bool] = []
        model.attention.register_forward_hook(lambda *_: with_graph.append(torch.is_grad_enabled()))
        drawn = model.propose(see(model, some_images(model)), generator=seeded(0))
        assert with_graph == [False]
        assert not any(t.requires_grad for t in (drawn.cells, drawn.proposal, drawn.weights, drawn.undrawn))

    def test_follows_its_generator_alone(self, model: AttentionSampling) -> None:
        views, state = see(model, some_images(model, 20)), torch.get_rng_state()
        first, again, other = (model.propose(views, generator=seeded(seed)) for seed in (0, 0, 1))
        assert torch.equal(first.cells, again.cells)
        assert torch.equal(first.weights, again.weights)
        assert not torch.equal(first.cells, other.cells)
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("estimator", [*ESTIMATORS, RELEASED])
    def test_draws_for_its_estimator(self, recipe: Recipe, estimator: str) -> None:
        model = build(replace(recipe, estimator=estimator))
        drawn = model.propose(see(model, some_images(model)), generator=seeded(0))
        assert drawn.estimator == ("sequential" if estimator == RELEASED else estimator)

    def test_refuses_more_cells_than_there_are(self, recipe: Recipe) -> None:
        model = build(replace(recipe, n_patches=7))
        with pytest.raises(DrawError, match="at most 6"):
            model.propose(see(model, some_images(model)))


class TestForward:
    def test_has_shapes_and_finite_values(self, model: AttentionSampling) -> None:
        images = some_images(model)
        output = classify(model, images, model.propose(see(model, images), generator=seeded(0)))
        assert output.logits.shape == output.standard_error.shape == (3, len(CLASSES))
        assert output.attention.shape == (3, model.grid.n_cells)
        assert all(t.isfinite().all() for t in (output.logits, output.attention, output.standard_error))
        assert (output.standard_error > 0).all()
        assert not output.standard_error.requires_grad
        torch.testing.assert_close(output.attention.sum(1), torch.ones(3).double())

    def test_runs_in_single_precision(self, model: AttentionSampling) -> None:
        model, images = model.float(), some_images(model)
        output = classify(model, images, model.propose(see(model, images), generator=seeded(0)))
        assert {output.logits.dtype, output.attention.dtype, output.standard_error.dtype} == {torch.float32}

    def test_sends_a_gradient_to_every_parameter(self, model: AttentionSampling) -> None:
        model, images = model.train(), some_images(model)
        output = classify(model, images, model.propose(see(model, images), generator=seeded(0)))
        attention_loss(output, torch.tensor([0, 1, 2]), entropy_weight=0.01).backward()
        *_, last_of_attention = [None, *(name for name, _ in model.named_parameters() if name.startswith("attention"))]
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            if name != last_of_attention:  # a bias of all logits, which a softmax does not see
                assert parameter.grad.abs().max() > 1e-12, name

    def test_classifies_each_image_alone(self, model: AttentionSampling) -> None:
        images = some_images(model)
        drawn = model.propose(see(model, images), generator=seeded(0))
        one = Draw(drawn.cells[1:2], drawn.proposal[1:2], drawn.weights[1:2], drawn.estimator, drawn.undrawn[1:2])
        torch.testing.assert_close(
            classify(model, images, drawn).logits[1:2], classify(model, images[1:2], one).logits, rtol=1e-9, atol=1e-9
        )

    def test_takes_any_number_of_patches(self, model: AttentionSampling) -> None:
        images = some_images(model)
        for n in (1, 3, 6):
            drawn = draw(model.attend(see(model, images)), n, generator=seeded(0))
            assert classify(model, images, drawn).logits.isfinite().all()

    def test_of_all_cells_is_exact_and_knows_it(self, model: AttentionSampling) -> None:
        images = some_images(model)
        drawn = draw(model.attend(see(model, images)), model.grid.n_cells, generator=seeded(0))
        output = classify(model, images, drawn)
        torch.testing.assert_close(output.logits, full_logits(model, images), rtol=1e-9, atol=1e-9)
        assert output.standard_error.eq(0).all()

    def test_of_one_cell_has_no_idea_of_its_error(self, model: AttentionSampling) -> None:
        images = some_images(model)
        output = classify(model, images, draw(model.attend(see(model, images)), 1, generator=seeded(0)))
        assert output.standard_error.isinf().all()
        assert output.logits.isfinite().all()


def gradients(model: AttentionSampling, value: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, parameters), strict=True))


class TestExpectation:
    """By enumeration of all draws: a model's logits and gradients are those of the sum over all cells, on average."""

    @pytest.mark.parametrize("on_policy", [True, False], ids=["own attention", "older attention"])
    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_of_logits_and_gradients_is_the_full_sum(
        self, every_draw: EveryDraw, model: AttentionSampling, estimator: str, on_policy: bool
    ) -> None:
        image = some_images(model, 1)
        proposer = model if on_policy else perturbed(model)
        q_K = proposer.attend(see(model, image))[0].detach()
        drawn, probability = every_draw(q_K, 2, estimator)
        output = classify(model, image.expand(len(probability), -1, -1, -1), drawn)
        assert probability.sum().item() == pytest.approx(1)
        mean, exact = probability @ output.logits, full_logits(model, image)[0]
        torch.testing.assert_close(mean, exact, rtol=1e-9, atol=1e-9)
        readout = torch.tensor([1.0, -2.0, 0.5]).double()
        torch.testing.assert_close(
            gradients(model, mean @ readout), gradients(model, exact @ readout), rtol=1e-7, atol=1e-9
        )

    def test_of_the_squared_standard_error_is_the_variance(
        self, every_draw: EveryDraw, model: AttentionSampling
    ) -> None:
        """Exactly for `sequential`; from above for `unordered`."""
        image = some_images(model, 1)
        q_K = model.attend(see(model, image))[0].detach()
        for estimator in ("sequential", "unordered"):
            drawn, probability = every_draw(q_K, 2, estimator)
            output = classify(model, image.expand(len(probability), -1, -1, -1), drawn)
            variance = probability @ (output.logits - probability @ output.logits).square()
            estimated = probability @ output.standard_error.square()
            if estimator == "sequential":
                torch.testing.assert_close(estimated, variance, rtol=1e-7, atol=1e-12)
            assert (estimated >= variance * (1 - 1e-7)).all()


class TestReleased:
    def test_has_the_value_of_sequential_and_another_gradient(self, recipe: Recipe) -> None:
        sequential, released = (build(replace(recipe, estimator=name)) for name in ("sequential", RELEASED))
        images = some_images(released)
        drawn = released.propose(see(released, images), generator=seeded(0))
        one, other = classify(sequential, images, drawn).logits, classify(released, images, drawn).logits
        torch.testing.assert_close(one, other)
        one, other = gradients(sequential, one[:, 0].sum()), gradients(released, other[:, 0].sum())
        for name in one:
            same = torch.allclose(one[name], other[name], rtol=1e-6, atol=1e-12)
            assert same == (not name.startswith("attention") or one[name].abs().max() < 1e-12), name

    def test_is_no_choice_with_another_draw(self, recipe: Recipe) -> None:
        model = build(replace(recipe, estimator=RELEASED))
        images = some_images(model)
        with pytest.raises(DrawError, match="sequential"):
            classify(model, images, draw(model.attend(see(model, images)), 2, estimator="unordered"))


def test_uniform_draws_every_cell_alike_and_has_no_attention_to_learn() -> None:
    model = build(replace(SMALL["speed_limits"], model="uniform"))
    attention = model.attend(see(model, some_images(model)))
    torch.testing.assert_close(attention, torch.full((3, 6), 1 / 6).double())
    assert not any(name.startswith("attention") for name in model.state_dict())


def test_attention_differs_between_cells_and_images() -> None:
    model = build(SMALL["speed_limits"])
    attention = model.attend(see(model, some_images(model)))
    assert (attention.amax(1) > 1.2 * attention.amin(1)).all()
    assert not torch.allclose(attention[0], attention[1])


def test_an_unknown_estimator_is_refused() -> None:
    with pytest.raises(RecipeError, match="'released'"):
        build(replace(SMALL["speed_limits"], estimator="best"))
