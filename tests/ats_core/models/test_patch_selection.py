"""Iterative Patch Selection: which patches it keeps, and that it learns from these alone."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize, relu

from ats_core.errors import RecipeError
from ats_core.models import PatchSelection
from ats_core.models.patch_selection import CrossAttentionPooling
from tests.ats_core.models.cases import SMALL, build, propose_and_classify, read, see, some_images


def selection(task: str, **settings: object) -> PatchSelection:
    return build(replace(SMALL[task], model="ips", **settings))


def all_patches(model: PatchSelection, images: Tensor) -> Tensor:
    return read(model, images, model.propose(see(model, images)).cells)


def scores(model: PatchSelection, patches: Tensor) -> Tensor:
    """Attention of the query to all K patches in one pass, the mean over the heads, by its formula."""
    pooling, (b, k) = model.pooling, patches.shape[:2]
    f = model.features(patches.flatten(0, 1)).view(b, k, -1)
    d = f.shape[-1] // pooling.HEADS
    to_query, to_key, _ = pooling.attention.in_proj_weight.chunk(3)
    query = (to_query @ pooling.query).view(pooling.HEADS, d)
    keys = (math.sqrt(f.shape[-1]) * f @ to_key.T).view(b, k, pooling.HEADS, d)
    return torch.einsum("hd,bkhd->bhk", query, keys).div(math.sqrt(d)).softmax(-1).mean(1)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("chunk", [None, 1, 4, 7, 100])
@pytest.mark.parametrize("task", SMALL)
def test_keeps_the_patches_of_largest_score_whatever_the_chunk(task: str, chunk: int | None, training: bool) -> None:
    model = selection(task, chunk=chunk, n_patches=3)
    patches = all_patches(model, some_images(model))
    expected = scores(model, patches).topk(3).indices.sort(1).values
    assert torch.equal(model.train(training).select(patches).sort(1).values, expected)
    assert not torch.equal(expected[0], expected[1])


@pytest.mark.parametrize("task", SMALL)
def test_attends_to_the_selected_cells_alone(task: str) -> None:
    model = selection(task)
    images = some_images(model)
    chosen = model.select(all_patches(model, images))
    attention = propose_and_classify(model, images).attention
    expected = torch.zeros(3, 6, dtype=torch.bool).scatter(1, chosen, True)
    assert torch.equal(attention > 0, expected)


@pytest.mark.parametrize("task", SMALL)
def test_of_all_patches_pools_all(task: str) -> None:
    model = selection(task, n_patches=6)
    images = some_images(model)
    torch.testing.assert_close(
        propose_and_classify(model, images).attention, scores(model, all_patches(model, images)), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("task", SMALL)
def test_other_patches_do_not_matter(task: str) -> None:
    model = selection(task)
    images = some_images(model)
    drawn, patches = model.propose(see(model, images)), all_patches(model, images)
    patches.requires_grad_()
    model(see(model, images), drawn, patches).logits.sum().backward()
    touched = patches.grad.abs().amax((2, 3, 4)) > 0
    assert torch.equal(touched, torch.zeros_like(touched).scatter(1, model.select(patches), True))


def test_selection_leaves_dropout_and_statistics_alone() -> None:
    for task in SMALL:
        model = selection(task).train()
        patches = all_patches(model, some_images(model))
        before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
        model.select(patches)
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_comes_back_to_training_after_an_error() -> None:
    model = selection("megapixel_mnist").train()
    with pytest.raises(RuntimeError):
        model.select(torch.zeros(1, 6, 5, 13, 13).double())
    assert all(part.training for part in model.modules())


@pytest.mark.parametrize("n_features", [32, 512])
def test_what_it_sees_outweighs_its_query_at_the_start(n_features: int) -> None:
    """Else all images look alike to the classifier, and learning stalls for thousands of updates."""
    torch.manual_seed(0)
    pooling, (one, other) = CrossAttentionPooling(n_features).eval(), torch.eye(n_features)[:2]
    pooled, _ = pooling(torch.stack([one, other])[:, None].expand(-1, 4, -1))
    assert (pooled[0] - pooled[1]).norm() > 0.7 * pooled[0].norm()


@pytest.mark.parametrize(
    ("n_features", "rate", "low", "high"), [(32, 1e-3, 0.1, 4), (512, 1e-4, 0.1, 4), (512, 1e-3, 10, 18)]
)
def test_how_far_a_first_update_throws_it(n_features: int, rate: float, low: float, high: float) -> None:
    """Of features as they are at the start: after a ReLU, and much alike. The last is why colon has 1e-4."""
    torch.manual_seed(0)
    alike_B1D, own_BND = torch.randn(8, 1, n_features), torch.randn(8, 50, n_features)
    f_BND = normalize(relu(torch.randn(n_features) + 0.3 * alike_B1D + 0.3 * own_BND), dim=-1)
    pooling, classifier = CrossAttentionPooling(n_features), nn.Linear(n_features, 2)
    optimizer = torch.optim.Adam([*pooling.parameters(), *classifier.parameters()], lr=rate)

    def margins() -> Tensor:
        logits_BC = classifier(pooling(f_BND)[0])
        return logits_BC[:, 1] - logits_BC[:, 0]

    before = margins()
    binary_cross_entropy_with_logits(before, torch.tensor([1.0, 1, 1, 1, 1, 0, 0, 0])).backward()
    optimizer.step()
    assert low < (margins() - before).mean() < high


@pytest.mark.parametrize("n_patches", [0, 7])
def test_a_selection_that_cannot_be_is_refused(n_patches: int) -> None:
    with pytest.raises(RecipeError, match="the grid has 6"):
        selection("megapixel_mnist", n_patches=n_patches)


def test_features_that_heads_cannot_share_are_refused() -> None:
    with pytest.raises(RecipeError, match="multiple of 8"):
        CrossAttentionPooling(12)
