"""Attention sampling and its uniform twin: exact on average, by enumeration of all draws."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ats_core.errors import DrawError, RecipeError
from ats_core.estimators import ESTIMATORS
from ats_core.features import features_of_patches
from ats_core.models import RELEASED, AttentionSampling
from ats_core.recipes import Recipe
from ats_core.sampling import Draw, draw
from tests.ats_core.models.cases import SMALL, build, classify, gradients, read, see, seeded, some_images

EveryDraw = Callable[[Tensor, int, str], tuple[Draw, Tensor]]


@pytest.fixture(params=SMALL)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return SMALL[request.param]


@pytest.fixture(params=["ats", "uniform"])
def model(request: pytest.FixtureRequest, recipe: Recipe) -> AttentionSampling:
    return build(replace(recipe, model=request.param))


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
    def test_draws_from_the_attention(self, model: AttentionSampling) -> None:
        views = see(model, some_images(model))
        drawn = model.propose(views, generator=seeded(0))
        torch.testing.assert_close(drawn.proposal, model.attend(views).gather(1, drawn.cells))

    def test_another_seed_draws_other_cells(self, model: AttentionSampling) -> None:
        views = see(model, some_images(model, 20))
        first, other = (model.propose(views, generator=seeded(seed)) for seed in (0, 1))
        assert not torch.equal(first.cells, other.cells)

    @pytest.mark.parametrize("estimator", [*ESTIMATORS, RELEASED])
    def test_draws_for_its_estimator(self, recipe: Recipe, estimator: str) -> None:
        model = build(replace(recipe, estimator=estimator))
        drawn = model.propose(see(model, some_images(model)), generator=seeded(0))
        assert drawn.estimator == ("sequential" if estimator == RELEASED else estimator)

    def test_refuses_more_cells_than_there_are(self, recipe: Recipe) -> None:
        model = build(replace(recipe, n_patches=7))
        with pytest.raises(DrawError, match="at most 6"):
            model.propose(see(model, some_images(model)))


class TestSampling:
    """Other ways to choose the cells of the same model."""

    def test_exact_is_a_draw_of_all_cells_without_the_shuffle(self, model: AttentionSampling) -> None:
        images = some_images(model)
        views = see(model, images)
        exact, drawn = model.propose(views, sampling="exact"), draw(model.attend(views), 6, generator=seeded(0))
        order = drawn.cells.argsort(1)
        assert torch.equal(exact.cells, drawn.cells.gather(1, order))
        assert exact.estimator == drawn.estimator
        for field in ("proposal", "weights"):
            torch.testing.assert_close(getattr(exact, field), getattr(drawn, field).gather(1, order))
        output = classify(model, images, exact)
        torch.testing.assert_close(output.logits, full_logits(model, images), rtol=1e-9, atol=1e-9)
        assert output.standard_error.eq(0).all()

    def test_top_cells_are_those_of_largest_attention(self, recipe: Recipe) -> None:
        model = build(recipe)
        images = some_images(model)
        a_BK = model.attend(see(model, images)).detach()
        top = model.propose(see(model, images), sampling="topk")
        output = classify(model, images, top)
        every_cell = torch.arange(6).expand(len(images), -1)
        f_BKD = features_of_patches(model.features, read(model, images, every_cell))
        for a_K, cells, f_KD, logits in zip(a_BK, top.cells, f_BKD, output.logits, strict=True):
            best = sorted(range(6), key=lambda k: -a_K[k])[:2]
            assert set(cells.tolist()) == set(best)
            expected_D = sum(a_K[k] * f_KD[k] for k in best) / sum(a_K[k] for k in best)
            torch.testing.assert_close(logits, model.classifier(expected_D), rtol=1e-9, atol=1e-9)
        assert output.standard_error.isinf().all()

    def test_uniform_has_no_top(self, recipe: Recipe) -> None:
        model = build(replace(recipe, model="uniform"))
        with pytest.raises(RecipeError, match="all cells are equal"):
            model.propose(see(model, some_images(model)), sampling="topk")

    @pytest.mark.parametrize("sampling", ["topk", "exact"])
    def test_released_is_scored_by_any(self, recipe: Recipe, sampling: str) -> None:
        released, plain = build(replace(recipe, estimator=RELEASED)), build(recipe)
        images = some_images(released)
        with torch.no_grad():
            drawn = released.propose(see(released, images), sampling=sampling)
            assert torch.equal(classify(released, images, drawn).logits, classify(plain, images, drawn).logits)


class TestForward:
    def test_knows_that_it_is_uncertain(self, model: AttentionSampling) -> None:
        images = some_images(model)
        output = classify(model, images, model.propose(see(model, images), generator=seeded(0)))
        assert (output.standard_error > 0).all()
        assert output.standard_error.isfinite().all()

    def test_takes_any_number_of_patches(self, model: AttentionSampling) -> None:
        images = some_images(model)
        for n in (1, 3, 6):
            drawn = draw(model.attend(see(model, images)), n, generator=seeded(0))
            assert classify(model, images, drawn).logits.isfinite().all()

    def test_of_one_cell_has_no_idea_of_its_error(self, model: AttentionSampling) -> None:
        images = some_images(model)
        output = classify(model, images, draw(model.attend(see(model, images)), 1, generator=seeded(0)))
        assert output.standard_error.isinf().all()
        assert output.logits.isfinite().all()


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
        image = some_images(model, 1)
        q_K = model.attend(see(model, image))[0].detach()
        for estimator in ("sequential", "unordered"):
            drawn, probability = every_draw(q_K, 2, estimator)
            output = classify(model, image.expand(len(probability), -1, -1, -1), drawn)
            variance = probability @ (output.logits - probability @ output.logits).square()
            estimated = probability @ output.standard_error.square()
            torch.testing.assert_close(estimated, variance, rtol=1e-7, atol=1e-12)


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
