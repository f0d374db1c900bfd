"""What the two steps with networks share."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ats_core.precision import has_bfloat16
from pipelines.scoring.model import Scorer
from pipelines.scoring.stages.block import Row, centres, reference
from pipelines.storage.patches import inside_of

Device = Literal["cpu", "cuda"]


class Networks:
    """A process that holds the model.

    Args:
        scorer: the model.
        device: where it runs. Ray hides no GPU from a process that has reserved none, so it is not looked for.
        at_once: images that go through it together.
        keep_attention: whether the attention over all cells is wanted.
    """

    def __init__(self, scorer: Scorer, *, device: Device, at_once: int, keep_attention: bool) -> None:
        torch.set_num_threads(1)
        self.scorer, self.model = scorer, scorer.load()
        self.device, self.at_once, self.keep_attention = torch.device(device), at_once, keep_attention
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
