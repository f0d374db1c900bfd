"""Iterative Patch Selection (Bergner et al. 2023): every patch of a grid is looked at, a few are learned from."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ats_core.errors import RecipeError
from ats_core.features import FeatureNetwork, features_of_patches
from ats_core.models.protocol import Output
from ats_core.models.whole_grid import WholeGrid
from ats_core.pixels import Standardise
from ats_core.precision import full_precision
from ats_core.sampling import Draw


class CrossAttentionPooling(nn.Module):
    """One learnable query looks at a set of features: multi-head attention, then a small MLP, each with a residual.

    Attention itself has no dropout, as it is an output. What it sees has entries of order one, so that a first step of
    Adam adds about its rate times D to what a layer gives, in one layer after another: at 1e-3 and 512 features the
    margin of all images moves by some 14, and the features did not recover. At 1e-4 it learns.
    """

    HEADS, DROPOUT = 8, 0.1

    def __init__(self, n_features: int) -> None:
        super().__init__()
        if n_features % self.HEADS:
            reason = f"{self.HEADS} heads of attention cannot share them"
            raise RecipeError(f"{n_features} features", reason, f"Use a network with a multiple of {self.HEADS}.")
        small = math.sqrt(self.HEADS / n_features)  # a query of order one drowns what it sees, and learning stalls
        self.query = nn.Parameter(torch.empty(n_features).uniform_(-small, small))
        self.attention = nn.MultiheadAttention(n_features, self.HEADS, bias=False, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(n_features, 4 * n_features),
            nn.ReLU(),
            nn.Linear(4 * n_features, n_features),
            nn.Dropout(self.DROPOUT),
        )
        self.dropout = nn.Dropout(self.DROPOUT)
        self.norm1, self.norm2 = nn.LayerNorm(n_features), nn.LayerNorm(n_features)

    def forward(self, f_BND: Float[Tensor, "B N D"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B N"]]:
        """The pooled features, and the attention that each patch got, the mean over the heads."""
        x_BND = f_BND * math.sqrt(f_BND.shape[-1])  # features of length one: entries of order one
        query_B1D = self.query.expand(len(f_BND), 1, -1)
        seen_B1D, a_B1N = self.attention(query_B1D, x_BND, x_BND)
        pooled_BD = self.norm1(self.query + self.dropout(seen_B1D.squeeze(1)))
        return self.norm2(pooled_BD + self.mlp(pooled_BD)), a_B1N.squeeze(1)


class PatchSelection(WholeGrid):
    """Keep the M patches of a grid that the pooling attends to most, without gradient; then pool and learn from these.

    The paper carries a buffer of the best M through the patches, each time compared with the next I. Here the features
    of all patches are kept, which are small beside the patches, and compared at once: the paper's choice for the
    largest I, that depends neither on the order nor on `chunk`. There is no encoding of positions.

    Args:
        features, standardise, view_size, patch_size, grid: as of `WholeGrid`.
        n_classes: C.
        n_patches: M.
        chunk: patches a pass of the selection; None for passes as large as is fast.
    """

    def __init__(
        self,
        features: FeatureNetwork,
        standardise: Standardise,
        *,
        n_classes: int,
        view_size: tuple[int, int],
        patch_size: int,
        grid: tuple[int, int],
        n_patches: int,
        chunk: int | None = None,
    ) -> None:
        super().__init__(features, standardise, view_size=view_size, patch_size=patch_size, grid=grid, chunk=chunk)
        self.n_patches = n_patches
        if not 1 <= n_patches <= self.grid.n_cells:
            reason = f"the grid has {self.grid.n_cells}"
            raise RecipeError(f"selection of {n_patches} patches", reason, "Keep at least one, and at most all.")
        self.pooling = CrossAttentionPooling(features.n_features)
        self.classifier = nn.Linear(features.n_features, n_classes)

    @torch.no_grad()
    def select(self, patches: Float[Tensor, "B K C P P"]) -> Int64[Tensor, "B M"]:
        """The M patches of largest attention over all K, in evaluation mode."""
        with _evaluating(self):
            f_BKD = features_of_patches(self.features, patches, self.chunk)
            with full_precision(patches.device):
                _, a_BK = self.pooling(f_BKD)
        return torch.topk(a_BK, self.n_patches, dim=-1).indices

    def forward(self, views: Float[Tensor, "B C h w"], draw: Draw, patches: Float[Tensor, "B K C P P"]) -> Output:
        """Logits of the selected patches; the attention is zero elsewhere, and nothing is estimated."""
        self.check_fit(draw, patches)
        chosen_BM = self.select(patches)
        kept_BMCPP = patches[torch.arange(len(patches), device=patches.device)[:, None], chosen_BM]
        f_BMD = features_of_patches(self.features, kept_BMCPP)
        with full_precision(views.device):
            pooled_BD, a_BM = self.pooling(f_BMD)
            logits_BC = self.classifier(pooled_BD)
        a_BK = a_BM.new_zeros(draw.cells.shape).scatter(1, draw.cells.gather(1, chosen_BM), a_BM)
        return Output(logits_BC, a_BK, torch.zeros_like(logits_BC))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and each part's own mode after it."""
    trained = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in trained:
            part.training = True
