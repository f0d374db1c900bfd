"""In bfloat16 the networks round; what sums probabilities, and what decides, does not."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.optim import SGD

from ats_core.attention import smoothed_softmax
from ats_core.models import Output
from ats_core.precision import full_precision, raised
from ats_core.recipes import MODELS, ColonCancer
from ats_core.step import train_step

RECIPE = ColonCancer(view_size=(30, 30), mil_grid=(3, 3), n_patches=4)


def bfloat16() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def outputs(model_name: str) -> tuple[Output, Output]:
    """Of one model in evaluation mode, in float32 and under autocast, for one draw."""
    torch.manual_seed(0)
    model = replace(RECIPE, model=model_name).build().eval()
    views = torch.randn(2, 3, 30, 30)
    draw = model.propose(views)
    patches = torch.randn(2, draw.cells.shape[1], 3, model.patch_size, model.patch_size)
    exact = model(views, draw, patches)
    with bfloat16():
        return exact, model(views, draw, patches)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_returns_float32_near_that_without(name: str) -> None:
    exact, rounded = outputs(name)
    for one, other in ((exact.logits, rounded.logits), (exact.attention, rounded.attention)):
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, one, rtol=0.05, atol=0.05)
    assert not torch.equal(exact.logits, rounded.logits)
    torch.testing.assert_close(rounded.attention.sum(1), torch.ones(2))


@pytest.mark.parametrize("name", ["ats", "uniform"])
def test_a_draw_is_made_of_a_distribution(name: str) -> None:
    model = replace(RECIPE, model=name).build()
    with bfloat16():
        assert model.propose(torch.randn(2, 3, 30, 30)).proposal.dtype == torch.float64


def test_a_softmax_of_many_cells_sums_to_one() -> None:
    logits_BK: Tensor = torch.randn(2, 10_000, generator=torch.Generator().manual_seed(0)).bfloat16()
    torch.testing.assert_close(smoothed_softmax(logits_BK, 1e-5).sum(1), torch.ones(2), rtol=0, atol=1e-5)


def test_raised_never_lowers() -> None:
    dtypes = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
    assert [raised(torch.ones(1, dtype=dtype)).dtype for dtype in dtypes] == [torch.float32] * 3 + [torch.float64]


def test_full_precision_is_left_by_autocast() -> None:
    x = torch.randn(3, 3)
    with bfloat16(), full_precision(x.device):
        assert (x @ x).dtype == torch.float32


def norm(*parts: Tensor) -> Tensor:
    return torch.stack([part.norm() for part in parts]).norm()


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_parameter_and_are_near_those_of_float32(name: str) -> None:
    torch.manual_seed(0)
    model = replace(RECIPE, model=name, n_patches=9).build().eval()  # of 9 patches: which are selected is no matter
    views = torch.randn(4, 3, 30, 30)
    draw = model.propose(views, generator=torch.Generator().manual_seed(0))
    patches = torch.randn(4, draw.cells.shape[1], 3, model.patch_size, model.patch_size)
    found = []
    for context in (nullcontext(), bfloat16()):
        optimizer, labels_B = SGD(model.parameters(), lr=0.0), torch.tensor([0, 1, 1, 0])
        train_step(
            model, optimizer, views, draw, patches, labels_B, entropy_weight=0.1, clip_norm=1e9, autocast=context
        )
        found.append({key: p.grad.clone() for key, p in model.named_parameters()})
    whole = norm(*found[0].values())
    assert norm(*(found[1][key] - exact for key, exact in found[0].items())) < 0.2 * whole
    for key, exact in found[0].items():
        assert found[1][key].norm() > 0, key
        close = 0.4 * exact.norm() + 1e-4 * whole  # a softmax does not see a bias: its gradient is rounding alone
        assert (found[1][key] - exact).norm() < close, key
