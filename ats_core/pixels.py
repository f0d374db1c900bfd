"""From stored bytes to network input: the same few operations for views and for patches."""

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from ats_core.precision import full_precision

STAINS = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))
"""Optical densities of red, green and blue of haematoxylin, eosin and DAB (Ruifrok & Johnston 2001)."""


class Standardise(nn.Module):
    """Standardise pixels per channel; what lies outside of the image becomes zero, the mean colour.

    Its buffers travel with the model, so that training and scoring cannot disagree. Unstandardised input does not
    learn at all on the colon task at a learning rate of 1e-3.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(
        self,
        pixels: UInt8[Tensor, "B *N H W S"],
        inside: Bool[Tensor, "B *N H W"] | None = None,
        *,
        stain_B3: Float[Tensor, "B 3"] | None = None,
        contrast_B: Float[Tensor, " B"] | None = None,
        brightness_B: Float[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B *N C H W"]:
        """Network input from 8-bit pixels I in [0, 1]: ((contrast I + brightness) - mean) / std, zero outside.

        Colours change in the order of the arguments; each change is an image's, the same for its view and its patches.

        Args:
            pixels: 8-bit, S stored channels last, all of which are the model's C, but that a model of one channel
                takes the first; moved to the device of the model here, as bytes.
            inside: which pixels lie inside of the image; all of them when None.
            stain_B3: a factor of the density of each of `STAINS`, for images of three channels.
            contrast_B: a factor of I.
            brightness_B: an offset of I, in units of the full range.
        """
        if len(self.mean) == 1:  # grey images may be stored as three equal channels
            pixels = pixels[..., :1]
        values = pixels.to(self.mean.device).to(self.mean.dtype) / 255
        per_image = (-1,) + (1,) * (values.ndim - 1)
        if stain_B3 is not None:
            values = restain(values, stain_B3.to(values))
        if contrast_B is not None:
            values = values * contrast_B.to(values).view(per_image)
        if brightness_B is not None:
            values = values + brightness_B.to(values).view(per_image)
        values = (values - self.mean) / self.std
        if inside is not None:
            values = values.masked_fill(~inside.to(values.device)[..., None], 0)
        return values.movedim(-1, -3)


def restain(values: Float[Tensor, "B *N 3"], factor_B3: Float[Tensor, "B 3"]) -> Float[Tensor, "B *N 3"]:
    """Intensities in [0, 1] of a slide whose `STAINS` were so many times as dense: -log I is linear in them."""
    stains_33 = torch.tensor(STAINS, dtype=values.dtype, device=values.device)
    densities = -values.clamp_min(1 / 255).log()  # of black, as dense as 8 bits tell
    with full_precision(values.device):  # bfloat16 would move colours by a grey level
        change_B33 = torch.linalg.inv(stains_33) @ (factor_B3[:, :, None] * stains_33)
        return torch.exp(-(densities.flatten(1, -2) @ change_B33).view_as(values))
