"""What the two steps with networks share."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ats_core.precision import has_bfloat16
from pipelines.scoring.model import Scorer
from pipelines.scoring.stages.block import Row, centres, reference
from pipelines.storage.patches import inside_of


class Networks:
    """A process that holds the model."""

    def __init__(self, scorer: Scorer) -> None:
        torch.set_num_threads(1)
        self.scorer, self.model = scorer, scorer.load()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)
        bfloat16 = has_bfloat16(self.device) if scorer.precision == "auto" else scorer.precision == "bfloat16"
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16)

    def views(self, rows: Sequence[Row]) -> Tensor:
        """The views [B, C, h, w] of rows, as the model takes them."""
        shape = (*self.model.view_size, -1)
        views = np.stack([np.frombuffer(row["view"], np.uint8).reshape(shape) for row in rows])
        return self.model.standardise(torch.from_numpy(views))

    def patches(self, read: Sequence[np.ndarray], rows: Sequence[Row], first: int = 0) -> Tensor:
        """Patches [B, n, C, P, P], as the model takes them, of the cells from the first on."""
        pixels, side = np.stack(read), self.model.patch_size
        last = first + pixels.shape[1]
        inside = np.stack([inside_of(reference(row), centres(row)[first:last], side) for row in rows])
        return self.model.standardise(torch.from_numpy(pixels), torch.from_numpy(inside))


def half(a_K: Tensor) -> bytes:
    """An attention map as the bytes of float16."""
    return a_K.cpu().numpy().astype(np.float16).tobytes()
