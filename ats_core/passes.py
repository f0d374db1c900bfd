"""Passes of a network over no more pixels than are fast at once."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

ON_CPU = 2**17
"""Pixels: 32 channels of them in float32 are 17 MB. glibc maps blocks of 32 MB and more anew each time, and the kernel
clears their pages, which takes up to as long as the arithmetic."""
ELSEWHERE = 2**20


def in_passes(network: Callable[[Tensor], Tensor], inputs_MCHW: Tensor, size: int | None = None) -> Tensor:
    """What a network says of M images or patches, `size` of them a pass; by default as many as are fast, at least one.

    For networks whose answer on an image does not depend on the others: batch norm in training normalises over a pass.
    """
    pixels = ON_CPU if inputs_MCHW.device.type == "cpu" else ELSEWHERE
    size = size or max(1, pixels // math.prod(inputs_MCHW.shape[-2:]))
    return torch.cat([network(some_MCHW) for some_MCHW in torch.split(inputs_MCHW, size)])
