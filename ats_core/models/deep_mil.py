"""Deep MIL (Ilse et al. 2018): every patch of a grid is read, and its features alone say how much it counts."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ats_core.features import FeatureNetwork, features_of_patches
from ats_core.models.classifier import unit_classifier
from ats_core.models.protocol import Output
from ats_core.models.whole_grid import WholeGrid
from ats_core.pixels import Standardise
from ats_core.precision import full_precision
from ats_core.sampling import Draw


class FeatureAttention(nn.Module):
    """Attention logits from features: w^T tanh(V f), or gated, w^T (tanh(V f) * sigmoid(U f)) (Ilse et al., eq. 8, 9).

    V and U start at unit weights, as features have length one: torch's default makes all logits alike.
    """

    HIDDEN = 128

    def __init__(self, n_features: int, *, gated: bool = False) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_features, self.HIDDEN)
        self.gate = nn.Linear(n_features, self.HIDDEN) if gated else None
        self.logit = nn.Linear(self.HIDDEN, 1, bias=False)  # a softmax does not see a bias
        for layer in filter(None, (self.hidden, self.gate)):
            nn.init.normal_(layer.weight)

    def forward(self, f_BKD: Float[Tensor, "B K D"]) -> Float[Tensor, "B K"]:
        """Logits of every patch."""
        hidden_BKH = self.hidden(f_BKD).tanh()
        if self.gate is not None:
            hidden_BKH = hidden_BKH * self.gate(f_BKD).sigmoid()
        return cast(Tensor, self.logit(hidden_BKH)).squeeze(-1)


class DeepMIL(WholeGrid):
    """Classify F = sum_k a_k f_k over all patches of a regular grid, with the attention a taken from the features f.

    Args:
        features, standardise, view_size, patch_size, grid: as of `WholeGrid`.
        n_classes: C.
        gated: the gated form of the attention.
        chunk: patches a pass; what a pass holds is computed again for its gradient, so that memory does not grow with
            K. None keeps all of it in one pass, the plain method. Batch norm normalises over a pass.
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
        gated: bool = False,
        chunk: int | None = None,
    ) -> None:
        super().__init__(features, standardise, view_size=view_size, patch_size=patch_size, grid=grid, chunk=chunk)
        self.attention = FeatureAttention(features.n_features, gated=gated)
        self.classifier = unit_classifier(features.n_features, n_classes)

    def forward(self, views: Float[Tensor, "B C h w"], draw: Draw, patches: Float[Tensor, "B K C P P"]) -> Output:
        """Logits of the mean feature under the attention over all patches; nothing is estimated."""
        self.check_fit(draw, patches)
        f_BKD = features_of_patches(self.features, patches, self.chunk)
        with full_precision(views.device):
            a_BK = torch.softmax(self.attention(f_BKD), dim=-1)
            logits_BC = self.classifier((a_BK[..., None] * f_BKD).sum(1))
        return Output(logits_BC, a_BK.scatter(1, draw.cells, a_BK), torch.zeros_like(logits_BC))
