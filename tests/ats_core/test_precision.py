"""In bfloat16 the networks round; what sums probabilities, and what decides, does not."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ats_core.attention import smoothed_softmax
from ats_core.models import Output
from ats_core.precision import full_precision, has_bfloat16, raised
from ats_core.recipes import MODELS, ColonCancer

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


def test_the_machine_says_whether_it_has_bfloat16() -> None:
    flags = torch.cpu.get_capabilities()
    assert has_bfloat16(torch.device("cpu")) == bool(flags.get("avx512_bf16") or flags.get("amx_bf16"))
