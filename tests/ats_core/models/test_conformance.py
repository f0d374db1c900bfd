"""One conformance suite for every model: propose which cells to read, read them, classify."""

import inspect
from dataclasses import fields, replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from ats_core import bundle
from ats_core.errors import DrawError
from ats_core.losses import attention_loss
from ats_core.models import Model, PatchModel
from ats_core.recipes import MODELS, Recipe
from ats_core.sampling import Draw, Sampling
from tests.ats_core.models.cases import (
    CLASSES,
    SMALL,
    build,
    classify,
    gradients,
    propose_and_classify,
    see,
    seeded,
    some_images,
)

VARIANTS = {name: {"model": name} for name in MODELS} | {"ats, anomaly 2": {"model": "ats", "anomaly": 2.0}}
CELLS_READ = {"ats": 2, "uniform": 2, "deep_mil": 6, "ips": 6, "cnn": 0}


@pytest.fixture(params=SMALL)
def small(request: pytest.FixtureRequest) -> Recipe:
    return SMALL[request.param]


@pytest.fixture(params=VARIANTS)
def recipe(request: pytest.FixtureRequest, small: Recipe) -> Recipe:
    return replace(small, **VARIANTS[request.param])


@pytest.fixture
def model(recipe: Recipe) -> Model:
    return build(recipe)


def unseen_by_the_loss(model: Model) -> set[str]:
    """A bias that all logits of a softmax share."""
    names = [name for name, _ in model.named_parameters() if name.startswith("attention.") and ".layers." in name]
    return set(names[-1:])


class TestPropose:
    def test_is_the_protocol(self, model: Model) -> None:
        assert isinstance(model, PatchModel)
        for name in ("propose", "forward"):
            asked, given = (inspect.signature(getattr(kind, name)).parameters for kind in (PatchModel, type(model)))
            assert [(p.name, p.kind, p.default) for p in asked.values()] == [
                (p.name, p.kind, p.default) for p in given.values()
            ]

    def test_names_cells_of_its_grid(self, model: Model, recipe: Recipe) -> None:
        drawn = model.propose(see(model, some_images(model)), generator=seeded(0))
        assert drawn.cells.shape == drawn.proposal.shape == drawn.weights.shape == (3, CELLS_READ[recipe.model])
        assert drawn.undrawn.shape == (3,)
        assert all(0 <= cell < model.grid.n_cells for cell in drawn.cells.flatten())
        torch.testing.assert_close(drawn.proposal.sum(1) + drawn.undrawn, torch.ones(3).double())

    def test_holds_no_gradient(self, model: Model) -> None:
        with_graph: list[bool] = []
        for module in model.modules():
            module.register_forward_hook(lambda *_: with_graph.append(torch.is_grad_enabled()))
        views = see(model, some_images(model)).requires_grad_()
        with_graph.clear()
        drawn = model.propose(views, generator=seeded(0))
        assert not any(with_graph)
        assert not any(t.requires_grad for t in (drawn.cells, drawn.proposal, drawn.weights, drawn.undrawn))

    def test_follows_its_generator_alone(self, model: Model) -> None:
        views, state = see(model, some_images(model, 20)), torch.get_rng_state()
        first, again = (model.propose(views, generator=seeded(0)) for _ in range(2))
        assert torch.equal(first.cells, again.cells)
        assert torch.equal(first.weights, again.weights)
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("sampling", get_args(Sampling))
    @pytest.mark.parametrize("name", ["deep_mil", "ips", "cnn"])
    def test_of_what_always_reads_the_same_has_one_answer(self, small: Recipe, name: str, sampling: Sampling) -> None:
        model = build(replace(small, model=name))
        views = see(model, some_images(model))
        usual, asked = model.propose(views), model.propose(views, sampling=sampling)
        assert usual.estimator == asked.estimator
        for field in ("cells", "proposal", "weights", "undrawn"):
            assert torch.equal(getattr(usual, field), getattr(asked, field))


class TestForward:
    def test_has_shapes_and_finite_values(self, model: Model) -> None:
        output = propose_and_classify(model, some_images(model))
        assert output.logits.shape == output.standard_error.shape == (3, len(CLASSES))
        assert output.attention.shape == (3, model.grid.n_cells)
        assert all(t.isfinite().all() for t in (output.logits, output.attention, output.standard_error))
        assert (output.standard_error >= 0).all()
        assert not output.standard_error.requires_grad
        assert (output.attention >= 0).all()
        torch.testing.assert_close(output.attention.sum(1), torch.ones(3).double())

    def test_runs_in_single_precision(self, model: Model) -> None:
        output = propose_and_classify(model.float(), some_images(model))
        assert {output.logits.dtype, output.attention.dtype, output.standard_error.dtype} == {torch.float32}

    def test_sends_a_gradient_to_every_parameter(self, model: Model) -> None:
        output = propose_and_classify(model.train(), some_images(model))
        attention_loss(output, torch.tensor([0, 1, 2]), entropy_weight=0.01).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            if name not in unseen_by_the_loss(model):
                assert parameter.grad.abs().max() > 1e-12, name

    def test_classifies_each_image_alone(self, model: Model) -> None:
        images = some_images(model)
        drawn = model.propose(see(model, images), generator=seeded(0))
        rows = {f.name: getattr(drawn, f.name)[1:2] for f in fields(Draw) if f.name != "estimator"}
        together, alone = classify(model, images, drawn), classify(model, images[1:2], replace(drawn, **rows))
        for field in ("logits", "attention"):
            torch.testing.assert_close(getattr(together, field)[1:2], getattr(alone, field), rtol=1e-9, atol=1e-9)

    def test_is_indifferent_to_the_order_of_patches(self, model: Model) -> None:
        images = some_images(model)
        drawn = model.propose(see(model, images), generator=seeded(0))
        order = torch.randperm(drawn.cells.shape[1], generator=seeded(2))
        rows = {name: getattr(drawn, name)[:, order] for name in ("cells", "proposal", "weights")}
        one, other = classify(model, images, drawn), classify(model, images, replace(drawn, **rows))
        for field in ("logits", "attention"):
            torch.testing.assert_close(getattr(one, field), getattr(other, field), rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("name", ["deep_mil", "ips"])
    def test_of_a_whole_grid_refuses_a_part_of_it(self, small: Recipe, name: str) -> None:
        model = build(replace(small, model=name))
        images = some_images(model)
        part = model.propose(see(model, images)).prefix(5)
        with pytest.raises(DrawError, match=r"draw of shape \(3, 5\)"):
            classify(model, images, part)

    def test_tells_images_apart(self, model: Model) -> None:
        logits = propose_and_classify(model, some_images(model)).logits
        assert (logits[0] - logits[1]).abs().max() > 1e-6

    def test_is_the_same_without_a_graph(self, model: Model) -> None:
        images = some_images(model)
        with torch.no_grad():
            output = propose_and_classify(model, images)
        assert not output.logits.requires_grad
        torch.testing.assert_close(output.logits, propose_and_classify(model, images).logits, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("training", [True, False])
    def test_leaves_every_part_in_its_mode(self, model: Model, training: bool) -> None:
        model.train(training)
        next(m for m in model.modules() if isinstance(m, nn.Linear)).train(not training)
        modes = [m.training for m in model.modules()]
        propose_and_classify(model, some_images(model))
        assert [m.training for m in model.modules()] == modes

    def test_moves_running_statistics_once_in_training_alone(self, model: Model) -> None:
        def steps() -> Tensor:
            counts = [buffer for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked")]
            return torch.stack(counts) if counts else torch.zeros(1, dtype=torch.long)

        propose_and_classify(model, some_images(model))
        assert steps().eq(0).all()
        propose_and_classify(model.train(), some_images(model)).logits.sum().backward()
        has_norms = any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
        assert steps().eq(1 if has_norms else 0).all()


def test_of_a_bundle_is_the_same_model(model: Model, recipe: Recipe) -> None:
    model, images = model.float().train(), some_images(model)
    propose_and_classify(model, images)  # running statistics are no longer the initial ones
    loaded, _ = bundle.loads(bundle.dumps(model, recipe))
    assert type(loaded) is type(model)
    assert not loaded.training
    assert torch.equal(propose_and_classify(loaded, images).logits, propose_and_classify(model.eval(), images).logits)


def test_a_seed_fixes_a_step(recipe: Recipe) -> None:
    """Dropout included."""
    steps = []
    for _ in range(2):
        model = build(recipe).train()
        value = propose_and_classify(model, some_images(model)).logits.square().sum()
        steps.append([value, *gradients(model, value).values()])
    assert all(torch.equal(one, other) for one, other in zip(*steps, strict=True))
