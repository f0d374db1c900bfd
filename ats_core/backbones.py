"""Residual networks of two depths: of patches (features.py), and of whole views (the CNN baseline).

Shape suffixes: M images or patches, C channels, D features.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, cast, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


@runtime_checkable
class Backbone(Protocol):
    """What the CNN needs of its network."""

    n_features: int

    def __call__(self, views_MCHW: Tensor) -> Tensor:
        """Features [M, D] of standardised views, whatever their size."""
        ...


class Halving(nn.Conv2d):
    """A 3 x 3 convolution of stride 2, to half the size."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, 3, stride=2, padding=1, bias=False)

    def forward(self, input: Float[Tensor, "M C H W"]) -> Float[Tensor, "M D h w"]:
        """Rounded up. Along a side of one pixel any stride is the same, and is one.

        Across a width of one, at stride 2, oneDNN (3.12 on x86) sums gradients in bfloat16 from unwritten memory.
        """
        stride = [step if side > 1 else 1 for step, side in zip(self.stride, input.shape[-2:], strict=True)]
        return functional.conv2d(input, self.weight, stride=stride, padding=self.padding)


class PreActivationBlock(nn.Module):
    """BN-ReLU-conv twice, the first with stride 2, added to a strided 1 x 1 convolution of the activated input."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(out_channels)
        self.conv1 = Halving(channels, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(channels, out_channels, 1, stride=2, bias=False)

    def forward(self, x: Float[Tensor, "M C H W"]) -> Float[Tensor, "M D h w"]:
        """Half the size."""
        x = functional.relu(self.norm1(x))
        return cast(Tensor, self.shortcut(x) + self.conv2(functional.relu(self.norm2(self.conv1(x)))))


class ResNet(nn.Module):
    """A pre-activation ResNet: a 3 x 3 convolution, a block of stride 2 for each width, global average."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.n_features = widths[-1]
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*(PreActivationBlock(*pair) for pair in pairwise((widths[0], *widths))))
        self.norm = nn.BatchNorm2d(self.n_features)

    def forward(self, x_MCHW: Float[Tensor, "M C H W"]) -> Float[Tensor, "M D"]:
        """Features, the mean over all places."""
        return functional.relu(self.norm(self.blocks(self.stem(x_MCHW)))).mean((2, 3))


RESNET8 = (32,) * 3
RESNET16 = (32, 32, 64, 64, 128, 128, 256)


def resnet8(channels: int = 3) -> ResNet:
    """Colon cancer's CNN: 8 layers (7 convolutions and the classifier) of 32 channels (suppl. H.2).

    Cut as the feature network of the speed limits in the authors' code, which the paper calls a ResNet of 8 layers.
    """
    return ResNet(channels, RESNET8)


def resnet16(channels: int = 3) -> ResNet:
    """The CNN of the other tasks: 16 layers, from 32 channels, doubling after every two blocks (suppl. H.1, H.3).

    Every block halves the size: on speed limits the paper's CNN takes .64 times the memory of its Deep MIL, exactly the
    ratio of their pixels, so both spend it alike on their first layers.
    """
    return ResNet(channels, RESNET16)


BACKBONES = {"resnet8": resnet8, "resnet16": resnet16}
