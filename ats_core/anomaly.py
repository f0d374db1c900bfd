"""An attention to start from without labels: the cells whose colours are unlike the rest of their view.

Signs, digits and stains are rare where roads, night and tissue are not. Shape suffixes: B images, C channels, H and W
view pixels, M view pixels together, K cells.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ats_core.attention import AttentionNetwork
from ats_core.geometry import CellGrid

NOISE = 1e-4
"""Variance of each channel that is not told from none, in units of the task's; it bounds the anomaly of a grey view."""


def anomaly(views_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H W"]:
    """Squared Mahalanobis distance of each pixel's colour from the colours of its own view (RX, Reed & Yu 1990).

    Its mean over a view is C, or less where channels do not vary.
    """
    # In float64: the channels of a grey view differ in the fifth digit. Autocast leaves it as it is.
    colours_BCM = views_BCHW.flatten(2).double()
    colours_BCM = colours_BCM - colours_BCM.mean(2, keepdim=True)
    covariance_BCC = colours_BCM @ colours_BCM.mT / colours_BCM.shape[2]
    noise_CC = NOISE * torch.eye(views_BCHW.shape[1], dtype=torch.float64, device=views_BCHW.device)
    root_BCC, _ = torch.linalg.cholesky_ex(covariance_BCC + noise_CC)  # of pixels that are none: NaN, not an error
    white_BCM = torch.linalg.solve_triangular(root_BCC, colours_BCM, upper=False)
    return torch.unflatten(white_BCM.square().sum(1), 1, views_BCHW.shape[2:]).to(views_BCHW.dtype)


def of_cells(map_BHW: Float[Tensor, "B H W"], grid: CellGrid) -> Float[Tensor, "B K"]:
    """The largest value in each cell of a map of the view."""
    rows, columns = (slice(round(grid.margin), round(grid.margin + cells * grid.stride)) for cells in grid.size)
    return functional.adaptive_max_pool2d(map_BHW[:, None, rows, columns], grid.size).flatten(1)


class AnomalyAttention(nn.Module):
    """Another attention network's logits plus p log(1 + anomaly): from the first step on it draws what is rare.

    The attention is softmax(logits) (1 + anomaly)^p, scaled to sum to one. It is what is expected over and drawn from,
    so that estimates stay unbiased; the network learns what has to be added to it.

    Args:
        network: of any grid.
        power: p; 0 is the network alone.
    """

    def __init__(self, network: AttentionNetwork, power: float) -> None:
        super().__init__()
        self.network, self.power = network, power

    def grid(self, view_size: tuple[int, int]) -> CellGrid:
        """That of the network."""
        return self.network.grid(view_size)

    def forward(self, views_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Attention logits of every cell."""
        rarity_BK = of_cells(anomaly(views_BCHW), self.grid((views_BCHW.shape[2], views_BCHW.shape[3])))
        return self.network(views_BCHW) + self.power * rarity_BK.log1p()
