"""The attention-weighted mean of the features, estimated from drawn cells, and its standard error.

B images, N drawn cells, D features; `a_BN` is the attention at `draw.cells`, with gradient, `f_BND` their features.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from ats_core.errors import DrawError
from ats_core.estimators import ESTIMATORS, remaining_mass, unordered_variance
from ats_core.sampling import TOP, Draw


def expectation(
    a_BN: Float[Tensor, "B N"], f_BND: Float[Tensor, "B N D"], draw: Draw, *, released: bool = False
) -> Float[Tensor, "B D"]:
    """F = sum_k (w_k / q_k) a_k f_k, whose mean over draws is sum_i a_i f_i; unbiased gradients for a and f alike.

    It holds for every proposal q, the attention itself or another: Katharopoulos & Fleuret 2019, eq. 5, with
    w / q in the place of 1 / (N q). `released` is for comparison with published results: the backward pass of the code
    released with the paper, which is biased (see `_released`), for a `sequential` draw from the attention itself.
    Raises `DrawError` for a draw that does not fit.
    """
    _check_fit(a_BN, f_BND, draw)
    if released:
        return _released(a_BN, f_BND, draw)
    c_BN = draw.weights / draw.proposal * a_BN  # float64
    return (c_BN[..., None].to(_dtype(a_BN, f_BND)) * f_BND).sum(1)


def _released(a_BN: Float[Tensor, "B N"], f_BND: Float[Tensor, "B N D"], draw: Draw) -> Float[Tensor, "B D"]:
    """`sequential` with the gradient of the released code, where the draw's probability is differentiated through pm_k.

    With pm_k = 1 - S_k and F_k = sum_{j<k} a_j f_j + pm_k f_k, for the loss gradient g = dL/dF:

        dL/da_k = g . [F_k pm_k / a_k + sum_{j<k} f_j - k f_k] / N,    dL/df_k = g (pm_k + (N-1-k) a_k) / N

    The first is biased: it pushes the best cell down once a few cells hold half of the mass, and so acts as a hidden
    entropy regulariser. The attention at the drawn cells is taken to be the proposal.
    """
    if draw.estimator != "sequential":
        reason = "the released backward differentiates the weights of 'sequential'"
        raise DrawError(f"draw by {draw.estimator!r}", reason, "Draw with 'sequential', or leave `released` off.")
    f, q = f_BND.detach(), draw.proposal[..., None]
    pm = remaining_mass(draw.proposal, draw.undrawn)[..., None]
    k = torch.arange(f.shape[1], device=f.device)[:, None]
    F_k = _before(q * f) + pm * f
    slope_BND = (F_k * pm / q + _before(f) - k * f) / f.shape[1]
    zero_BN = a_BN - a_BN.detach()  # no value, a gradient of one
    return (draw.weights[..., None] * f_BND + zero_BN[..., None] * slope_BND).sum(1).to(_dtype(a_BN, f_BND))


@torch.no_grad()
def standard_error(a_BN: Float[Tensor, "B N"], f_BND: Float[Tensor, "B N D"], draw: Draw) -> Float[Tensor, "B D"]:
    """Standard error of `expectation` over draws, a feature at a time, from the one draw at hand; no gradient.

    With h_k = (a_k / q_k) f_k and the mass pm_k left before draw k, T_k = sum_{j<k} q_j h_j + pm_k h_k are unbiased and
    uncorrelated (Des Raj 1956), so V = sum_k (T_k - mean T)^2 / (N (N-1)) is an unbiased estimate of the variance of

    - `iid`, with T_k = h_k, and `sequential`;
    - `last`, from above, as N V, the mean of the variances of T_0 .. T_{N-1}, of which the last is its own and the
      smallest: given the draws before it, that of T_k is the sum of q_i q_j (h_i - h_j)^2 over the pairs of cells left.

    That of `unordered`, which is the smaller the more of the mass is drawn, has an unbiased estimate of its own, from
    the pairs of drawn cells (`unordered_variance`).

    One draw shows no spread, and the top cells tell nothing of the others: infinity. With all the mass drawn, `last`
    and `unordered` are exact, as is one draw by any estimator: 0. Drawn features that are all alike give 0 as well
    if they were drawn from the attention itself.
    """
    _check_fit(a_BN, f_BND, draw)
    if draw.estimator == "unordered" and not draw.undrawn.any():  # of all K cells the pairs are many
        return f_BND.new_zeros((len(f_BND), f_BND.shape[-1]), dtype=_dtype(a_BN, f_BND))
    if draw.estimator == TOP:
        return f_BND.new_full((len(f_BND), f_BND.shape[-1]), torch.inf, dtype=_dtype(a_BN, f_BND))
    af_BND = a_BN.double()[..., None] * f_BND
    h_BND = af_BND / draw.proposal[..., None]
    variance_BD = _variance(af_BND, h_BND, draw)
    if a_BN.shape[1] == 1 or draw.estimator in ("last", "unordered"):
        variance_BD = torch.where(draw.undrawn[:, None] > 0, variance_BD, 0.0)
    return variance_BD.sqrt().to(_dtype(a_BN, f_BND))


def _variance(af_BND: Float[Tensor, "B N D"], h_BND: Float[Tensor, "B N D"], draw: Draw) -> Float[Tensor, "B D"]:
    """Of the expectation over draws, where not all is drawn."""
    n = h_BND.shape[1]
    if n == 1:
        return torch.full_like(h_BND[:, 0], torch.inf)
    if draw.estimator == "unordered":
        return unordered_variance(draw.proposal, draw.undrawn, h_BND)
    T_BND = h_BND
    if not ESTIMATORS[draw.estimator].replacement:
        T_BND = _before(af_BND) + remaining_mass(draw.proposal, draw.undrawn)[..., None] * h_BND
    squares_BD = (T_BND - T_BND.mean(1, keepdim=True)).square().sum(1)
    return squares_BD / ((n - 1) if draw.estimator == "last" else n * (n - 1))


def _before(x_BND: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
    """Sum over the draws before each draw."""
    return pad(x_BND.cumsum(1)[:, :-1], (0, 0, 1, 0))


def _dtype(a_BN: Tensor, f_BND: Tensor) -> torch.dtype:
    return torch.promote_types(a_BN.dtype, f_BND.dtype)


def _check_fit(a_BN: Tensor, f_BND: Tensor, draw: Draw) -> None:
    """Refuse shapes that would broadcast into a wrong sum."""
    if not a_BN.shape == draw.cells.shape == f_BND.shape[:2]:
        reason = f"attention is {tuple(a_BN.shape)} and features {tuple(f_BND.shape)}"
        raise DrawError(f"draw of shape {tuple(draw.cells.shape)}", reason, "Pass both at `draw.cells`, in its order.")
