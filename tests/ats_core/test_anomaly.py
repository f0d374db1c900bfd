"""Where colours are rare: distances against their definition, and an attention that starts from them."""

import pytest
import torch
from torch import Tensor

from ats_core.anomaly import NOISE, AnomalyAttention, anomaly, of_cells
from ats_core.attention import ATTENTION_NETWORKS, AttentionNetwork
from ats_core.geometry import CellGrid


def some_views(channels: int = 3, size: tuple[int, int] = (24, 32)) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    return torch.einsum("cd,bdhw->bchw", mixed, torch.randn(2, channels, *size, generator=generator).double())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_it_is_the_squared_mahalanobis_distance_from_the_view(channels: int) -> None:
    views = some_views(channels)
    for view, found in zip(views, anomaly(views), strict=True):
        colours = view.flatten(1)
        inverse = torch.linalg.inv(torch.cov(colours, correction=0) + NOISE * torch.eye(channels))
        off = colours - colours.mean(1, keepdim=True)
        torch.testing.assert_close(found.flatten(), torch.einsum("cm,cd,dm->m", off, inverse.double(), off))


def test_its_mean_is_the_number_of_channels_whatever_mixes_them() -> None:
    torch.testing.assert_close(anomaly(some_views()).mean((1, 2)), torch.full((2,), 3.0).double(), rtol=0.01, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_grey_view_and_an_even_one_have_finite_distances(dtype: torch.dtype) -> None:
    grey = torch.randn(1, 1, 40, 60, dtype=dtype, generator=torch.Generator().manual_seed(0)).expand(1, 3, 40, 60)
    with torch.autocast("cpu", torch.bfloat16):
        found = anomaly(grey)
    assert found.dtype == dtype
    torch.testing.assert_close(found.mean(), torch.tensor(1.0, dtype=dtype), rtol=0.01, atol=0)
    assert (anomaly(torch.ones(1, 3, 8, 8, dtype=dtype)) == 0).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_view_of_no_numbers_has_no_distances_and_leaves_the_others_theirs(value: float) -> None:
    views = some_views()
    expected = anomaly(views)[0]
    views[1, 0, 3, 3] = value
    found = anomaly(views)
    assert found[1].isnan().all()
    assert torch.equal(found[0], expected)


def test_the_one_red_pixel_is_the_most_anomalous_though_others_are_brighter() -> None:
    view = torch.randn(1, 1, 30, 30, generator=torch.Generator().manual_seed(0)).repeat(1, 3, 1, 1)
    view[0, 0, 17, 5] += 1
    assert anomaly(view).flatten().argmax() == 17 * 30 + 5


@pytest.mark.parametrize(
    "grid",
    [CellGrid((24, 32), (24, 32)), CellGrid((24, 32), (2, 3), stride=8.0, margin=4.0), CellGrid((24, 32), (3, 4), 8.0)],
)
def test_a_cell_has_the_largest_value_of_its_pixels(grid: CellGrid) -> None:
    at = torch.zeros(grid.n_cells, 24, 32)
    y, x = grid.positions(torch.arange(grid.n_cells)[None], torch.tensor([[24, 32]]))[0].long().unbind(1)
    at[torch.arange(grid.n_cells), y, x] = 1
    assert torch.equal(of_cells(at, grid), torch.eye(grid.n_cells))


@pytest.mark.parametrize("name", ATTENTION_NETWORKS)
@pytest.mark.parametrize("view_size", [(24, 32), (23, 41)])
def test_the_attention_is_that_of_the_network_times_a_power_of_the_anomaly(
    name: str, view_size: tuple[int, int]
) -> None:
    network, views = ATTENTION_NETWORKS[name](channels=3).double(), some_views(size=view_size)
    both, grid = AnomalyAttention(network, 2.0), network.grid(view_size)
    assert isinstance(both, AttentionNetwork)
    assert both.grid(view_size) == grid
    expected = torch.softmax(network(views), 1) * (1 + of_cells(anomaly(views), grid)) ** 2
    torch.testing.assert_close(torch.softmax(both(views), 1), expected / expected.sum(1, keepdim=True))


def test_autocast_leaves_the_distances_as_they_are() -> None:
    views = some_views().float()
    expected = anomaly(views)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(anomaly(views), expected)
