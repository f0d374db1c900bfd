"""Draws: their distribution, their edges, their errors."""

from collections.abc import Sequence

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from ats_core.errors import AtsError, DrawError, ProposalError
from ats_core.estimators import ESTIMATORS
from ats_core.expectation import expectation, standard_error
from ats_core.sampling import TOP, all_cells, draw, no_cells, top_cells

Q_K = torch.tensor([0.55, 0.25, 0.12, 0.05, 0.03], dtype=torch.float64)
CHOOSE = "Choose one of iid, last, sequential, unordered"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("estimator", ["iid", "last"])
def test_ordered_draws_follow_the_exact_probabilities(every_draw, estimator, dtype) -> None:
    exact, chance_M = every_draw(Q_K, 3, estimator)
    drawn = draw(Q_K.to(dtype).expand(100_000, -1), 3, estimator, seeded())
    code_B, code_M = ((cells * torch.tensor([25, 5, 1])).sum(1) for cells in (drawn.cells, exact.cells))
    counts_M = torch.bincount(code_B, minlength=125)[code_M]
    assert counts_M.sum() == 100_000  # so no other order was drawn
    assert chisquare(counts_M, 100_000 * chance_M / chance_M.sum()).pvalue > 1e-3


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fields_are_those_of_the_drawn_cells(estimator) -> None:
    q_BK = torch.randn(4, 50, generator=seeded()).softmax(1)
    d = draw(q_BK, 6, estimator=estimator, generator=seeded())
    q_BK = q_BK.double() / q_BK.double().sum(1, keepdim=True)
    undrawn_B = torch.stack(
        [q_K[[i not in row for i in range(50)]].sum() for q_K, row in zip(q_BK, d.cells, strict=True)]
    )
    torch.testing.assert_close(d.proposal, q_BK.gather(1, d.cells))
    torch.testing.assert_close(d.undrawn, undrawn_B)
    torch.testing.assert_close(d.weights, ESTIMATORS[estimator].weights(d.proposal, d.undrawn))
    assert d.estimator == estimator
    assert not any(field.requires_grad for field in (d.proposal, d.weights, d.undrawn))


def test_a_generator_decides_alone() -> None:
    q_BK = torch.rand(3, 20, generator=seeded()).softmax(1)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = draw(q_BK, 5, generator=seeded(1))
    assert torch.equal(first.cells, draw(q_BK, 5, generator=seeded(1)).cells)
    assert not torch.equal(first.cells, draw(q_BK, 5, generator=seeded(2)).cells)
    assert torch.equal(state, torch.get_rng_state())


def test_the_proposal_gets_no_gradient_and_stays_as_it_was() -> None:
    q_BK = Q_K[None].clone().requires_grad_()
    assert not draw(q_BK, 2).weights.requires_grad
    assert torch.equal(q_BK.detach(), Q_K[None])


def test_a_draw_moves_between_devices() -> None:
    moved = draw(Q_K[None], 2).to("meta")
    assert {t.device.type for t in (moved.cells, moved.proposal, moved.weights, moved.undrawn)} == {"meta"}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_cell_of_zero_probability_is_never_drawn(estimator) -> None:
    q_K = torch.tensor([0, 0, 1e-300, 0.5, 0, 0.5, 0])  # float32: 1e-300 is a zero as well
    d = draw(q_K.expand(5_000, -1), 2, estimator, seeded())
    assert set(d.cells.unique().tolist()) == {3, 5}
    tiny_K = torch.tensor([0, 1e-310, 1, 1e-320, 0], dtype=torch.float64)
    assert set(draw(tiny_K.expand(1000, -1), 1, estimator, seeded()).cells.unique().tolist()) == {2}
    if not ESTIMATORS[estimator].replacement:
        assert set(draw(tiny_K.expand(1000, -1), 3, estimator, seeded()).cells.unique().tolist()) == {1, 2, 3}


@pytest.mark.parametrize("u", [0.0, 1 - 2**-53])
def test_the_least_and_the_largest_random_number_fall_on_cells_of_the_proposal(monkeypatch, u) -> None:
    monkeypatch.setattr(torch, "rand", lambda *size, generator, **kind: torch.full(size, u, **kind))
    q_BK = torch.tensor([[0, 0.1, 0, 0.3, 0.6, 0, 0]], dtype=torch.float64)
    assert draw(q_BK, 1, "iid").cells.item() == (1 if u == 0 else 4)


def peaked(cells: int) -> Tensor:
    """One cell with all but 1e-7 of the mass."""
    rest = torch.full((cells - 1,), 1e-7 / (cells - 1), dtype=torch.float64)
    return torch.cat([torch.tensor([1 - 1e-7], dtype=torch.float64), rest])


EDGES = {
    "one cell": (torch.ones(1, dtype=torch.float64), 1),
    "one drawn": (Q_K, 1),
    "every cell": (Q_K, 5),
    "peaked": (peaked(1000), 5),
    "peaked, every cell": (peaked(6), 6),
    "captured beyond float64": (torch.tensor([40.0, 0, -40, -80, -700], dtype=torch.float64).softmax(0), 3),
    "zeros": (torch.tensor([0, 0.2, 0, 0.8, 0], dtype=torch.float64), 2),
    "zeros and a peak": (torch.cat([torch.zeros(50, dtype=torch.float64), peaked(10)]), 10),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_edges_give_finite_values_and_gradients(estimator, edge, dtype) -> None:
    q_K, n = EDGES[edge]
    z_BK = q_K.log().to(dtype).expand(64, -1).clone().requires_grad_()
    a_BK = z_BK.softmax(1)
    f_BKD = torch.randn(64, len(q_K), 4, generator=seeded(), dtype=dtype)
    d = draw(a_BK, n, estimator, seeded())
    f_BND = f_BKD[torch.arange(64)[:, None], d.cells].requires_grad_()
    a_BN = a_BK.gather(1, d.cells)
    F_BD = expectation(a_BN, f_BND, d)
    gradients = torch.autograd.grad(F_BD.square().sum(), (z_BK, f_BND))
    assert F_BD.dtype == dtype
    assert all(x.isfinite().all() for x in (F_BD, *gradients))
    error_BD = standard_error(a_BN, f_BND, d)
    assert (error_BD >= 0).all()
    assert error_BD.isfinite().all() or n == 1


def test_float32_softmax_over_many_cells_is_a_proposal() -> None:
    q_BK = (3 * torch.randn(8, 10_000, generator=seeded())).softmax(1)
    d = draw(q_BK, 10, generator=seeded())
    torch.testing.assert_close(d.proposal.sum(1) + d.undrawn, torch.ones(8, dtype=torch.float64), rtol=0, atol=1e-12)


def test_all_cells_are_weighed_by_the_proposal() -> None:
    q_BK = torch.rand(4, 9, generator=seeded(), dtype=torch.float64).softmax(1).requires_grad_()
    every, drawn = all_cells(q_BK), draw(q_BK, 9, generator=seeded())
    order_BK = drawn.cells.argsort(1)
    assert torch.equal(every.cells, torch.arange(9).expand(4, -1))
    for field in ("proposal", "weights"):
        torch.testing.assert_close(getattr(every, field), getattr(drawn, field).gather(1, order_BK))
    assert (every.estimator, every.undrawn.tolist()) == ("unordered", [0.0] * 4)
    assert not every.weights.requires_grad


@pytest.mark.parametrize("n", [1, 3, 9])
def test_top_cells_have_the_largest_masses_and_their_shares(n) -> None:
    q_BK = torch.rand(4, 9, generator=seeded(), dtype=torch.float64).softmax(1)
    top = top_cells(q_BK, n)
    for q_K, cells_N, weights_N, undrawn in zip(q_BK, top.cells, top.weights, top.undrawn, strict=True):
        best = sorted(range(9), key=lambda k: -q_K[k])[:n]
        assert cells_N.tolist() == best
        torch.testing.assert_close(weights_N, q_K[best] / q_K[best].sum())
        torch.testing.assert_close(undrawn, 1 - q_K[best].sum())
    assert torch.equal(top.proposal, q_BK.gather(1, top.cells) / q_BK.sum(1, keepdim=True))
    assert top.estimator == TOP


def test_cells_of_zero_probability_cannot_be_chosen() -> None:
    """Their weight w / q is not defined."""
    q_BK = torch.tensor([[0.5, 0.5, 0.0]])
    assert top_cells(q_BK, 2).cells.sort().values.tolist() == [[0, 1]]
    for choose in (all_cells, lambda q_BK: top_cells(q_BK, 3)):
        with pytest.raises(DrawError, match="a row has only 2 of positive"):
            choose(q_BK)


def test_no_cells_leave_all_the_mass() -> None:
    none = no_cells(3)
    assert none.cells.shape == none.proposal.shape == none.weights.shape == (3, 0)
    assert none.undrawn.tolist() == [1.0] * 3


def row(*entries: float) -> Tensor:
    """A batch whose second row holds the entries."""
    return torch.tensor([[1.0] + [0.0] * (len(entries) - 1), list(entries)])


REFUSED = {
    "negative": (row(1.5, -0.5), 1, "iid", ProposalError, r"row 1: has negative entries.*softmax"),
    "nan": (row(0.5, float("nan")), 1, "iid", ProposalError, r"row 1: holds NaN.*diverged"),
    "infinite": (row(float("inf"), 0.0), 1, "iid", ProposalError, r"row 1: holds NaN or infinity"),
    "unnormalised": (row(0.5, 0.4), 1, "iid", ProposalError, r"row 1: does not sum to 1.*softmax"),
    "zero": (row(0.0, 0.0), 1, "iid", ProposalError, r"row 1: does not sum to 1"),
    "one row": (Q_K, 1, "iid", ProposalError, r"shape \(5,\).*\[B, K\]"),
    "no cells": (torch.ones(2, 0), 1, "iid", ProposalError, r"shape \(2, 0\).*\[B, K\]"),
    "integers": (torch.ones(1, 1, dtype=torch.int64), 1, "iid", ProposalError, r"int64.*floating-point"),
    "none drawn": (row(0.5, 0.5), 0, "unordered", DrawError, r"draw of 0 cells.*at least one"),
    "too many": (Q_K[None], 6, "unordered", DrawError, r"draw of 6 cells: the proposal has 5.*at most 5.*'iid'"),
    "too few": (row(0.5, 0.5, 0.0), 3, "last", DrawError, r"a row has only 1 of positive.*smooth"),
    "unknown": (row(0.5, 0.5), 1, "systematic", DrawError, rf"'systematic': does not exist. {CHOOSE}"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_to_do(case) -> None:
    q_BK, n, estimator, error, message = REFUSED[case]
    with pytest.raises(error, match=message) as refusal:
        draw(q_BK, n, estimator)
    assert isinstance(refusal.value, AtsError)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_with_a_generator_an_image_its_draw_does_not_depend_on_the_others(estimator: str) -> None:
    q_BK = torch.randn(5, 12, generator=seeded()).softmax(1)

    def generators(rows: Sequence[int]) -> list[torch.Generator]:
        return [seeded(row) for row in rows]

    together = draw(q_BK, 4, estimator, generators(range(5)))
    assert not (together.cells == together.cells[0]).all()
    for rows in ([3], [4, 0]):
        alone = draw(q_BK[rows], 4, estimator, generators(rows))
        assert torch.equal(alone.cells, together.cells[rows])
        assert torch.equal(alone.weights, together.weights[rows])
    with pytest.raises(DrawError, match="1 generators: the proposal has 5 rows"):
        draw(q_BK, 4, estimator, generators([0]))
    assert draw(q_BK[:0], 4, estimator, []).cells.shape == (0, 4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_prefix_of_a_draw_is_a_draw(estimator: str) -> None:
    q_BK = torch.randn(50, 6, generator=seeded(), dtype=torch.float64).softmax(1)
    drawn = draw(q_BK, 6, estimator, seeded())
    for n in range(1, 7):
        prefix = drawn.prefix(n)
        assert torch.equal(prefix.cells, drawn.cells[:, :n])
        undrawn_B = torch.stack([1 - q[cells.unique()].sum() for q, cells in zip(q_BK, prefix.cells, strict=True)])
        torch.testing.assert_close(prefix.undrawn, undrawn_B, atol=1e-12, rtol=0)
        assert torch.equal(prefix.weights, ESTIMATORS[estimator].weights(prefix.proposal, prefix.undrawn))
    assert torch.equal(drawn.prefix(6).weights, drawn.weights)
    for n in (0, 7):
        with pytest.raises(DrawError, match=f"prefix of {n} cells: the draw has 6"):
            drawn.prefix(n)
