"""From a proposal over cells to drawn cells and their weights.

B images, K cells, N drawn. Masses are float64 whatever the proposal is: once a few cells hold all but 1e-7 of the mass,
float32 no longer knows what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ats_core.errors import DrawError, ProposalError
from ats_core.estimators import ESTIMATORS, Estimator

Sampling = Literal["drawn", "topk", "exact"]
"""Which cells a model reads: N drawn from its attention; the N of largest attention; all, and so no sampling."""

TOP = "topk"
"""Not an estimator but a biased choice: `Draw.estimator` of the cells of largest mass."""

Randomness = torch.Generator | Sequence[torch.Generator] | None
"""Where chance comes from: one generator of a batch, or one an image; torch's global one when None."""

SUM_TOLERANCE = 1e-4  # a float32 softmax over 10,000 cells is within 1e-5 of one; anything normalised is


@dataclass(frozen=True, slots=True)
class Draw:
    """Drawn cells and their weights: E[ sum_k weights_k h(cells_k) ] = sum_i q_i h(i). Holds no gradient."""

    cells: Int64[Tensor, "B N"]
    """Drawn cells, in draw order."""
    proposal: Float64[Tensor, "B N"]
    """The proposal q at the drawn cells."""
    weights: Float64[Tensor, "B N"]
    """The estimator's weights."""
    estimator: str
    """Name in `ESTIMATORS`, or `TOP`, whose weights are not unbiased."""
    undrawn: Float64[Tensor, " B"]
    """Mass of the cells that were not drawn."""

    def to(self, device: torch.device | str) -> "Draw":
        """The same draw on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("cells", "proposal", "weights", "undrawn")}
        return replace(self, **moved)

    def prefix(self, n: int) -> "Draw":
        """The first `n` cells of what `draw` gave: a draw of `n` cells, weighed as one.

        So N may be chosen after the fact, or grow. It stays unbiased as long as features do not decide on it.
        """
        if not 1 <= n <= self.cells.shape[1]:
            reason = f"the draw has {self.cells.shape[1]}"
            raise DrawError(f"prefix of {n} cells", reason, "Take at least one, and at most all.")
        rule, q_BN = _rule(self.estimator), self.proposal[:, :n]
        again_BNN = (self.cells[:, :, None] == self.cells[:, None, :]).tril(-1)  # with replacement
        left_out_B = self.proposal.masked_fill(again_BNN.any(-1), 0.0)[:, n:].sum(-1)
        undrawn_B = self.undrawn + left_out_B
        return Draw(self.cells[:, :n], q_BN, rule.weights(q_BN, undrawn_B), self.estimator, undrawn_B)


def draw(q_BK: Tensor, n: int, estimator: str = "unordered", generator: Randomness = None) -> Draw:
    """Draw `n` cells an image from the proposal `q_BK` [B, K], float32 or float64, and weigh them.

    `generator` lives on the proposal's device. With one an image, what is drawn of it does not depend on the others of
    the batch. Raises `ProposalError` for rows that are no distribution, `DrawError` for an unknown estimator or an `n`
    that cannot be drawn.
    """
    q_BK, rule = _normalised(q_BK), _rule(estimator)
    _check_size(q_BK, n, rule)
    cells_BN = (_with_replacement if rule.replacement else _in_sequence)(q_BK, n, generator)
    q_BN, undrawn_B = _masses(q_BK, cells_BN)
    return Draw(cells_BN, q_BN, rule.weights(q_BN, undrawn_B), estimator, undrawn_B)


def all_cells(q_BK: Tensor) -> Draw:
    """Every cell, in order, weighed by its own mass: what `draw` of all K cells by `unordered` gives, unshuffled."""
    q_BK = _normalised(q_BK)
    _check_size(q_BK, q_BK.shape[1], ESTIMATORS["unordered"])
    cells_BK = torch.arange(q_BK.shape[1], device=q_BK.device).repeat(len(q_BK), 1)
    return Draw(cells_BK, q_BK, q_BK, "unordered", q_BK.new_zeros(len(q_BK)))


def top_cells(q_BK: Tensor, n: int) -> Draw:
    """The `n` cells of largest mass, weighed by their shares of it: no chance, but a bias of unknown size."""
    q_BK = _normalised(q_BK)
    _check_size(q_BK, n, ESTIMATORS["unordered"])
    cells_BN = q_BK.topk(n, dim=-1).indices
    q_BN, undrawn_B = _masses(q_BK, cells_BN)
    return Draw(cells_BN, q_BN, q_BN / q_BN.sum(-1, keepdim=True), TOP, undrawn_B)


def no_cells(b: int, device: torch.device | str = "cpu") -> Draw:
    """The draw of a model that reads nothing: N is 0 for each of `b` images."""
    masses_B0 = torch.empty(b, 0, dtype=torch.float64, device=device)
    return Draw(masses_B0.long(), masses_B0, masses_B0, "unordered", masses_B0.new_ones(b))


def _masses(
    q_BK: Float64[Tensor, "B K"], cells_BN: Int64[Tensor, "B N"]
) -> tuple[Float64[Tensor, "B N"], Float64[Tensor, " B"]]:
    """Masses of the drawn cells, and of all others."""
    return q_BK.gather(1, cells_BN), q_BK.scatter(1, cells_BN, 0.0).sum(-1)


def _in_sequence(q_BK: Float64[Tensor, "B K"], n: int, generator: Randomness) -> Int64[Tensor, "B {n}"]:
    """Draw without replacement, each draw proportional to q among the cells left, by an exponential race.

    Cell i arrives at time E_i / q_i, E exponential; the first n arrivals, in order, are the draw. Logs keep the times
    of tiny q finite, and cells of zero probability infinitely late.
    """
    waits_BK = torch.cat(
        [q_bK.new_empty(q_bK.shape).exponential_(generator=own) for q_bK, own in _shares(q_BK, generator)]
    )
    waits_BK = waits_BK.clamp_min(torch.finfo(q_BK.dtype).tiny)
    return (waits_BK.log() - q_BK.log()).topk(n, dim=-1, largest=False, sorted=True).indices


def _with_replacement(q_BK: Float64[Tensor, "B K"], n: int, generator: Randomness) -> Int64[Tensor, "B {n}"]:
    """Draw with replacement, by inverting the cumulative distribution.

    A cell of zero probability takes its predecessor's level, so that no number falls on it, even where a parallel
    cumsum is not monotone; `torch.multinomial` returns a leading one when its random number is 0.
    """
    levels_BK = torch.where(q_BK > 0, q_BK.cumsum(-1), 0.0).cummax(-1).values
    shares = _shares(q_BK, generator)
    u_BN = torch.cat([torch.rand(len(q), n, dtype=q.dtype, device=q.device, generator=own) for q, own in shares])
    below_one = 1 - torch.finfo(q_BK.dtype).eps  # u times the last level must stay below it
    return torch.searchsorted(levels_BK, u_BN.clamp_max(below_one) * levels_BK[:, -1:], right=True)


def _shares(q_BK: Tensor, generator: Randomness) -> list[tuple[Tensor, torch.Generator | None]]:
    """The rows of each generator."""
    if isinstance(generator, Sequence):
        if len(generator) != len(q_BK):
            reason = f"the proposal has {len(q_BK)} rows"
            raise DrawError(f"{len(generator)} generators", reason, "Pass one of all images, or one an image.")
        return list(zip(torch.split(q_BK, 1), generator, strict=True)) if generator else [(q_BK, None)]
    return [(q_BK, generator)]


def _normalised(q_BK: Tensor) -> Float64[Tensor, "B K"]:
    """The proposal without gradient, in float64, summing to one to float64's precision; refuses what is none."""
    if q_BK.ndim != 2 or not q_BK.shape[1] or not q_BK.is_floating_point():
        reason = f"is {q_BK.dtype} of shape {tuple(q_BK.shape)}"
        raise ProposalError("proposal", reason, "Pass floating-point probabilities [B, K], a row an image.")
    q_BK = q_BK.detach().double()
    sum_B = q_BK.sum(-1)
    softmax = "Pass float32 or float64 probabilities, such as a softmax over the cells."
    _refuse(~sum_B.isfinite(), sum_B, "holds NaN or infinity", "Look for a diverged attention or a division by zero.")
    _refuse((q_BK < 0).any(-1), q_BK.amin(-1), "has negative entries", softmax)
    _refuse((sum_B - 1).abs() > SUM_TOLERANCE, sum_B, f"does not sum to 1 within {SUM_TOLERANCE}", softmax)
    return q_BK / sum_B[:, None]


def _refuse(bad_B: Tensor, value_B: Tensor, reason: str, remedy: str) -> None:
    """Raise for the first bad row, with the value that gave it away."""
    if bad_B.any():
        row = int(bad_B.nonzero()[0])
        raise ProposalError(f"proposal, row {row}", f"{reason} ({value_B[row]:.6g})", remedy)


def _rule(estimator: str) -> Estimator:
    if estimator not in ESTIMATORS:
        raise DrawError(f"estimator {estimator!r}", "does not exist", f"Choose one of {', '.join(ESTIMATORS)}.")
    return ESTIMATORS[estimator]


def _check_size(q_BK: Float64[Tensor, "B K"], n: int, rule: Estimator) -> None:
    """Refuse a draw of `n` cells that the proposal cannot give."""
    thing, cells = f"draw of {n} cells", q_BK.shape[1]
    if n < 1:
        raise DrawError(thing, "there is nothing to draw", "Draw at least one.")
    if rule.replacement:
        return
    if n > cells:
        raise DrawError(thing, f"the proposal has {cells}", f"Draw at most {cells}, or with replacement ('iid').")
    fewest = int((q_BK > 0).sum(-1).min()) if len(q_BK) else n
    if fewest < n:
        remedy = "Draw fewer, smooth the proposal, q (1 - s) + s / K, or draw with replacement ('iid')."
        raise DrawError(thing, f"a row has only {fewest} of positive probability", remedy)
