"""Where the attention networks look, and the distributions they give."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical
from torch.nn import functional

from ats_core.attention import (
    ATTENTION_NETWORKS,
    AttentionNetwork,
    PooledAttention,
    UniformAttention,
    entropy,
    smoothed_softmax,
)
from ats_core.errors import GeometryError
from ats_core.geometry import CellGrid


def random_logits(spread: float, b: int = 3, k: int = 50) -> Tensor:
    return spread * torch.randn(b, k, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ATTENTION_NETWORKS)
class TestEveryNetwork:
    """What a model relies on, for every entry of the registry."""

    @pytest.mark.parametrize("view_size", [(16, 16), (23, 41), (40, 17)])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_has_a_logit_for_each_cell_of_its_grid(self, name: str, view_size: tuple[int, int], channels: int) -> None:
        network = ATTENTION_NETWORKS[name](channels=channels)
        assert isinstance(network, AttentionNetwork)
        logits = network(torch.randn(2, channels, *view_size))
        assert logits.shape == (2, network.grid(view_size).n_cells)

    def test_orders_cells_by_row(self, name: str) -> None:
        """Changing one corner of the view changes the logits of the cells in that corner of the grid only."""
        torch.manual_seed(0)
        network, size = ATTENTION_NETWORKS[name](channels=3), (72, 88)
        grid, view = network.grid(size), torch.zeros(1, 3, *size)
        view[..., :4, -4:] = torch.rand(4, 4)  # top right
        changed = (network(view) != network(torch.zeros_like(view))).view(grid.size).nonzero()
        assert len(changed) > 0
        assert (changed[:, 0] < grid.size[0] / 2).all()
        assert (changed[:, 1] >= grid.size[1] / 2).all()

    def test_treats_each_view_alone(self, name: str) -> None:
        network, views = ATTENTION_NETWORKS[name](channels=3), torch.randn(3, 3, 24, 32)
        torch.testing.assert_close(network(views)[1:2], network(views[1:2]))


def test_a_paper_sized_view_has_1645_cells() -> None:
    network = PooledAttention()
    assert network.grid((288, 384)).size == (35, 47)
    assert network(torch.zeros(1, 3, 288, 384)).shape == (1, 1645)


@pytest.mark.parametrize("views", [torch.randn, torch.zeros], ids=["of noise", "of ties"])
def test_pooled_attention_has_the_gradient_of_all_pixels(views: Callable[..., Tensor]) -> None:
    """That of the plain network, although a step keeps only what the maxima saw."""
    torch.manual_seed(0)
    network, view = PooledAttention().double(), views(2, 3, 45, 63, dtype=torch.float64).requires_grad_()
    slopes = torch.randn(2, network.grid((45, 63)).n_cells, dtype=torch.float64)
    plain = functional.max_pool2d(network.layers(view), network.POOL).flatten(1)
    with torch.no_grad():
        torch.testing.assert_close(network(view), plain)
    torch.testing.assert_close(network(view), plain)
    at = [view, *network.parameters()]
    expected, found = (torch.autograd.grad((logits * slopes).sum(), at) for logits in (plain, network(view)))
    torch.testing.assert_close(found, expected)


def test_pooled_attention_has_it_in_bfloat16_too() -> None:
    """The weights are used twice under one autocast, which keeps their casts: without a gradient, then with it."""
    torch.manual_seed(0)
    network = PooledAttention().to(memory_format=torch.channels_last)
    views = torch.randn(2, 3, 45, 63).contiguous(memory_format=torch.channels_last)
    gradients = []
    for forward in (lambda: functional.max_pool2d(network.layers(views), network.POOL), lambda: network(views)):
        with torch.autocast("cpu", torch.bfloat16):
            logits = forward()
        gradients.append(torch.autograd.grad(logits.float().square().sum(), list(network.parameters())))
    for expected, found in zip(*gradients, strict=True):
        assert (found - expected).norm() < 0.02 * expected.norm()


def test_pooled_attention_refuses_a_view_without_a_cell() -> None:
    with pytest.raises(GeometryError, match="at least 16 x 16"):
        PooledAttention().grid((15, 100))


def test_uniform_attention_is_uniform_over_the_grid_given() -> None:
    grid = CellGrid((20, 30), (2, 3), stride=10.0)
    network = UniformAttention(grid)
    assert isinstance(network, AttentionNetwork)
    assert network.grid((20, 30)) is grid
    torch.testing.assert_close(smoothed_softmax(network(torch.randn(2, 3, 20, 30)), 1e-4), torch.full((2, 6), 1 / 6))


class TestSmoothedSoftmax:
    @pytest.mark.parametrize("spread", [0.0, 1.0, 100.0])
    @pytest.mark.parametrize("smoothing", [1e-5, 1e-4, 0.5])
    def test_no_cell_is_below_its_share(self, spread: float, smoothing: float) -> None:
        attention = smoothed_softmax(random_logits(spread), smoothing)
        assert attention.min() >= smoothing / 50 * (1 - 1e-6)
        torch.testing.assert_close(attention.sum(-1), torch.ones(3))

    def test_is_a_mixture_of_softmax_and_uniform(self) -> None:
        logits = random_logits(3.0).double()
        weights = logits.exp()
        expected = 0.9 * weights / weights.sum(-1, keepdim=True) + 0.1 / 50
        torch.testing.assert_close(smoothed_softmax(logits, 0.1), expected)

    def test_without_smoothing_is_softmax(self) -> None:
        assert torch.equal(smoothed_softmax(random_logits(3.0), 0.0), random_logits(3.0).softmax(-1))


class TestEntropy:
    @pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 5.0])
    def test_is_the_entropy_in_nats(self, spread: float) -> None:
        attention = random_logits(spread).double().softmax(-1)
        torch.testing.assert_close(entropy(attention), Categorical(probs=attention).entropy())

    def test_of_uniform_attention_is_log_k(self) -> None:
        assert entropy(torch.full((1, 1645), 1 / 1645)).item() == pytest.approx(math.log(1645), rel=1e-5)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_of_one_sure_cell_is_zero_with_a_finite_gradient(self, dtype: torch.dtype) -> None:
        attention = torch.tensor([[0.0, 1.0, 0.0]], dtype=dtype, requires_grad=True)
        value = entropy(attention)
        value.sum().backward()
        assert value.item() == 0
        assert attention.grad is not None
        assert attention.grad.isfinite().all()

    @pytest.mark.parametrize("gap", [16.1, 50.0, 200.0])  # one cell with 1 - 1e-7, and beyond float32
    @pytest.mark.parametrize("smoothing", [0.0, 1e-5])
    def test_of_peaked_attention_is_finite_to_the_logits(self, gap: float, smoothing: float) -> None:
        logits = torch.zeros(1, 2)
        logits[0, 0] = gap
        logits.requires_grad_()
        value = entropy(smoothed_softmax(logits, smoothing))
        value.sum().backward()
        assert 0 <= value.item() < 1e-3
        assert logits.grad is not None
        assert logits.grad.isfinite().all()

    def test_gradient_is_that_of_the_formula(self) -> None:
        attention = random_logits(1.0).double().softmax(-1).requires_grad_()
        (gradient,) = torch.autograd.grad(entropy(attention).sum(), attention)
        torch.testing.assert_close(gradient, -(attention.detach().log() + 1))
