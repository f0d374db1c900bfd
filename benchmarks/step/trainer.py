"""A model, its optimiser and random images in main memory: one step of training.

Shape suffixes: B images, I distinct ones, N drawn cells, C channels, P patch side.
"""

from typing import Self

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor, nn
from torch.optim import Adam, Optimizer

from ats_core.geometry import extract_patches
from ats_core.losses import attention_loss
from ats_core.sampling import Draw
from benchmarks.step.cases import Case

DISTINCT = 64
"""Images; a larger batch finds its patches in these. They are more than a cache holds."""


class Pixels:
    """Random 8-bit pixels of a batch in main memory: views, full images, and labels."""

    def __init__(self, case: Case, batch: int) -> None:
        recipe, g = case.recipe, Generator().manual_seed(0)

        def random(n: int, size: tuple[int, int]) -> UInt8[Tensor, "n H W C"]:
            return torch.randint(256, (n, *size, recipe.channels), dtype=torch.uint8, generator=g)

        self.views_BhwC = random(batch, recipe.view_size)
        self.images_IHWC = random(min(batch, DISTINCT), case.image_size)
        self.sizes_B2 = torch.tensor([case.image_size]).expand(batch, 2)
        self.labels_B = torch.randint(len(recipe.classes), (batch,), generator=g)

    def to(self, device: torch.device) -> Self:
        """Views and images lie there from now on."""
        self.views_BhwC, self.images_IHWC = self.views_BhwC.to(device), self.images_IHWC.to(device)
        return self


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
        """One update of all weights, the paper's order."""
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
        with self.autocast():
            output = self.model(views, draw, patches)
        loss = attention_loss(output, self.labels_B, entropy_weight=self.recipe.entropy_weight)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
