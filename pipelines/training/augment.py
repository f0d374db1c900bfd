"""Augmentation of geometry, not of megapixels.

A training image is seen in a random frame: shifted, mirrored, its colours changed. The view is put into that frame, and
centres chosen there are taken back to the image, so that only the patches are ever read; they are then oriented like
the view. Shape suffixes: B images, N patches, C channels, h and w view pixels, P patch side.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor

from ats_core.errors import GeometryError
from ats_core.geometry import crop
from ats_core.recipes import Augmentation

UP_DOWN, LEFT_RIGHT, DIAGONAL = range(3)


@dataclass(frozen=True, slots=True)
class Frame:
    """How each augmented image of a batch lies in its original: diagonal, then mirrors, then shift."""

    shift_B2: Tensor
    """int64, whole view pixels (y, x), so that view and patches move by the same amount."""
    mirror_B3: Tensor
    """bool: up-down, left-right, along the diagonal."""
    contrast_B: Tensor
    brightness_B: Tensor
    stain_B3: Tensor | None = None
    """A factor of each stain's density; None where stains stay as they are, which costs nothing."""

    @classmethod
    def draw(
        cls, augmentation: Augmentation, sizes_B2: Tensor, view_size: tuple[int, int], generator: Generator
    ) -> Self:
        """A random frame an image, from a CPU generator.

        Raises:
            GeometryError: mirroring along the diagonal is asked of an image or view that is not square.
        """
        n = len(sizes_B2)
        if augmentation.flip and not (view_size[0] == view_size[1] and (sizes_B2[:, 0] == sizes_B2[:, 1]).all()):
            remedy = "Use square images and views, or an augmentation without flip."
            raise GeometryError("augmentation with flip", "an image or the view is not square", remedy)
        shifted, coloured = torch.rand(2, n, generator=generator) < augmentation.probability
        furthest_B2 = augmentation.shift * torch.tensor(view_size) / sizes_B2
        shift_B2 = (_symmetric(n, 2, generator=generator) * furthest_B2).round().long()
        contrast_B, brightness_B = _symmetric(2, n, generator=generator) * coloured
        mirror_B3 = (torch.rand(n, 3, generator=generator) < 0.5) & augmentation.flip
        stain_B3 = None
        if augmentation.stain:
            stain_B3 = 1 + augmentation.stain * _symmetric(n, 3, generator=generator) * coloured[:, None]
        return cls(
            shift_B2=shift_B2 * shifted[:, None],
            mirror_B3=mirror_B3,
            contrast_B=1 + augmentation.contrast * contrast_B,
            brightness_B=augmentation.brightness * brightness_B,
            stain_B3=stain_B3,
        )

    @property
    def colours(self) -> dict[str, Tensor | None]:
        """The changes of colour, as `Standardise` takes them."""
        return {"stain_B3": self.stain_B3, "contrast_B": self.contrast_B, "brightness_B": self.brightness_B}

    def views(self, views_BChw: Tensor) -> Tensor:
        """Standardised views in the frame; zero, the mean colour, where the image does not reach."""
        oriented = self._orient(views_BChw, -2, -1)
        if not self.shift_B2.any():
            return oriented
        starts_B12 = -self.shift_B2[:, None].to(oriented.device)
        return crop(oriented, starts_B12, (oriented.shape[2], oriented.shape[3]))[0][:, 0]

    def centres(self, centres_BN2: Tensor, sizes_B2: Tensor, view_size: tuple[int, int], patch_size: int) -> Tensor:
        """Centres in the image, from centres chosen in the frame."""
        shift_B2 = (self.shift_B2 * sizes_B2 / torch.tensor(view_size)).round().long().to(centres_BN2.device)
        sizes_B12, mirror_B3 = sizes_B2[:, None].to(centres_BN2.device), self.mirror_B3.to(centres_BN2.device)
        centres_BN2 = centres_BN2 - shift_B2[:, None]
        # The patch [c - P // 2, c - P // 2 + P) of a side of n pixels mirrors to [n - P - c + P // 2, ...).
        mirrored_BN2 = sizes_B12 - patch_size + 2 * (patch_size // 2) - centres_BN2
        centres_BN2 = torch.where(mirror_B3[:, None, :DIAGONAL], mirrored_BN2, centres_BN2)
        return torch.where(mirror_B3[:, None, DIAGONAL, None], centres_BN2.flip(-1), centres_BN2)

    def patches(self, patches_BNPPC: Tensor, inside_BNPP: Tensor) -> tuple[Tensor, Tensor]:
        """Patches read from the image, and what of them is inside, oriented as in the frame."""
        return self._orient(patches_BNPPC, 2, 3), self._orient(inside_BNPP, 2, 3)

    def _orient(self, pixels: Tensor, y: int, x: int) -> Tensor:
        """Pixels [B, ...] with rows along the dimension `y` and columns along `x`."""
        turns = (
            (DIAGONAL, lambda p: p.transpose(y, x)),
            (UP_DOWN, lambda p: p.flip(y)),
            (LEFT_RIGHT, lambda p: p.flip(x)),
        )
        for mirror, turned in turns:
            chosen = self.mirror_B3[:, mirror].nonzero().flatten().to(pixels.device)
            if len(chosen):
                pixels = pixels.index_copy(0, chosen, turned(pixels[chosen]))
        return pixels


def _symmetric(*shape: int, generator: Generator) -> Tensor:
    return 2 * torch.rand(*shape, generator=generator) - 1
