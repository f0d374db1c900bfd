"""How many patches an image needs: drawn on, in the order of one draw, until its margin stands clear of its error.

The margin is the difference of the two largest logits, by which the prediction would have to be wrong to change. It is
compared with its own standard error: an absolute bound spends patches on images whose margin is large anyway, and
saves nothing (docs/results.md). Shapes: B images, N drawn cells, C classes, D features.
"""

import torch
from torch import Tensor

from ats_core.expectation import standard_error
from ats_core.models import AttentionSampling
from ats_core.precision import full_precision
from ats_core.sampling import Draw


def next_size(n: int, first: int, most: int) -> int:
    """Patches to look at after n were not enough: half as many more, at least `first`, `most` in all."""
    return min(most, n + max(first, n // 2))


def unsure(logits_BC: Tensor, error_B: Tensor, until: float) -> Tensor:
    """bool [B]: whether the standard error of the margin is a larger part of the margin than `until`."""
    first_B, second_B = logits_BC.topk(2, dim=-1).values.unbind(-1)
    return error_B > until * (first_B - second_B)


@torch.no_grad()
def margin_error(model: AttentionSampling, logits_BC: Tensor, f_BND: Tensor, draw: Draw) -> Tensor:
    """Standard error [B] of the margin between the two largest logits, from the draw alone; see `standard_error`.

    The margin is linear in the features, so the estimate is that of a mean, and needs no approximation. Drawn features
    that are all alike give 0, whatever the others are.
    """
    with full_precision(f_BND.device):
        first_B, second_B = logits_BC.topk(2, dim=-1).indices.unbind(-1)
        weight_CD = model.classifier.weight
        contrast_BD1 = (weight_CD[first_B] - weight_CD[second_B])[..., None]
        return standard_error(draw.proposal, f_BND @ contrast_BD1, draw)[:, 0]
