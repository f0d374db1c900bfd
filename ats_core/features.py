"""f(P): networks that describe a patch by a feature vector of length one.

Equal norms make the attention itself the proposal of least variance (paper, eq. 9). A network maps patches
[M, C, P, P] to features [M, D] and names D as `n_features`. Shape suffixes: M patches, C channels, P side, D features.
"""

from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ats_core.errors import GeometryError


@runtime_checkable
class FeatureNetwork(Protocol):
    """What a model needs of a feature network."""

    n_features: int

    def __call__(self, patches_MCPP: Tensor) -> Tensor:
        """Features [M, D] of unit length."""
        ...


class PreActivationBlock(nn.Module):
    """BN-ReLU-conv twice, the first with stride 2, added to a strided 1 x 1 convolution of the activated input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(channels, channels, 1, stride=2, bias=False)

    def forward(self, x: Float[Tensor, "M D H W"]) -> Float[Tensor, "M D h w"]:
        """Half the size, the same channels."""
        x = functional.relu(self.norm1(x))
        return cast(Tensor, self.shortcut(x) + self.conv2(functional.relu(self.norm2(self.conv1(x)))))


class ResNet8(nn.Module):
    """Speed limits: a pre-activation ResNet of 8 layers and 32 channels, global average, L2 norm (suppl. H.3)."""

    n_features = 32

    def __init__(self, channels: int = 3, patch_size: int = 100) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, self.n_features, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*(PreActivationBlock(self.n_features) for _ in range(3)))
        self.norm = nn.BatchNorm2d(self.n_features)

    def forward(self, patches_MCPP: Float[Tensor, "M C P P"]) -> Float[Tensor, "M D"]:
        """Features of unit length."""
        x = functional.relu(self.norm(self.blocks(self.stem(patches_MCPP))))
        return functional.normalize(x.mean((2, 3)), dim=-1)


class LeNet(nn.Module):
    """Megapixel MNIST: valid convolutions 7, 3, 3, 3 of 32 channels with ReLU, global max, L2 norm (suppl. H.1)."""

    n_features = 32

    def __init__(self, channels: int = 1, patch_size: int = 50) -> None:
        super().__init__()
        _require_side(patch_size, 13)
        sides = [(channels, 7), (32, 3), (32, 3), (32, 3)]
        self.layers = nn.Sequential(*(m for c, k in sides for m in (nn.Conv2d(c, 32, k), nn.ReLU())))

    def forward(self, patches_MCPP: Float[Tensor, "M C P P"]) -> Float[Tensor, "M D"]:
        """Features of unit length."""
        return functional.normalize(self.layers(patches_MCPP).amax((2, 3)), dim=-1)


class NucleusNet(nn.Module):
    """Colon cancer: conv 4 (36), pool, conv 3 (48), pool, dense 512, dense 512, L2 norm (Ilse et al. 2018).

    Their second dropout is left out: with both, a learning rate of 1e-3 does not learn.
    """

    n_features = 512

    def __init__(self, channels: int = 3, patch_size: int = 27) -> None:
        super().__init__()
        _require_side(patch_size, 11)
        side = ((patch_size - 3) // 2 - 2) // 2
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 36, 4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(36, 48, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(48 * side * side, 512),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(512, 512),
            nn.ReLU(),
        )

    def forward(self, patches_MCPP: Float[Tensor, "M C P P"]) -> Float[Tensor, "M D"]:
        """Features of unit length."""
        return functional.normalize(self.layers(patches_MCPP), dim=-1)


def _require_side(patch_size: int, least: int) -> None:
    if patch_size < least:
        raise GeometryError(f"patch of side {patch_size}", f"the network needs {least} pixels", "Use a larger patch.")


FEATURE_NETWORKS = {"resnet8": ResNet8, "lenet": LeNet, "nucleus": NucleusNet}


def features_of_patches(network: FeatureNetwork, patches_BNCPP: Float[Tensor, "B N C P P"]) -> Float[Tensor, "B N D"]:
    """One pass of the network over all B x N patches."""
    features_MD: Tensor = network(patches_BNCPP.flatten(0, 1))
    return torch.unflatten(features_MD, 0, patches_BNCPP.shape[:2])
