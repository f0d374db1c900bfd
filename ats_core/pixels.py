"""From stored bytes to network input: the same few operations for views and for patches."""

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn


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
        contrast_B: Float[Tensor, " B"] | None = None,
        brightness_B: Float[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B *N C H W"]:
        """Network input from 8-bit pixels I in [0, 1]: ((contrast I + brightness) - mean) / std, zero outside.

        Args:
            pixels: 8-bit, S stored channels last, all of which are the model's C, but that a model of one channel
                takes the first; moved to the device of the model here, as bytes.
            inside: which pixels lie inside of the image; all of them when None.
            contrast_B: a factor an image, the same for its view and its patches.
            brightness_B: an offset an image, in units of the full range.
        """
        if len(self.mean) == 1:  # grey images may be stored as three equal channels
            pixels = pixels[..., :1]
        values = pixels.to(self.mean.device).to(self.mean.dtype) / 255
        per_image = (-1,) + (1,) * (values.ndim - 1)
        if contrast_B is not None:
            values = values * contrast_B.to(values).view(per_image)
        if brightness_B is not None:
            values = values + brightness_B.to(values).view(per_image)
        values = (values - self.mean) / self.std
        if inside is not None:
            values = values.masked_fill(~inside.to(values.device)[..., None], 0)
        return values.movedim(-1, -3)
