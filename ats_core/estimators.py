"""The weights that keep an estimate unbiased, one function an estimator, and their registry.

B images, N drawn cells, in draw order, M quadrature nodes. `q_BN` is the proposal at the drawn cells and `undrawn_B`
the mass of the cells that were not drawn, both float64. Weights w satisfy, for every function h of a cell,

    E[ sum_k w_k h(i_k) ] = sum_i q_i h(i)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor


def remaining_mass(q_BN: Float64[Tensor, "B N"], undrawn_B: Float64[Tensor, " B"]) -> Float64[Tensor, "B N"]:
    """Mass left before draw k, 1 - sum_{j<k} q_j, as the sum of what is left: `1 - cumsum` cancels at captured mass."""
    return q_BN.flip(-1).cumsum(-1).flip(-1) + undrawn_B[:, None]


def iid(q_BN: Float64[Tensor, "B N"], undrawn_B: Float64[Tensor, " B"]) -> Float64[Tensor, "B N"]:
    """w_k = 1 / N, for draws with replacement. Katharopoulos & Fleuret 2019, eq. 4 and 12."""
    return torch.full_like(q_BN, 1 / q_BN.shape[-1])


def last(q_BN: Float64[Tensor, "B N"], undrawn_B: Float64[Tensor, " B"]) -> Float64[Tensor, "B N"]:
    """w_k = q_k, and all the mass left for the last draw. Katharopoulos & Fleuret 2019, eq. 14-17."""
    return torch.cat([q_BN[:, :-1], q_BN[:, -1:] + undrawn_B[:, None]], dim=-1)


def sequential(q_BN: Float64[Tensor, "B N"], undrawn_B: Float64[Tensor, " B"]) -> Float64[Tensor, "B N"]:
    """w_k = (1 - S_k + (N-1-k) q_k) / N with S_k = sum_{j<k} q_j: `last` averaged over all prefixes of the draw.

    Des Raj 1956; the forward pass of the code released with Katharopoulos & Fleuret 2019 (eq. 14).
    """
    n = q_BN.shape[-1]
    draws_after_N = torch.arange(n - 1, -1, -1, dtype=q_BN.dtype, device=q_BN.device)
    return (remaining_mass(q_BN, undrawn_B) + draws_after_N * q_BN) / n


def unordered(q_BN: Float64[Tensor, "B N"], undrawn_B: Float64[Tensor, " B"]) -> Float64[Tensor, "B N"]:
    """w_k = q_k R_k / R, the mean of `sequential` over all orders of the drawn set, so of no larger variance.

    Murthy 1957. R is the probability that all the drawn cells come before any other, R_k the same once cell k has come:

        R = int_0^1 prod_j (1 - u^(q_j / r)) du,    R_k without factor k,    r the undrawn mass

    R = sum_k q_k R_k (some drawn cell comes first), so the weights sum to one; with nothing undrawn they are q.
    Relative error below 1e-11, for N up to 200 and any q.
    """
    log_integrand_BM, log_factors_BNM = _at_nodes(q_BN, undrawn_B)
    log_R_BN = (log_integrand_BM[:, None] - log_factors_BNM).logsumexp(-1)  # up to the step of t, which R has as well
    return torch.softmax(q_BN.log() + log_R_BN, dim=-1)


def unordered_variance(
    q_BN: Float64[Tensor, "B N"], undrawn_B: Float64[Tensor, " B"], h_BND: Float64[Tensor, "B N D"]
) -> Float64[Tensor, "B D"]:
    """Unbiased estimate of the variance of sum_k w_k h_k by `unordered`, from one draw of two cells or more.

    Murthy 1957, with R_ij the integral without the factors of i and j; never negative:

        v = sum_{i<j} (R R_ij - R_i R_j) / R^2 q_i q_j (h_i - h_j)^2
    """
    log_integrand_BM, log_factors_BNM = _at_nodes(q_BN, undrawn_B, pairs=True)
    log_R_B, log_R_BN = log_integrand_BM.logsumexp(-1), (log_integrand_BM[:, None] - log_factors_BNM).logsumexp(-1)
    # R R_ij / (R_i R_j) as one product: summed over the nodes, integrand / (f_i f_j) is R_ij.
    halved_B1M = ((log_integrand_BM + log_R_B[:, None]) / 2)[:, None]
    roots_BNM = (halved_B1M - log_factors_BNM - log_R_BN[..., None]).exp()
    excess_BNN = (roots_BNM @ roots_BNM.mT - 1).clamp_min(0)
    w_BN = torch.softmax(q_BN.log() + log_R_BN, dim=-1)
    c_BNN = w_BN[:, :, None] * w_BN[:, None, :] * excess_BNN
    h_BND = h_BND - (w_BN[..., None] * h_BND).sum(1, keepdim=True)  # differences alone count: nothing is to cancel
    return ((c_BNN.sum(-1)[..., None] * h_BND - c_BNN @ h_BND) * h_BND).sum(1).clamp_min(0)


NODES, SCAN_NODES = 128, 64
LOG_NEGLIGIBLE = -36.0  # e^-36 = 2e-16, float64's resolution


def _at_nodes(
    q_BN: Float64[Tensor, "B N"], undrawn_B: Float64[Tensor, " B"], *, pairs: bool = False
) -> tuple[Float64[Tensor, "B M"], Float64[Tensor, "B N M"]]:
    """Logs of the integrand of R at nodes of t, and of its factors: without f_k it is the integrand of R_k.

    Nodes cover the integrals without one factor, or, of `pairs`, without two.
    """
    log_p_BN = q_BN.log() - undrawn_B.clamp_min(torch.finfo(torch.float64).tiny).log()[:, None]
    lo_B1, hi_B1 = _support(log_p_BN, pairs)
    t_BM = torch.lerp(lo_B1, hi_B1, torch.linspace(0, 1, NODES, dtype=q_BN.dtype, device=q_BN.device))
    return _log_integrand(log_p_BN, t_BM)


def _log_integrand(
    log_p_BN: Float64[Tensor, "B N"], t_BM: Float64[Tensor, "B M"]
) -> tuple[Float64[Tensor, "B M"], Float64[Tensor, "B N M"]]:
    """Logs of the integrand of R over t, and of its factors, where u = exp(-e^t) and p = q / r.

    In t a factor is 1 - exp(-e^(t + log p)), of one smooth shape whatever p is, and every integrand is log-concave and
    vanishes on both sides: the trapezoid rule converges exponentially. Gauss-Legendre nodes in u or in a power of it
    miss the factors of large p, that is, of captured mass (errors of 1e-3), and the peak at u = e^-N of a large N.
    """
    log_factors_BNM = (-torch.expm1(-torch.exp(log_p_BN[:, :, None] + t_BM[:, None, :]))).log()
    return t_BM - t_BM.exp() + log_factors_BNM.sum(1), log_factors_BNM


def _support(log_p_BN: Float64[Tensor, "B N"], pairs: bool) -> tuple[Float64[Tensor, "B 1"], Float64[Tensor, "B 1"]]:
    """Interval of t outside of which every integrand is negligible against its maximum, found by a coarse scan.

    The ends of the scan hold for every p: the mode lies in [0, log N], and the tails fall as e^t and exp(-e^t).
    """
    b, n = log_p_BN.shape
    ends = (LOG_NEGLIGIBLE - 6, math.log(n + 1) + 4)
    t_M = torch.linspace(*ends, SCAN_NODES, dtype=log_p_BN.dtype, device=log_p_BN.device)
    log_integrand_BM, log_factors_BNM = _log_integrand(log_p_BN, t_M.expand(b, -1))
    log_f_BNM = log_integrand_BM[:, None] - log_factors_BNM
    if pairs:
        log_f_BNM = log_f_BNM - log_factors_BNM.amin(1, keepdim=True)
    counts_BM = (log_f_BNM > log_f_BNM.amax(-1, keepdim=True) + LOG_NEGLIGIBLE).any(1)
    step = t_M[1] - t_M[0]
    lo_B1 = torch.where(counts_BM, t_M, torch.inf).amin(-1, keepdim=True) - step
    return lo_B1, torch.where(counts_BM, t_M, -torch.inf).amax(-1, keepdim=True) + step


@dataclass(frozen=True, slots=True)
class Estimator:
    """How cells are drawn and weighted."""

    weights: Callable[[Tensor, Tensor], Tensor]
    """(q_BN, undrawn_B) -> w_BN."""
    replacement: bool = False
    """Whether a cell may be drawn twice."""


ESTIMATORS: dict[str, Estimator] = {
    "iid": Estimator(iid, replacement=True),
    "last": Estimator(last),
    "sequential": Estimator(sequential),
    "unordered": Estimator(unordered),
}
