"""Deep MIL on a large image: every patch of a regular grid, read tile by tile, a row of patches at a time."""

import time
from dataclasses import replace

import numpy as np
import torch

from ats_core.features import features_of_patches
from ats_core.models import DeepMIL
from ats_core.precision import has_bfloat16
from ats_core.recipes import SpeedLimits
from pipelines.storage.layouts import ImageRef
from pipelines.storage.patches import PatchReader


def grid_of(side: int, patch: int) -> tuple[int, int]:
    """Rows and columns of patches that cover a square image once."""
    return (round(side / patch), round(side / patch))


@torch.no_grad()
def cpu_and_wall_s(image: ImageRef, rows: int | None = None) -> tuple[float, float]:
    """What one image takes on one thread, or what it would take by the first rows of its grid."""
    torch.set_num_threads(1)
    recipe = SpeedLimits()
    grid = grid_of(image.height, recipe.patch_size)
    model = replace(recipe, model="deep_mil", mil_grid=grid).build().eval()
    assert isinstance(model, DeepMIL)
    reader, sizes = PatchReader(recipe.patch_size, threads=1), torch.tensor([(image.height, image.width)])
    features, rows = [], rows or grid[0]
    cpu, wall = time.process_time(), time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu"))):
        for row in range(rows):
            cells = torch.arange(row * grid[1], (row + 1) * grid[1])[None]
            read = reader.read([image], model.grid.centres(cells, sizes, recipe.patch_size))
            features.append(features_of_patches(model.features, model.standardise(*read)))
        f_1KD = torch.cat(features, dim=1)
        a_1K = model.attention(f_1KD).softmax(-1)
        model.classifier((a_1K[..., None] * f_1KD).sum(1))
    spent = np.array([time.process_time() - cpu, time.perf_counter() - wall]) * grid[0] / rows
    return float(spent[0]), float(spent[1])
