"""The CNN baseline: no patches, only the view, which may be as large as the image."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ats_core.backbones import Backbone
from ats_core.geometry import CellGrid
from ats_core.models.protocol import Output
from ats_core.pixels import Standardise
from ats_core.precision import full_precision, raised
from ats_core.sampling import Draw, Randomness, Sampling, no_cells


class CNN(nn.Module):
    """Classify the view alone; a larger view is the CNN at a larger scale.

    It has one cell, the whole view, and never asks for its patch.
    """

    patch_size = 1

    def __init__(
        self, backbone: Backbone, standardise: Standardise, *, n_classes: int, view_size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.view_size, self.grid = view_size, CellGrid((1, 1), (1, 1))
        self.standardise, self.backbone = standardise, backbone
        self.classifier = nn.Linear(backbone.n_features, n_classes)

    @torch.no_grad()
    def propose(
        self, views: Float[Tensor, "B C h w"], *, generator: Randomness = None, sampling: Sampling = "drawn"
    ) -> Draw:
        """No cell at all."""
        return no_cells(len(views), views.device)

    def forward(self, views: Float[Tensor, "B C h w"], draw: Draw, patches: Float[Tensor, "B 0 C 1 1"]) -> Output:
        """Logits of the view; the attention is one, at its one cell."""
        features_BD = raised(self.backbone(views))
        with full_precision(views.device):
            logits_BC = self.classifier(features_BD)
        return Output(logits_BC, logits_BC.new_ones(len(views), 1), torch.zeros_like(logits_BC))
