"""The expectation's compatibility mode and its standard error."""

from itertools import product

import pytest
import torch
from torch import Tensor

from ats_core.errors import DrawError
from ats_core.estimators import ESTIMATORS, sequential
from ats_core.expectation import expectation, standard_error
from ats_core.sampling import TOP, Draw, draw


def problem(cells: int, n: int, estimator: str, rows: int = 4) -> tuple[Tensor, Tensor, Draw]:
    """Attention and features at the cells of a draw from that attention."""
    g = torch.Generator().manual_seed(0)
    a_BK = (2 * torch.randn(rows, cells, generator=g, dtype=torch.float64)).softmax(1)
    d = draw(a_BK, n, estimator, g)
    f_BND = torch.randn(rows, n, 3, generator=g, dtype=torch.float64, requires_grad=True)
    return a_BK.gather(1, d.cells).requires_grad_(), f_BND, d


def test_released_equals_its_formula() -> None:
    a_BN, f_BND, d = problem(30, 5, "sequential")
    F_BD = expectation(a_BN, f_BND, d, released=True)
    g_BD = torch.randn(F_BD.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grad_a, grad_f = torch.autograd.grad(F_BD, (a_BN, f_BND), g_BD)
    for b in range(len(a_BN)):
        a, f, g, N = a_BN[b].detach(), f_BND[b].detach(), g_BD[b], a_BN.shape[1]
        pm = [1 - a[:k].sum() for k in range(N)]
        F = [sum((a[j] * f[j] for j in range(k)), torch.zeros(3, dtype=torch.float64)) + pm[k] * f[k] for k in range(N)]
        torch.testing.assert_close(F_BD[b], sum(F) / N)
        for k in range(N):
            slope = F[k] * pm[k] / a[k] + f[:k].sum(0) - k * f[k]
            torch.testing.assert_close(grad_a[b, k], g @ slope / N)
            torch.testing.assert_close(grad_f[b, k], g * (pm[k] + (N - 1 - k) * a[k]) / N)


def test_released_has_the_value_of_sequential_but_another_gradient() -> None:
    a_BN, f_BND, d = problem(30, 5, "sequential")
    plain, released = (expectation(a_BN, f_BND, d, released=r) for r in (False, True))
    torch.testing.assert_close(plain, released)
    assert not torch.allclose(*(torch.autograd.grad(F.sum(), a_BN)[0] for F in (plain, released)), rtol=0.1)


def expected_over_true_gradient(mass: float, *, released: bool) -> float:
    """Ratio at the heaviest logit of 1,645 cells, 5 drawn; three cells share `mass`, 1,642 equal ones the rest.

    Exact: equal cells are exchangeable, so 4^5 patterns of "which of the three, or any other" are all draws there are.
    """
    others, n = 1642, 5
    masses_K = torch.full((3 + others,), (1 - mass) / others, dtype=torch.float64)
    masses_K[:3] = mass * torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    z_K = masses_K.log().requires_grad_()
    f_KD = torch.zeros(3 + others, 1, dtype=torch.float64)
    f_KD[:3, 0] = torch.tensor([1.0, 1.0, 0.5])
    patterns = [p for p in product(range(4), repeat=n) if all(p.count(heavy) < 2 for heavy in range(3))]
    cells_MN = torch.tensor([[c if c < 3 else 3 + k for k, c in enumerate(p)] for p in patterns])
    a_K = z_K.softmax(0)
    q_MN = a_K.detach()[cells_MN]
    left_MN = 1 - q_MN.cumsum(1) + q_MN
    is_other_MN = cells_MN >= 3
    ways_MN = torch.where(is_other_MN, others - is_other_MN.cumsum(1) + 1, 1)
    chance_M = (ways_MN * q_MN / left_MN).prod(1)
    undrawn_M = left_MN[:, -1] - q_MN[:, -1]
    d = Draw(cells_MN, q_MN, sequential(q_MN, undrawn_M), "sequential", undrawn_M)
    mean = chance_M @ expectation(a_K[cells_MN], f_KD[cells_MN], d, released=released)
    estimated, true = (torch.autograd.grad(F.sum(), z_K, retain_graph=True)[0][0] for F in (mean, a_K @ f_KD))
    return (estimated / true).item()


@pytest.mark.parametrize(("mass", "ratio"), [(0.01, 0.975), (0.1, 0.776), (0.5, 0.107), (0.9, -0.499)])
def test_released_pushes_the_heaviest_cell_down_once_mass_is_captured(mass, ratio) -> None:
    assert expected_over_true_gradient(mass, released=True) == pytest.approx(ratio, abs=2e-3)
    assert expected_over_true_gradient(mass, released=False) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("estimator", sorted(ESTIMATORS.keys() - {"sequential"}))
def test_released_is_for_sequential_draws(estimator) -> None:
    with pytest.raises(DrawError, match=f"'{estimator}'.*Draw with 'sequential'"):
        expectation(*problem(10, 3, estimator), released=True)


def exact_and_estimated_variance(every_draw, estimator: str, cells: int, n: int) -> tuple[Tensor, Tensor]:
    """Variance of F over all draws, and the mean of the squared standard error; attention is not the proposal."""
    g = torch.Generator().manual_seed(3)
    q_K, a_K = (2 * torch.randn(2, cells, generator=g, dtype=torch.float64)).softmax(1)
    f_KD = torch.randn(cells, 3, generator=g, dtype=torch.float64)
    d, chance_M = every_draw(q_K, n, estimator)
    a_MN, f_MND = a_K[d.cells], f_KD[d.cells]
    squares_D = chance_M @ (expectation(a_MN, f_MND, d) - a_K @ f_KD).square()
    return squares_D, chance_M @ standard_error(a_MN, f_MND, d).square()


@pytest.mark.parametrize(("cells", "n"), [(6, 2), (7, 4), (5, 5)])
@pytest.mark.parametrize("estimator", ["iid", "sequential", "unordered"])
def test_standard_error_is_unbiased(every_draw, estimator, cells, n) -> None:
    exact_D, estimated_D = exact_and_estimated_variance(every_draw, estimator, cells, n)
    torch.testing.assert_close(estimated_D, exact_D, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("cells", "n"), [(6, 2), (7, 4), (6, 5)])
def test_standard_error_of_last_is_an_upper_estimate(every_draw, cells, n) -> None:
    exact_D, estimated_D = exact_and_estimated_variance(every_draw, "last", cells, n)
    assert (exact_D > 0).all()
    assert (estimated_D > exact_D).all()


@pytest.mark.parametrize("estimator", ["last", "unordered"])
def test_standard_error_is_zero_with_every_cell_drawn(every_draw, estimator) -> None:
    exact_D, estimated_D = exact_and_estimated_variance(every_draw, estimator, 5, 5)
    torch.testing.assert_close(exact_D, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-20)
    assert (estimated_D == 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_standard_error_of_one_draw(estimator) -> None:
    assert standard_error(*problem(9, 1, estimator)).isinf().all()
    assert (standard_error(*problem(1, 1, estimator)) == 0).all()


@pytest.mark.parametrize("n", [1, 3, 9])
def test_top_cells_are_renormalised_and_of_unknown_error(n) -> None:
    a_BN, f_BND, d = problem(9, n, "unordered")
    shares_BN = a_BN.detach() / a_BN.detach().sum(1, keepdim=True)
    top = Draw(d.cells, d.proposal, shares_BN, TOP, d.undrawn)
    torch.testing.assert_close(expectation(a_BN, f_BND, top), (shares_BN[..., None] * f_BND).sum(1))
    assert standard_error(a_BN, f_BND, top).isinf().all()
    assert standard_error(a_BN.float(), f_BND.float(), top).dtype == torch.float32


def test_dtypes_follow_attention_and_features() -> None:
    a_BN, f_BND, d = problem(10, 3, "sequential")
    for function in (expectation, standard_error):
        assert function(a_BN.float(), f_BND.float(), d).dtype == torch.float32
    assert expectation(a_BN.float(), f_BND.float(), d, released=True).dtype == torch.float32
    assert expectation(a_BN.float(), f_BND.bfloat16(), d).dtype == torch.float32


@pytest.mark.parametrize("function", [expectation, standard_error])
def test_shapes_that_would_broadcast_are_refused(function) -> None:
    a_BN, f_BND, d = problem(10, 3, "unordered")
    with pytest.raises(DrawError, match=r"draw of shape \(4, 3\).*attention is \(1, 3\).*draw.cells"):
        function(a_BN[:1], f_BND[:1], d)
