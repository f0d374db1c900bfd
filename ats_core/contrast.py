"""Features before labels: two looks at a patch should say the same, and unlike patches of other images.

SimCLR (Chen et al. 2020), but for one thing: two patches of one image are never contrasted, since they may well show
the same. Shape suffixes: B images, N patches, M patches, C channels, P patch side, D features, E embedding.
"""

from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, autograd, nn
from torch.nn import functional
from torch.optim import Adam

from ats_core.features import FeatureNetwork
from ats_core.geometry import crop
from ats_core.precision import raised

TEMPERATURE = 0.2
EMBEDDED = 64
SHIFT = 1 / 8
"""Largest shift of a look, of the patch's side."""
CONTRAST, BRIGHTNESS = 0.4, 0.5
"""Largest changes of colour, in standardised units."""


def random_look(patches_MCPP: Float[Tensor, "M C P P"], generator: Generator) -> Float[Tensor, "M C P P"]:
    """Patches shifted, mirrored left-right, brighter or darker, each at random; reflected where a shift goes beyond.

    Args:
        patches_MCPP: standardised.
        generator: of the CPU.
    """
    m, _, side, _ = patches_MCPP.shape
    reach = int(side * SHIFT)
    starts_M12 = torch.randint(2 * reach + 1, (m, 1, 2), generator=generator)
    mirrored_M = torch.rand(m, generator=generator) < 0.5
    contrast_M, brightness_M = 2 * torch.rand(2, m, generator=generator) - 1
    on = patches_MCPP.device
    padded = functional.pad(patches_MCPP, (reach,) * 4, mode="reflect")
    moved_MCPP = crop(padded, starts_M12.to(on), (side, side))[0][:, 0]
    looks_MCPP = torch.where(_each(mirrored_M).to(on), moved_MCPP.flip(-1), moved_MCPP)
    scale_M, offset_M = 1 + CONTRAST * contrast_M, BRIGHTNESS * brightness_M
    return torch.addcmul(_each(offset_M).to(on), looks_MCPP, _each(scale_M).to(on))


def _each(values_M: Tensor) -> Tensor:
    return values_M[:, None, None, None]


def contrastive_loss(
    one_ME: Float[Tensor, "M E"], other_ME: Float[Tensor, "M E"], image_M: Int[Tensor, " M"]
) -> Float[Tensor, ""]:
    """Mean of -log softmax over (its other look, all looks at other images) of the cosine to its other look.

    Args:
        one_ME: embeddings of a look at each patch, of any length.
        other_ME: of another look.
        image_M: which image a patch is of.
    """
    looks_LE = functional.normalize(torch.cat([one_ME, other_ME]), dim=1)
    partner_L = torch.arange(len(looks_LE), device=looks_LE.device).roll(len(one_ME))
    left_out_LL = image_M.repeat(2)[:, None] == image_M.repeat(2)
    left_out_LL[torch.arange(len(looks_LE), device=looks_LE.device), partner_L] = False
    cosines_LL = (looks_LE @ looks_LE.T / TEMPERATURE).masked_fill(left_out_LL, -torch.inf)
    return functional.cross_entropy(cosines_LL, partner_L)


class Contrast:
    """Trains a feature network, with an embedding that is forgotten afterwards.

    Args:
        features: in training mode, on its device.
        lr: of Adam.
    """

    def __init__(self, features: FeatureNetwork, lr: float) -> None:
        network = cast(nn.Module, features)
        self.features, d = features, features.n_features
        self.embed = nn.Sequential(nn.Linear(d, EMBEDDED), nn.ReLU(), nn.Linear(EMBEDDED, EMBEDDED))
        self.embed.to(next(network.parameters()).device)
        self.parameters = [*network.parameters(), *self.embed.parameters()]
        self.optimizer = Adam(self.parameters, lr=lr, fused=True)

    def loss(
        self, patches_BNCPP: Float[Tensor, "B N C P P"], generator: Generator, autocast: AbstractContextManager[Any]
    ) -> Float[Tensor, ""]:
        """Of two random looks at standardised patches."""
        b, n = patches_BNCPP.shape[:2]
        patches_MCPP = patches_BNCPP.flatten(0, 1)
        looks = torch.cat([random_look(patches_MCPP, generator) for _ in range(2)])
        with autocast:
            features_LD = self.features(looks)
        one_ME, other_ME = self.embed(raised(features_LD)).chunk(2)
        return contrastive_loss(one_ME, other_ME, torch.arange(b, device=looks.device).repeat_interleave(n))

    def backward(self, loss: Float[Tensor, ""]) -> list[Tensor]:
        """The gradients, in place: for the workers to average before `update`."""
        self.optimizer.zero_grad()
        autograd.backward(loss)
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def update(self) -> None:
        """One step of Adam."""
        self.optimizer.step()
