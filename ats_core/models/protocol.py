"""The two-phase protocol of every model: say which patches are wanted, then classify them.

Reading lies between the phases, so one loop trains every model, and its patches can come from anywhere. Shape suffixes
of all models: B images, K cells, N drawn cells, C channels or classes, P patch side, D features.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ats_core.geometry import CellGrid
from ats_core.pixels import Standardise
from ats_core.sampling import Draw, Randomness, Sampling


@dataclass(frozen=True, slots=True)
class Output:
    """What a model says of a batch."""

    logits: Float[Tensor, "B C"]
    """Class logits."""
    attention: Float[Tensor, "B K"]
    """The distribution over all cells, with gradient."""
    standard_error: Float[Tensor, "B C"]
    """Standard error of each logit from the draw alone, without gradient; infinite when one draw cannot tell it."""


@runtime_checkable
class PatchModel(Protocol):
    """What training and scoring ask of every model and baseline."""

    view_size: tuple[int, int]
    patch_size: int
    grid: CellGrid
    standardise: Standardise

    def propose(self, views: Tensor, *, generator: Randomness = None, sampling: Sampling = "drawn") -> Draw:
        """Which cells to read, for standardised views [B, C, h, w]; no gradient.

        A model that always reads the same cells has one answer, whatever `sampling` is.
        """
        ...

    def forward(self, views: Tensor, draw: Draw, patches: Tensor) -> Output:
        """Classify from standardised views and the patches [B, N, C, P, P] of the drawn cells."""
        ...
