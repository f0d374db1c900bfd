"""Models behind one protocol: propose -> (read) -> forward.

attention_sampling   draws N patches from an attention that a low-resolution view gives; and U-N, uniformly
deep_mil             reads every patch of a grid
patch_selection      reads every patch of a grid, learns from the M best
cnn                  reads none: classifies the view

protocol, whole_grid and classifier hold what several of them share.
"""

from ats_core.models.attention_sampling import RELEASED, AttentionSampling, Uniform
from ats_core.models.cnn import CNN
from ats_core.models.deep_mil import DeepMIL
from ats_core.models.patch_selection import PatchSelection
from ats_core.models.protocol import Output, PatchModel

Model = AttentionSampling | DeepMIL | PatchSelection | CNN
"""Any of them, as the module that it is."""

__all__ = [
    "CNN",
    "RELEASED",
    "AttentionSampling",
    "DeepMIL",
    "Model",
    "Output",
    "PatchModel",
    "PatchSelection",
    "Uniform",
]
