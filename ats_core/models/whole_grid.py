"""What the models that read every patch of a grid have in common. Shape suffixes as in protocol.py."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ats_core.errors import DrawError
from ats_core.features import FeatureNetwork
from ats_core.geometry import CellGrid
from ats_core.pixels import Standardise
from ats_core.sampling import Draw, Randomness, Sampling, all_cells


class WholeGrid(nn.Module):
    """A model whose patches are those of a regular grid, evenly spread over the image, whatever it shows.

    Args:
        features: the network of every patch.
        standardise: of views and patches.
        view_size: of the views that it is handed, and does not look at.
        patch_size: P.
        grid: rows and columns of patches, K in all.
        chunk: patches a pass; what None means is the model's own.
    """

    def __init__(
        self,
        features: FeatureNetwork,
        standardise: Standardise,
        *,
        view_size: tuple[int, int],
        patch_size: int,
        grid: tuple[int, int],
        chunk: int | None,
    ) -> None:
        super().__init__()
        self.view_size, self.patch_size, self.chunk = view_size, patch_size, chunk
        self.grid = CellGrid(grid, grid)
        self.standardise, self.features = standardise, features

    @torch.no_grad()
    def propose(
        self, views: Float[Tensor, "B C h w"], *, generator: Randomness = None, sampling: Sampling = "drawn"
    ) -> Draw:
        """Every cell, in order."""
        n_cells = self.grid.n_cells
        return all_cells(views.new_full((len(views), n_cells), 1 / n_cells))

    def check_fit(self, draw: Draw, patches: Float[Tensor, "B K C P P"]) -> None:
        """DrawError unless there is a patch of every cell."""
        if not draw.cells.shape == patches.shape[:2] == (len(patches), self.grid.n_cells):
            reason = f"patches are {tuple(patches.shape[:2])}, of a grid of {self.grid.n_cells}"
            raise DrawError(f"draw of shape {tuple(draw.cells.shape)}", reason, "Pass every patch that `propose` asks.")
