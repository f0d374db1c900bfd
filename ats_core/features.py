"""f(P): networks that describe a patch by a feature vector of length one.

Equal norms make the attention itself the proposal of least variance (paper, eq. 9). A network maps patches
[M, C, P, P] to features [M, D] and names D as `n_features`. Shape suffixes: M patches, C channels, P side, D features.
"""

from functools import partial
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ats_core.backbones import RESNET8, ResNet
from ats_core.errors import GeometryError
from ats_core.passes import in_passes
from ats_core.precision import raised


@runtime_checkable
class FeatureNetwork(Protocol):
    """What a model needs of a feature network."""

    n_features: int

    def __call__(self, patches_MCPP: Tensor) -> Tensor:
        """Features [M, D] of unit length."""
        ...


class ResNet8(ResNet):
    """Speed limits: a pre-activation ResNet of 8 layers and 32 channels, global average, L2 norm (suppl. H.3)."""

    def __init__(self, channels: int = 3, patch_size: int = 100) -> None:
        super().__init__(channels, RESNET8)

    def forward(self, patches_MCPP: Float[Tensor, "M C P P"]) -> Float[Tensor, "M D"]:
        """Features of unit length."""
        return functional.normalize(super().forward(patches_MCPP), dim=-1)


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


def features_of_patches(
    network: FeatureNetwork, patches_BNCPP: Float[Tensor, "B N C P P"], chunk: int | None = None
) -> Float[Tensor, "B N D"]:
    """Features of all B x N patches: one pass of the network, or passes of `chunk` patches each.

    With a chunk, what a pass would hold for its gradient is computed again when that is wanted, from the same random
    numbers, so memory does not grow with N; without, a pass of all is the plain method. Where no gradient is wanted
    nothing is held, and passes are as large as is fast. Batch norm in training normalises over a pass, and its
    running statistics move once a pass.
    """
    patches_MCPP = patches_BNCPP.flatten(0, 1)
    if not torch.is_grad_enabled():
        features_MD = in_passes(network, patches_MCPP, chunk)
    elif chunk is None:
        features_MD = network(patches_MCPP)
    else:
        features_MD = in_passes(partial(_recomputed, network), patches_MCPP, chunk)
    return torch.unflatten(raised(features_MD), 0, patches_BNCPP.shape[:2])


def _recomputed(network: FeatureNetwork, patches_MCPP: Float[Tensor, "M C P P"]) -> Float[Tensor, "M D"]:
    """A pass that keeps its input alone; it runs again on copies of the buffers, so that statistics move only once."""
    module = cast(nn.Module, network)
    buffers = dict(module.named_buffers())
    features_MD: Tensor = checkpoint(lambda x: functional_call(module, buffers, x), patches_MCPP, use_reentrant=False)
    buffers |= {name: buffer.clone() for name, buffer in buffers.items()}
    return features_MD
