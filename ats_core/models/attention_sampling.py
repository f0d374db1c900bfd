"""Attention sampling, and uniform sampling as its baseline. Shape suffixes as in protocol.py."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ats_core.attention import AttentionNetwork, UniformAttention, smoothed_softmax
from ats_core.errors import RecipeError
from ats_core.estimators import ESTIMATORS
from ats_core.expectation import expectation, standard_error
from ats_core.features import FeatureNetwork, features_of_patches
from ats_core.models.classifier import unit_classifier
from ats_core.models.protocol import Output
from ats_core.passes import in_passes
from ats_core.pixels import Standardise
from ats_core.precision import full_precision
from ats_core.sampling import Draw, Randomness, Sampling, all_cells, draw, top_cells

RELEASED = "released"
"""Not an estimator but the authors' biased backward of the `sequential` one, for comparison."""


class AttentionSampling(nn.Module):
    """Attention sampling (Katharopoulos & Fleuret 2019): classify the estimated expectation of patch features."""

    def __init__(
        self,
        attention: AttentionNetwork,
        features: FeatureNetwork,
        standardise: Standardise,
        *,
        n_classes: int,
        view_size: tuple[int, int],
        patch_size: int,
        n_patches: int,
        estimator: str = "unordered",
        smoothing: float = 1e-4,
    ) -> None:
        super().__init__()
        if estimator not in (*ESTIMATORS, RELEASED):
            raise RecipeError(f"estimator {estimator!r}", "unknown", f"Choose from {[*ESTIMATORS, RELEASED]}.")
        self.view_size, self.patch_size, self.n_patches = view_size, patch_size, n_patches
        self.grid = attention.grid(view_size)
        self.estimator, self.smoothing = estimator, smoothing
        self.standardise, self.attention, self.features = standardise, attention, features
        self.classifier = unit_classifier(features.n_features, n_classes)

    def attend(self, views: Float[Tensor, "B C h w"]) -> Float[Tensor, "B K"]:
        """The attention over all cells."""
        whole = self.training or torch.is_grad_enabled()
        logits_BK = self.attention(views) if whole else in_passes(self.attention, views)
        return smoothed_softmax(logits_BK, self.smoothing)

    @torch.no_grad()
    def propose(
        self, views: Float[Tensor, "B C h w"], *, generator: Randomness = None, sampling: Sampling = "drawn"
    ) -> Draw:
        """Draw cells from the attention itself, the proposal of least variance (eq. 9); or take the top, or all."""
        return self.draw_from(self.attend(views), generator=generator, sampling=sampling)

    def draw_from(
        self, a_BK: Float[Tensor, "B K"], *, generator: Randomness = None, sampling: Sampling = "drawn"
    ) -> Draw:
        """The same, from an attention that is at hand."""
        if sampling == "exact":
            return all_cells(a_BK)
        if sampling == "topk":
            return top_cells(a_BK, self.n_patches)
        estimator = "sequential" if self.estimator == RELEASED else self.estimator
        return draw(a_BK, self.n_patches, estimator=estimator, generator=generator)

    def forward(self, views: Float[Tensor, "B C h w"], draw: Draw, patches: Float[Tensor, "B N C P P"]) -> Output:
        """Logits of the expectation of features under the attention of the present weights.

        The draw may come from other weights than the present ones: the expectation corrects for it. `released` takes a
        draw by the present ones, from which it differs in its gradient alone; without a gradient any draw will do.
        """
        a_BK = self.attend(views)
        a_BN = a_BK.gather(1, draw.cells)
        f_BND = features_of_patches(self.features, patches)
        logits_BC = self.classify(a_BN, f_BND, draw)
        with torch.no_grad(), full_precision(views.device):  # linear: logits of features are as good as features
            error_BC = standard_error(a_BN, f_BND @ self.classifier.weight.T, draw)
        return Output(logits_BC, a_BK, error_BC)

    def classify(self, a_BN: Float[Tensor, "B N"], f_BND: Float[Tensor, "B N D"], draw: Draw) -> Float[Tensor, "B C"]:
        """Logits from the attention at the drawn cells, and the features of their patches.

        Of a draw by the present weights `draw.proposal` is that attention, without its gradient.
        """
        released = self.estimator == RELEASED and torch.is_grad_enabled()
        with full_precision(f_BND.device):
            return cast(Tensor, self.classifier(expectation(a_BN, f_BND, draw, released=released)))


class Uniform(AttentionSampling):
    """The paper's U-N: the same model with an attention that knows nothing, so patches are drawn uniformly."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.attention = UniformAttention(self.grid)

    def propose(
        self, views: Float[Tensor, "B C h w"], *, generator: Randomness = None, sampling: Sampling = "drawn"
    ) -> Draw:
        """Draw cells uniformly, or take all; there is no top where all are equal: `RecipeError`."""
        if sampling == "topk":
            raise RecipeError("top cells of uniform sampling", "all cells are equal", "Choose 'drawn' or 'exact'.")
        return super().propose(views, generator=generator, sampling=sampling)
