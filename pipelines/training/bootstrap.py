"""How far a measure of a test set may be off, by the bootstrap: percentile intervals over resampled images or groups.

A resample is a row of counts, how often it holds each image, so that a measure of all resamples is a few products.
Shape suffixes: B images, G groups, L levels of a score, R resamples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

RESAMPLES = 1000
COVERAGE = 0.95
ENTRIES = 2**22  # counts held at once, 32 MB

Measure = Callable[[Tensor], Tensor]
"""A measure [R] of the test set in which the images occur `counts_RB` times; NaN where it is undefined."""


def intervals(
    measures: Mapping[str, Measure], groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """The 95 % percentile interval of each measure (Efron & Tibshirani 1993, 13.3), all from the same resamples.

    Args:
        measures: by name. Resamples for which one is undefined are passed over; so is a measure without any.
        groups: of each image; images that share a name are resampled together, those with "" alone.
        resamples: how many.
        seed: of the resamples.
    """
    values: dict[str, list[Tensor]] = {name: [] for name in measures}
    for counts_RB in resample(groups, resamples=resamples, seed=seed):
        for name, measure in measures.items():
            values[name].append(measure(counts_RB))
    ends = torch.tensor([(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], dtype=torch.float64)
    found = {name: torch.cat(parts).double().nanquantile(ends) for name, parts in values.items()}
    return {
        name: (low_high[0].item(), low_high[1].item()) for name, low_high in found.items() if low_high.isfinite().all()
    }


def resample(groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Float[Tensor, "R B"]]:
    """Counts of the images in resamples of as many groups as there are, in parts that fit into memory."""
    number: dict[str | int, int] = {}
    group_of_B = torch.tensor([number.setdefault(group or index, len(number)) for index, group in enumerate(groups)])
    generator = Generator().manual_seed(seed)
    for rows in torch.arange(resamples).split(max(1, ENTRIES // len(groups))):
        drawn_RG = torch.randint(len(number), (len(rows), len(number)), generator=generator)
        counts_RG = torch.zeros(drawn_RG.shape, dtype=torch.float64)
        counts_RG.scatter_add_(1, drawn_RG, torch.ones_like(counts_RG))
        yield counts_RG[:, group_of_B]


def mean_of(values_B: Tensor, of_B: Bool[Tensor, " B"] | None = None) -> Measure:
    """The mean of a value an image, over the images `of_B` or all, as a measure; needs one of them."""
    among_B = torch.ones_like(values_B) if of_B is None else of_B
    return lambda counts_RB: counts_RB @ (values_B * among_B).double() / (counts_RB @ among_B.double())


def auroc_of(scores_B: Float[Tensor, " B"], positive_B: Bool[Tensor, " B"]) -> Measure:
    """The area under the ROC curve, as a measure: P(a positive scores higher) + P(the same) / 2; needs both kinds."""
    levels, level_of_B = torch.unique(scores_B, return_inverse=True)

    def measure(counts_RB: Tensor) -> Tensor:
        empty_RL = counts_RB.new_zeros(len(counts_RB), len(levels))
        positives_RL = empty_RL.index_add(1, level_of_B, counts_RB * positive_B)
        negatives_RL = empty_RL.index_add(1, level_of_B, counts_RB * ~positive_B)
        lower_RL = negatives_RL.cumsum(1) - negatives_RL / 2
        return (positives_RL * lower_RL).sum(1) / (positives_RL.sum(1) * negatives_RL.sum(1))

    return measure
