"""Variance and bias of the estimators, from sharp to diffuse attention.

A problem is an attention a = softmax(s z) over K cells, z normal and s such that exp(entropy) is the number of
effective cells, with features random on the unit sphere. N = 10 cells are drawn from the attention, many times.
Measured are F, the estimate of sum_i a_i f_i, and G, the gradient of a linear readout of F with respect to the logits:

- variance: total, the trace of the covariance; the median over seeds;
- bias in standard errors: F and G are projected on two directions, that of the exact value and a random one. A seed
  gives z = (mean - exact) / (standard error of the mean), and the S seeds of a case pool to sum z / sqrt(S), which is
  standard normal where there is no bias. The maximum over 14 cases, 4 estimators, 2 quantities and 2 directions is
  that of 224 such numbers: by chance alone it exceeds 4 in one run of 70;
- relative gradient bias: |mean G - exact G| / |exact G|, less what noise adds to the square; the median over seeds.

`released` is the backward pass of the code released with the paper: `sequential`, with a biased gradient.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from torch import Tensor
from torch.nn.functional import normalize

from ats_core.estimators import ESTIMATORS
from ats_core.expectation import expectation
from ats_core.sampling import Draw, draw
from benchmarks.record import RESULTS, progress, record, table

CELLS, EFFECTIVE, DRAWN, FEATURES = (64, 1645, 10_000), (3, 8, 20, 50, 200), 10, 32
CASES = [(cells, effective) for cells, effective in product(CELLS, EFFECTIVE) if effective < cells]
NAMES = (*ESTIMATORS, "released")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Variance and bias of the estimators, from sharp to diffuse attention: two tables, then one line of JSON.

    Two minutes or less on one thread. A shorter run, kept elsewhere:
    python -m benchmarks.estimators --seeds 3 --results results
    """

    seeds: int = 10
    """Random attentions for each number of cells and of effective cells; the tables hold medians over them."""
    draws: int = 1000
    """Monte Carlo draws from each attention; noise in a variance falls as 1 / sqrt(draws)."""
    device: str = "cpu"
    """Where to compute: cpu, cuda, cuda:1."""
    results: Path = RESULTS
    """Folder for estimators.json, the record of the run."""


@dataclass(frozen=True)
class Problem:
    """An attention, its features, a readout of F, and a random direction for each bias. L2 norms are one."""

    a_K: Tensor
    f_KD: Tensor
    readout_D: Tensor
    random_D: Tensor
    random_K: Tensor


@dataclass(frozen=True)
class Sample:
    """What one estimator did on one problem; pairs are of F and of the gradient."""

    variances: tuple[float, float]
    z: tuple[list[float], list[float]]
    """Bias in standard errors along the exact value and along the random direction."""
    gradient_bias: float
    """Relative to the norm of the exact gradient."""


Samples = dict[tuple[int, int, str], list[Sample]]


def main(options: Options) -> None:
    """Measure every case and seed, print the tables, keep the record."""
    samples: Samples = {(*case, name): [] for case in CASES for name in NAMES}
    jobs = list(product(CASES, range(options.seeds)))
    for (cells, effective), seed in progress(jobs, lambda job: f"cells, effective: {job[0]}, seed {job[1]}"):
        g = torch.Generator(options.device).manual_seed(seed)
        for name, sample in measure(make_problem(cells, effective, g), options.draws, g):
            samples[cells, effective, name].append(sample)
    estimators, ratios = estimator_rows(samples), ratio_rows(samples)
    print(f"{DRAWN} draws: total variances, bias in standard errors, relative bias of G\n{table(estimators)}\n")
    print(f"Variance of `unordered` over that of the others\n{table(ratios)}\n")
    record("estimators", summary(samples, ratios), rows=[*estimators, *ratios], to=options.results)


def make_problem(cells: int, effective: int, g: torch.Generator) -> Problem:
    """Random attention of so many effective cells, random features on the sphere; float64."""
    sizes = ((cells,), (cells, FEATURES), (FEATURES,), (FEATURES,), (cells,))
    z_K, *others = (torch.randn(size, generator=g, dtype=torch.float64, device=g.device) for size in sizes)
    return Problem(tempered(z_K, effective), *(normalize(x, dim=-1) for x in others))


def tempered(z_K: Tensor, effective: float) -> Tensor:
    """softmax(s z) with s such that exp(entropy) = `effective`, by bisection: the entropy falls with s."""
    low, high = 0.0, 1000.0
    for _ in range(60):
        s = (low + high) / 2
        a_K = (s * z_K).softmax(0)
        low, high = (s, high) if torch.special.entr(a_K).sum() > math.log(effective) else (low, s)
    return a_K


def measure(p: Problem, draws: int, g: torch.Generator) -> Iterator[tuple[str, Sample]]:
    """Every estimator on one problem; those without replacement share their draws, so that ratios hold less noise."""
    shared = many_draws(p.a_K, draws, "sequential", g)
    for name, rule in ESTIMATORS.items():
        if rule.replacement:
            yield name, one_sample(p, many_draws(p.a_K, draws, name, g))
        else:
            weights_TN = rule.weights(shared.proposal, shared.undrawn)
            yield name, one_sample(p, replace(shared, estimator=name, weights=weights_TN))
    yield "released", one_sample(p, shared, released=True)


def many_draws(a_K: Tensor, draws: int, estimator: str, g: torch.Generator) -> Draw:
    """`draws` draws as the rows of one, made in portions that the cache holds."""
    portion = max(1, 250_000 // len(a_K))
    sizes = [min(portion, draws - start) for start in range(0, draws, portion)]
    parts = [draw(a_K.expand(size, -1), DRAWN, estimator, g) for size in sizes]
    joined = {x: torch.cat([getattr(part, x) for part in parts]) for x in ("cells", "proposal", "weights", "undrawn")}
    return Draw(**joined, estimator=estimator)


def one_sample(p: Problem, d: Draw, *, released: bool = False) -> Sample:
    """Variance and bias of F and of its gradient over the rows of `d`."""
    a_TN = p.a_K[d.cells].requires_grad_()
    F_TD = expectation(a_TN, p.f_KD[d.cells], d, released=released)
    (slope_TN,) = torch.autograd.grad((F_TD @ p.readout_D).sum(), a_TN)
    F_TD, s_TN = F_TD.detach(), slope_TN * p.a_K[d.cells]
    F_D, G_K = exact(p)
    bias_K = mean_gradient(p, d, s_TN) - G_K
    variance_G = (square_norms(p, d, s_TN).mean() - (bias_K + G_K).square().sum()).clamp_min(0)
    noise = variance_G / len(s_TN)
    return Sample(
        variances=(F_TD.var(0).sum().item(), variance_G.item()),
        z=(
            [z_score(F_TD @ x_D, F_D @ x_D) for x_D in (normalize(F_D, dim=0), p.random_D)],
            [z_score(along(p, d, s_TN, x_K), G_K @ x_K) for x_K in (normalize(G_K, dim=0), p.random_K)],
        ),
        gradient_bias=((bias_K.square().sum() - noise).clamp_min(0).sqrt() / G_K.norm()).item(),
    )


def exact(p: Problem) -> tuple[Tensor, Tensor]:
    """F [D], and the gradient of F . readout with respect to the logits [K]."""
    scores_K = p.f_KD @ p.readout_D
    return p.a_K @ p.f_KD, p.a_K * (scores_K - p.a_K @ scores_K)


# The gradient of a draw is G = sum_k s_k (e_{i_k} - a), s_k = a_k dL/da_k, by the softmax's Jacobian: N numbers say
# all of it, and K of them for each of thousands of draws are never needed.


def mean_gradient(p: Problem, d: Draw, s_TN: Tensor) -> Tensor:
    """Mean of G over draws, [K]."""
    at_cells_K = torch.zeros_like(p.a_K).index_add(0, d.cells.flatten(), s_TN.flatten())
    return (at_cells_K - p.a_K * s_TN.sum()) / len(s_TN)


def square_norms(p: Problem, d: Draw, s_TN: Tensor) -> Tensor:
    """|G|^2 of every draw, [T]; a cell drawn twice adds up before it is squared."""
    same_TNN: Tensor = d.cells[:, :, None] == d.cells[:, None, :]
    sum_T = s_TN.sum(1)
    cross_T = sum_T * (s_TN * p.a_K[d.cells]).sum(1)
    at_cells_T = torch.einsum("tn,tnm,tm->t", s_TN, same_TNN.double(), s_TN)
    return at_cells_T - 2 * cross_T + sum_T.square() * p.a_K.square().sum()


def along(p: Problem, d: Draw, s_TN: Tensor, x_K: Tensor) -> Tensor:
    """G . x of every draw, [T]."""
    return (s_TN * x_K[d.cells]).sum(1) - s_TN.sum(1) * (p.a_K @ x_K)


def z_score(values_T: Tensor, truth: Tensor) -> float:
    """(mean - truth) in standard errors of the mean."""
    z: float = ((values_T.mean() - truth) / values_T.std()).item()
    return z * math.sqrt(len(values_T))


def pooled_bias(samples: Sequence[Sample], quantity: int) -> float:
    """Largest over directions of |sum z / sqrt(S)|, each standard normal without bias."""
    by_direction: Iterator[tuple[float, ...]] = zip(*(sample.z[quantity] for sample in samples), strict=True)
    return max(abs(sum(zs)) / math.sqrt(len(samples)) for zs in by_direction)


def estimator_rows(samples: Samples) -> list[dict[str, Any]]:
    """A row a case and estimator."""
    return [
        {
            "cells": cells,
            "effective": effective,
            "estimator": name,
            "var F": median(s.variances[0] for s in group),
            "var G": median(s.variances[1] for s in group),
            "bias F": pooled_bias(group, 0),
            "bias G": pooled_bias(group, 1),
            "relative bias G": median(s.gradient_bias for s in group),
        }
        for (cells, effective, name), group in samples.items()
    ]


def ratio_rows(samples: Samples) -> list[dict[str, Any]]:
    """A row a case: variance ratios, F and gradient, medians over the seeds."""
    rows: list[dict[str, Any]] = []
    for cells, effective in CASES:
        ratios = {
            f"{quantity} / {other}": median(
                ours.variances[i] / theirs.variances[i]
                for ours, theirs in zip(
                    samples[cells, effective, "unordered"], samples[cells, effective, other], strict=True
                )
            )
            for other in ("iid", "last", "sequential")
            for i, quantity in enumerate(("F", "G"))
        }
        rows.append({"cells": cells, "effective": effective, **ratios})
    return rows


def summary(samples: Samples, ratios: list[dict[str, Any]]) -> dict[str, float]:
    """The claims in numbers: ratios at 64 cells, 8 effective, unless called a maximum."""
    at_8 = next(row for row in ratios if (row["cells"], row["effective"]) == (64, 8))
    unbiased = [group for (_, _, name), group in samples.items() if name != "released"]
    claims = {
        "unordered_over_iid_variance": at_8["F / iid"],
        "unordered_over_iid_gradient_variance": at_8["G / iid"],
        "unordered_over_sequential_variance": at_8["F / sequential"],
        "unordered_over_sequential_gradient_variance": at_8["G / sequential"],
        "max_unordered_over_sequential_variance": max(row["F / sequential"] for row in ratios),
        "max_unordered_over_sequential_gradient_variance": max(row["G / sequential"] for row in ratios),
        "max_bias_in_standard_errors": max(pooled_bias(group, i) for group in unbiased for i in (0, 1)),
        "released_relative_gradient_bias": median(s.gradient_bias for s in samples[64, 8, "released"]),
    }
    return {name: float(f"{value:.4g}") for name, value in claims.items()}


if __name__ == "__main__":
    main(tyro.cli(Options))
