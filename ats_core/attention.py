"""a(V): networks that look at the view and say where to look in the image.

A network maps views [B, C, h, w] to logits [B, K] and names its `grid(view_size)`, so that cells can be found in the
image. Shape suffixes: B images, C channels, K cells.
"""

from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ats_core.geometry import CellGrid, strip, valid_convolution_grid
from ats_core.passes import in_passes
from ats_core.precision import raised


@runtime_checkable
class AttentionNetwork(Protocol):
    """What a model needs of an attention network."""

    def grid(self, view_size: tuple[int, int]) -> CellGrid:
        """Where the cells of the logits lie in a view of this size."""
        ...

    def __call__(self, views_BCHW: Tensor) -> Tensor:
        """Attention logits [B, K] of standardised views."""
        ...


def smoothed_softmax(logits_BK: Float[Tensor, "B K"], smoothing: float) -> Float[Tensor, "B K"]:
    """Softmax over all cells, mixed with the uniform distribution: (1 - s) softmax + s / K.

    Smoothing keeps every cell drawable, and so the importance weights finite. In float32 at least: in bfloat16 the sum
    over 10,000 cells is not one.
    """
    return torch.softmax(raised(logits_BK), dim=-1) * (1 - smoothing) + smoothing / logits_BK.shape[-1]


def entropy(attention_BK: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
    """Entropy of the attention in nats, with 0 log 0 = 0 and a finite gradient there."""
    tiny = torch.finfo(attention_BK.dtype).tiny
    return -(attention_BK * attention_BK.clamp_min(tiny).log()).sum(-1)


class PooledAttention(nn.Module):
    """Speed limits: valid 3 x 3 convolutions C-8-16-32 with ReLU, one linear to 1, max pool of 8 (suppl. H.3).

    A view of 288 x 384 gives 35 x 47 = 1,645 cells. The gradient of a maximum is that of its own place. So where one is
    wanted, the view is passed without, to find the maxima, and the 9 x 9 pixels that each of them saw are passed again
    with it, side by side in a strip: less than two thirds of the view's activations, and one view's at a time before.
    """

    POOL = 8
    LOST = 8  # view pixels an axis: four valid 3 x 3 convolutions

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 16, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 1, 3),
        )

    def grid(self, view_size: tuple[int, int]) -> CellGrid:
        """One cell for 8 x 8 view pixels, inside of a margin of 4."""
        return valid_convolution_grid(view_size, self.LOST, self.POOL)

    def forward(self, views_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Attention logits of every cell."""
        with torch.no_grad():
            map_B1HW = in_passes(self.layers, views_BCHW)
            highest_B1hw, places_B1hw = functional.max_pool2d(map_B1HW, self.POOL, return_indices=True)
        if not torch.is_grad_enabled():
            return highest_B1hw.flatten(1)
        width, side = map_B1HW.shape[3], self.LOST + 1
        places_BK = places_B1hw.flatten(1)
        starts_BK2 = torch.stack((places_BK // width, places_BK % width), dim=-1)
        *trunk, last = self.layers
        seen_BCHW = strip(views_BCHW, starts_BK2, side)
        for layer in trunk:
            seen_BCHW = layer(seen_BCHW)
        assert isinstance(last, nn.Conv2d)
        # Its stride passes over what lies across two windows.
        return functional.conv2d(seen_BCHW, last.weight, last.bias, stride=(1, side)).flatten(1)


class DenseAttention(nn.Module):
    """Megapixel MNIST and colon cancer: 3 x 3 convolutions C-8-8-1 of unchanged size, one cell a view pixel.

    Tanh between them, as in the authors' code; the paper's text says ReLU (suppl. H.1).
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(8, 1, 3, padding=1),
        )

    def grid(self, view_size: tuple[int, int]) -> CellGrid:
        """One cell a view pixel."""
        return CellGrid(view_size, view_size)

    def forward(self, views_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Attention logits of every cell."""
        return cast(Tensor, self.layers(views_BCHW)).flatten(1)


class UniformAttention(nn.Module):
    """An attention that knows nothing: zero logits over a given grid."""

    def __init__(self, grid: CellGrid) -> None:
        super().__init__()
        self._grid = grid

    def grid(self, view_size: tuple[int, int]) -> CellGrid:
        """The grid it was made with."""
        return self._grid

    def forward(self, views_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Zeros."""
        return views_BCHW.new_zeros(len(views_BCHW), self._grid.n_cells)


ATTENTION_NETWORKS = {"pooled": PooledAttention, "dense": DenseAttention}
