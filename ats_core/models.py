"""Models behind one two-phase protocol: say which patches are wanted, then classify them.

Reading lies between the phases, so one loop trains every model, and its patches can come from anywhere. Shape suffixes:
B images, K cells, N drawn cells, C channels or classes, P patch side, D features.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from ats_core.attention import AttentionNetwork, UniformAttention, smoothed_softmax
from ats_core.errors import RecipeError
from ats_core.estimators import ESTIMATORS
from ats_core.expectation import expectation, standard_error
from ats_core.features import FeatureNetwork, features_of_patches
from ats_core.geometry import CellGrid
from ats_core.pixels import Standardise
from ats_core.sampling import Draw, draw

RELEASED = "released"
"""Not an estimator but the authors' biased backward of the `sequential` one, for comparison."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a model says of a batch."""

    logits: Float[Tensor, "B C"]
    """Class logits."""
    attention: Float[Tensor, "B K"]
    """The distribution over all cells, with gradient."""
    standard_error: Float[Tensor, "B C"]
    """Standard error of each logit from the draw alone, without gradient; infinite when one cell was drawn."""


@runtime_checkable
class PatchModel(Protocol):
    """What training and scoring ask of every model and baseline."""

    view_size: tuple[int, int]
    patch_size: int
    grid: CellGrid
    standardise: Standardise

    def propose(self, views: Tensor, *, generator: Generator | None = None) -> Draw:
        """Which cells to read, for standardised views [B, C, h, w]; no gradient."""
        ...

    def forward(self, views: Tensor, draw: Draw, patches: Tensor) -> Output:
        """Classify from standardised views and the patches [B, N, C, P, P] of the drawn cells."""
        ...


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
        self.classifier = nn.Linear(features.n_features, n_classes)
        # Features have length one, so unit weights make logits of order one. torch's default makes them a tenth of
        # that, and the first updates go into growing the weights before any feature is learned.
        nn.init.normal_(self.classifier.weight)

    def attend(self, views: Float[Tensor, "B C h w"]) -> Float[Tensor, "B K"]:
        """The attention over all cells."""
        return smoothed_softmax(self.attention(views), self.smoothing)

    @torch.no_grad()
    def propose(self, views: Float[Tensor, "B C h w"], *, generator: Generator | None = None) -> Draw:
        """Draw cells from the attention itself, the proposal of least variance (eq. 9)."""
        estimator = "sequential" if self.estimator == RELEASED else self.estimator
        return draw(self.attend(views), self.n_patches, estimator=estimator, generator=generator)

    def forward(self, views: Float[Tensor, "B C h w"], draw: Draw, patches: Float[Tensor, "B N C P P"]) -> Output:
        """Logits of the expectation of features under the attention of the present weights.

        The draw may come from other weights than the present ones: the expectation corrects for it.
        """
        a_BK = self.attend(views)
        a_BN = a_BK.gather(1, draw.cells)
        f_BND = features_of_patches(self.features, patches)
        expected_BD = expectation(a_BN, f_BND, draw, released=self.estimator == RELEASED)
        with torch.no_grad():  # the classifier is linear: logits of features are as good as features
            error_BC = standard_error(a_BN, f_BND @ self.classifier.weight.T, draw)
        return Output(self.classifier(expected_BD), a_BK, error_BC)


class Uniform(AttentionSampling):
    """The paper's U-N: the same model with an attention that knows nothing, so patches are drawn uniformly."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.attention = UniformAttention(self.grid)


MODELS = {"ats": AttentionSampling, "uniform": Uniform}
