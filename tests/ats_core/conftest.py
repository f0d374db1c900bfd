"""Exact enumeration: what every estimator of `ats_core` is judged by."""

from collections.abc import Callable
from itertools import permutations, product

import pytest
import torch
from torch import Tensor

from ats_core.estimators import ESTIMATORS
from ats_core.sampling import Draw

EveryDraw = Callable[[Tensor, int, str], tuple[Draw, Tensor]]


@pytest.fixture
def every_draw() -> EveryDraw:
    """(q_K, n, estimator) -> all M ordered draws as one `Draw` of M rows, and their probabilities [M]."""
    return _every_draw


def _every_draw(q_K: Tensor, n: int, estimator: str) -> tuple[Draw, Tensor]:
    rule = ESTIMATORS[estimator]
    possible = q_K.nonzero().flatten().tolist()
    orders = product(possible, repeat=n) if rule.replacement else permutations(possible, n)
    cells_MN = torch.tensor(list(orders))
    q_MN = q_K[cells_MN]
    taken_MNK = torch.nn.functional.one_hot(cells_MN, len(q_K)).cumsum(1).clamp(max=1)
    left_MN = ((1 - taken_MNK) * q_K).sum(-1)  # after each draw, summed over the cells themselves
    chances_MN = q_MN.clone()
    if not rule.replacement:
        chances_MN[:, 1:] /= left_MN[:, :-1]
    weights_MN = rule.weights(q_MN, left_MN[:, -1])
    return Draw(cells_MN, q_MN, weights_MN, estimator, left_MN[:, -1]), chances_MN.prod(-1)
