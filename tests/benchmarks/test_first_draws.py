"""The draws that first_draws compares with the project's own."""

import torch

from ats_core.geometry import CellGrid
from benchmarks.first_draws import hilbert, systematic


def test_neighbours_on_the_curve_are_neighbours_in_the_grid() -> None:
    order = hilbert(16, 16)
    steps = torch.stack((order // 16, order % 16)).diff(dim=1).abs().sum(0)
    assert (steps == 1).all()
    assert torch.equal(hilbert(5, 7).sort().values, torch.arange(35))


def test_systematic_draws_are_expected_as_their_masses_say() -> None:
    """And no cell is drawn more or less often than the whole numbers around n q."""
    generator = torch.Generator().manual_seed(0)
    q_1K, grid, n = torch.softmax(torch.randn(1, 12, generator=generator), 1), CellGrid((3, 4), (3, 4)), 5
    cells = systematic(q_1K.expand(20_000, -1), n, grid, generator)
    counts = torch.nn.functional.one_hot(cells, 12).sum(1)
    assert ((counts - n * q_1K).abs() < 1).all()
    assert (counts.double().mean(0) - n * q_1K).abs().max() < 0.02  # .5 / sqrt(20,000) is .0035
