"""Deep MIL on a large image: every patch of a regular grid, read tile by tile, a row of patches at a time."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from ats_core.features import features_of_patches
from ats_core.models import DeepMIL
from ats_core.precision import has_bfloat16
from ats_core.recipes import SpeedLimits
from pipelines.storage.layouts import ImageRef
from pipelines.storage.patches import PatchReader


def rows_of_grid(side: int) -> int:
    """Rows, and columns, of patches that cover a square image once."""
    return round(side / SpeedLimits().patch_size)


class WholeGrid:
    """Reads the first rows of the grid of square images, and does with them what it would do with all."""

    def __init__(self, side: int, rows: int) -> None:
        recipe, columns = SpeedLimits(), rows_of_grid(side)
        model = replace(recipe, model="deep_mil", mil_grid=(columns, columns)).build().eval()
        assert isinstance(model, DeepMIL)
        self.model, self.patch_size, self.shape = model, recipe.patch_size, (rows, columns)
        self.reader = PatchReader(recipe.patch_size, threads=1)
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu")))

    @torch.no_grad()
    def __call__(self, images: Sequence[ImageRef]) -> dict[str, list[float]]:
        """Nothing: of a part of a grid there is nothing to say."""
        rows, columns = self.shape
        with self.autocast:
            for image in images:
                features = [self._row(image, torch.arange(columns) + row * columns) for row in range(rows)]
                f_1KD = torch.cat(features, dim=1)
                a_1K = self.model.attention(f_1KD).softmax(-1)
                self.model.classifier((a_1K[..., None] * f_1KD).sum(1))
        return {}

    def _row(self, image: ImageRef, cells_K: torch.Tensor) -> torch.Tensor:
        sizes = torch.tensor([(image.height, image.width)])
        read = self.reader.read([image], self.model.grid.centres(cells_K[None], sizes, self.patch_size))
        return features_of_patches(self.model.features, self.model.standardise(*read))
