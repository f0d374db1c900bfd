"""The conformance suite: every estimator of the registry runs through it. Exact, by enumeration, in float64."""

from collections import Counter
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ats_core import estimators
from ats_core.estimators import ESTIMATORS, unordered
from ats_core.expectation import expectation

SIZES = [(1, 1), (5, 1), (4, 3), (7, 3), (6, 4), (5, 5)]  # cells, drawn
WITHOUT_REPLACEMENT = [name for name, rule in ESTIMATORS.items() if not rule.replacement]


def problem(cells: int, sharpness: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, features and the loss's direction in feature space."""
    g = torch.Generator().manual_seed(seed)
    z_K = (sharpness * torch.randn(cells, generator=g, dtype=torch.float64)).requires_grad_()
    f_KD = torch.randn(cells, 3, generator=g, dtype=torch.float64, requires_grad=True)
    return z_K, f_KD, torch.randn(3, generator=g, dtype=torch.float64)


def proposal(policy: str, a_K: Tensor) -> Tensor:
    g = torch.Generator().manual_seed(1)
    unrelated_K = torch.rand(len(a_K), generator=g, dtype=torch.float64) + 0.1
    uniform_K = torch.full_like(a_K, 1 / len(a_K))
    q_K = {"attention": a_K, "mixture": 0.7 * a_K + 0.3 * uniform_K, "unrelated": unrelated_K / unrelated_K.sum()}
    return q_K[policy].detach()


def value_and_gradients(F_D: Tensor, direction_D: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    return F_D.detach(), *torch.autograd.grad(F_D @ direction_D, leaves)


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
@pytest.mark.parametrize(("cells", "n"), SIZES)
@pytest.mark.parametrize("policy", ["attention", "mixture", "unrelated"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_value_and_both_gradients_are_unbiased(every_draw, estimator, policy, cells, n, sharpness) -> None:
    z_K, f_KD, direction_D = problem(cells, sharpness)
    a_K = z_K.softmax(0)
    draw, chance_M = every_draw(proposal(policy, a_K), n, estimator)
    mean_D = chance_M @ expectation(a_K[draw.cells], f_KD[draw.cells], draw)
    estimated = value_and_gradients(mean_D, direction_D, z_K, f_KD)
    exact = value_and_gradients(z_K.softmax(0) @ f_KD, direction_D, z_K, f_KD)
    torch.testing.assert_close(chance_M.sum().item(), 1.0, rtol=0, atol=1e-12)
    torch.testing.assert_close(estimated, exact, rtol=0, atol=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_cells_of_zero_probability_and_captured_mass_stay_unbiased(every_draw, estimator) -> None:
    z_K = torch.tensor([-torch.inf, 20.0, 3.0, -torch.inf, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
    _, f_KD, direction_D = problem(6, 1.0)
    a_K = z_K.softmax(0)
    draw, chance_M = every_draw(a_K.detach(), 3, estimator)
    mean_D = chance_M @ expectation(a_K[draw.cells], f_KD[draw.cells], draw)
    estimated = value_and_gradients(mean_D, direction_D, z_K, f_KD)
    exact = value_and_gradients(z_K.softmax(0) @ f_KD, direction_D, z_K, f_KD)
    torch.testing.assert_close(estimated, exact, rtol=0, atol=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@settings(max_examples=100, deadline=None)
@given(
    masses=st.lists(st.floats(min_value=1e-300, max_value=1.0), min_size=1, max_size=40),
    undrawn=st.one_of(st.just(0.0), st.floats(min_value=1e-300, max_value=1.0)),
)
def test_a_constant_is_estimated_exactly(estimator, masses, undrawn) -> None:
    total = sum(masses) + undrawn
    q_BN = torch.tensor([masses], dtype=torch.float64) / total
    w_BN = ESTIMATORS[estimator].weights(q_BN, torch.tensor([undrawn / total], dtype=torch.float64))
    assert (w_BN >= 0).all()
    torch.testing.assert_close(w_BN.sum().item(), 1.0, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("cells", "n"), [(7, 4), (6, 5)])
def test_unordered_is_the_mean_of_sequential_over_orders(every_draw, cells, n) -> None:
    q_K = problem(cells, 2.0)[0].detach().softmax(0)
    draw, chance_M = every_draw(q_K, n, "sequential")
    ours_M = (every_draw(q_K, n, "unordered")[0].weights * draw.cells.sin()).sum(1)
    theirs_M = (draw.weights * draw.cells.sin()).sum(1)
    sets = torch.unique(draw.cells.sort(1).values, dim=0, return_inverse=True)[1]
    chance_S = torch.zeros(sets.max() + 1, dtype=torch.float64).index_add(0, sets, chance_M)
    mean_S = torch.zeros_like(chance_S).index_add(0, sets, chance_M * theirs_M) / chance_S
    torch.testing.assert_close(ours_M, mean_S[sets], rtol=0, atol=1e-12)
    assert chance_M @ (ours_M - chance_M @ ours_M) ** 2 < 0.9 * (chance_M @ (theirs_M - chance_M @ theirs_M) ** 2)


@pytest.mark.parametrize("estimator", ["last", "unordered"])
def test_with_every_cell_drawn_the_weights_are_the_proposal(every_draw, estimator) -> None:
    draw, _ = every_draw(problem(5, 3.0)[0].detach().softmax(0), 5, estimator)
    torch.testing.assert_close(draw.weights, draw.proposal, rtol=1e-13, atol=0)


def exact_unordered(m_N: list[int], unit: Fraction) -> Tensor:
    """Murthy's weights for q_j / r = m_j unit, from the expansion of prod_j (1 - x^m_j), in integers of 4,000 bits."""

    def integral(powers: list[int]) -> int:
        terms = Counter({0: 1})
        for m in powers:
            terms.subtract({d + m: c for d, c in terms.items()})
        top, bottom = unit.as_integer_ratio()
        return sum((c * bottom << 4000) // (bottom + d * top) for d, c in terms.items())

    without = {m: integral([*m_N[: m_N.index(m)], *m_N[m_N.index(m) + 1 :]]) for m in set(m_N)}
    R, r = integral(m_N), 1 / (1 + unit * sum(m_N))
    return torch.tensor([float(r * unit * m * Fraction(without[m], R)) for m in m_N], dtype=torch.float64)


@pytest.mark.parametrize("unit", [Fraction(1, 10**4), Fraction(1, 10), Fraction(1), Fraction(10**3), Fraction(10**8)])
@pytest.mark.parametrize("n", [1, 2, 10, 100, 200])
def test_unordered_is_accurate_for_many_draws_and_captured_mass(n, unit) -> None:
    m_N = [1 + k % 4 for k in range(n)]
    r = 1 / (1 + unit * sum(m_N))
    q_BN = torch.tensor([[float(r * unit * m) for m in m_N]], dtype=torch.float64)
    w_BN = unordered(q_BN, torch.tensor([float(r)], dtype=torch.float64))
    torch.testing.assert_close(w_BN[0], exact_unordered(m_N, unit), rtol=1e-11, atol=0)


def test_unordered_is_accurate_over_sixteen_decades() -> None:
    m_N = [16**k for k in range(13)]
    unit = Fraction(1, 10**8)
    r = 1 / (1 + unit * sum(m_N))
    q_BN = torch.tensor([[float(r * unit * m) for m in m_N]], dtype=torch.float64)
    w_BN = unordered(q_BN, torch.tensor([float(r)], dtype=torch.float64))
    torch.testing.assert_close(w_BN[0], exact_unordered(m_N, unit), rtol=1e-11, atol=0)


@pytest.mark.parametrize("sharpness", [0.0, 2.0, 5.0, 12.0])
@pytest.mark.parametrize("n", [10, 100, 200])
def test_unordered_needs_no_more_nodes(monkeypatch, n, sharpness) -> None:
    g = torch.Generator().manual_seed(n)
    q_K = (sharpness * torch.randn(10_000, generator=g, dtype=torch.float64)).softmax(0)
    cells_N = torch.multinomial(q_K, n, generator=g)
    q_BN, undrawn_B = q_K[cells_N][None], q_K.index_fill(0, cells_N, 0.0).sum()[None]
    w_BN = unordered(q_BN, undrawn_B)
    monkeypatch.setattr(estimators, "NODES", 4 * estimators.NODES)
    torch.testing.assert_close(w_BN, unordered(q_BN, undrawn_B), rtol=1e-12, atol=0)
