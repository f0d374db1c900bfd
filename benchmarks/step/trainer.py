"""A model, its optimiser and random images, in main memory or on an accelerator: one step of training.

Shape suffixes: B images, I distinct ones, N drawn cells, C channels, P patch side.
"""

from functools import lru_cache

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor
from torch.optim import Adam, Optimizer

from ats_core.geometry import extract_patches
from ats_core.sampling import Draw
from ats_core.step import train_step
from benchmarks.step.cases import Case

CPU = torch.device("cpu")
DISTINCT = 64
"""Images that batches rotate over; a larger batch finds its patches in these. They are more than a cache holds."""


class Pixels:
    """Random 8-bit pixels: views and labels in main memory, full images there or on an accelerator.

    Args:
        case: gives the sizes.
        batch: a power of two.
        home: where the full images lie.
        distinct: how many of them there are, a power of two.
    """

    def __init__(self, case: Case, batch: int, home: torch.device = CPU, distinct: int = DISTINCT) -> None:
        recipe, self.batch = case.recipe, batch
        self._n_views = max(batch, distinct)
        self._views_VhwC = _random(self._n_views, recipe.view_size, recipe.channels, CPU)
        self._images_IHWC = _random(distinct, case.image_size, recipe.channels, home)
        self.sizes_B2 = torch.tensor([case.image_size]).expand(batch, 2)
        self.labels_B = torch.randint(len(recipe.classes), (batch,), generator=Generator().manual_seed(0))
        self._start = 0

    @property
    def views_BhwC(self) -> UInt8[Tensor, "B h w C"]:
        """Of the present batch."""
        return self._views_VhwC.narrow(0, self._start % self._n_views, self.batch)

    @property
    def images_IHWC(self) -> UInt8[Tensor, "I H W C"]:
        """Of the present batch: one each, or as many as there are."""
        distinct = len(self._images_IHWC)
        return self._images_IHWC.narrow(0, self._start % distinct, min(self.batch, distinct))

    def rotate(self) -> None:
        """The next batch: one and the same would be read from a cache."""
        self._start += self.batch


@lru_cache(maxsize=4)  # the models of a task share them
def _random(n: int, size: tuple[int, int], channels: int, device: torch.device) -> UInt8[Tensor, "n H W C"]:
    generator = Generator(device).manual_seed(0)
    return torch.randint(256, (n, *size, channels), dtype=torch.uint8, generator=generator, device=device)


class Trainer:
    """What the training loop does with a batch, set up as it: reading patches, forward, backward, update."""

    def __init__(self, case: Case, pixels: Pixels, device: torch.device) -> None:
        torch.manual_seed(0)
        self.recipe, self.pixels, self.device = case.recipe, pixels, device
        self.model = self.recipe.build().to(device, memory_format=torch.channels_last).train()
        self.optimizer: Optimizer = Adam(self.model.parameters(), lr=self.recipe.lr, fused=True)
        self.bfloat16 = case.bfloat16
        self.labels_B = pixels.labels_B.to(device)
        self.generator = Generator(device).manual_seed(0)

    @property
    def batch(self) -> int:
        """B."""
        return len(self.labels_B)

    def autocast(self) -> torch.autocast:
        """What the networks run in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def step(self) -> None:
        """One update of all weights from the next batch, the paper's order."""
        self.pixels.rotate()
        views = self.see()
        draw = self.propose(views)
        self.update(views, draw, self.read(draw))

    def see(self) -> Float[Tensor, "B C h w"]:
        """The views: moved as bytes, standardised on the device."""
        return self.model.standardise(self.pixels.views_BhwC)

    def propose(self, views: Float[Tensor, "B C h w"]) -> Draw:
        """The cells to read."""
        with self.autocast():
            return self.model.propose(views, generator=self.generator)

    def read(self, draw: Draw) -> Float[Tensor, "B N C P P"]:
        """Patches cut from the images where these lie, moved as bytes, standardised on the device.

        Patches that hold as much as their image, as those of a grid do, are cut on the device: it is moved instead.
        """
        model, images_IHWC = self.model, self.pixels.images_IHWC
        n, (height, width) = draw.cells.shape[1], images_IHWC.shape[1:3]
        if n * model.patch_size**2 >= height * width:
            images_IHWC = images_IHWC.to(self.device)
        cells_BN = draw.cells.to(images_IHWC.device)
        centres_BN2 = model.grid.centres(cells_BN, self.pixels.sizes_B2.to(cells_BN.device), model.patch_size)
        centres_IM2 = centres_BN2.reshape(len(images_IHWC), self.batch * n // len(images_IHWC), 2)
        patches_IMCPP, inside_IMPP = extract_patches(images_IHWC.movedim(-1, 1), centres_IM2, model.patch_size)
        patches_IMPPC = patches_IMCPP.movedim(2, -1)
        patches_BNPPC = patches_IMPPC.reshape(self.batch, n, *patches_IMPPC.shape[2:])
        return model.standardise(patches_BNPPC, inside_IMPP.reshape(patches_BNPPC.shape[:-1]))

    def update(self, views: Float[Tensor, "B C h w"], draw: Draw, patches: Float[Tensor, "B N C P P"]) -> None:
        """Forward, backward, update."""
        train_step(
            self.model,
            self.optimizer,
            views,
            draw,
            patches,
            self.labels_B,
            entropy_weight=self.recipe.entropy_weight,
            clip_norm=self.recipe.clip_norm,
            autocast=self.autocast(),
        )
