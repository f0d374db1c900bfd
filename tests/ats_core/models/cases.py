"""Small models of every kind, over six cells of each task's nets, and the reading between their two phases."""

from dataclasses import replace

import torch
from torch import Generator, Tensor
from torch.nn import functional

from ats_core.geometry import extract_patches
from ats_core.models import Model, Output
from ats_core.recipes import ColonCancer, MegapixelMNIST, Recipe, SpeedLimits
from ats_core.sampling import Draw

CLASSES = ("none", "one", "two")
TINY = {"classes": CLASSES, "mil_grid": (2, 3), "n_patches": 2}
SMALL: dict[str, Recipe] = {
    "speed_limits": replace(SpeedLimits(), view_size=(24, 32), patch_size=16, **TINY),
    "colon_cancer": replace(ColonCancer(), view_size=(2, 3), patch_size=11, **TINY),
    "megapixel_mnist": replace(MegapixelMNIST(), view_size=(2, 3), patch_size=13, mean=(0.5,), std=(0.25,), **TINY),
}
IMAGE_SIZE = (60, 90)


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def build(recipe: Recipe) -> Model:
    torch.manual_seed(0)
    model = recipe.build().double().eval()  # in training mode features depend on the other patches of the batch
    if hasattr(model, "attention"):
        for name, parameter in model.attention.named_parameters():
            if name.endswith("weight"):
                parameter.data *= 3  # attention that prefers some cells
    return model


def some_images(model: Model, b: int = 3) -> Tensor:
    """Noise [B, C, H, W] of 8 bit."""
    shape = (b, len(model.standardise.mean), *IMAGE_SIZE)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(7))


def see(model: Model, images: Tensor) -> Tensor:
    """The views that the model standardises."""
    views = functional.adaptive_avg_pool2d(images.float(), model.view_size).round().byte()
    return model.standardise(views.movedim(1, -1))


def read(model: Model, images: Tensor, cells: Tensor) -> Tensor:
    """The standardised patches [B, N, C, P, P] of cells [B, N]."""
    sizes = torch.tensor([images.shape[2:]]).expand(len(images), 2)
    centres = model.grid.centres(cells, sizes, model.patch_size)
    patches, inside = extract_patches(images, centres, model.patch_size)
    return model.standardise(patches.movedim(2, -1), inside)


def classify(model: Model, images: Tensor, drawn: Draw) -> Output:
    return model(see(model, images), drawn, read(model, images, drawn.cells))


def propose_and_classify(model: Model, images: Tensor) -> Output:
    return classify(model, images, model.propose(see(model, images), generator=seeded(0)))


def gradients(model: Model, value: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, parameters), strict=True))
