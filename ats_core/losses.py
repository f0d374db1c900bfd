"""The training objective: weighted cross-entropy minus the entropy of the attention."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ats_core.attention import entropy
from ats_core.models import Output


def inverse_prior_weights(counts: Sequence[int]) -> Float[Tensor, " C"]:
    """A weight a class, inverse to its share of the training set, of mean one over that set (section 4.4).

    A class with no image gets weight zero.
    """
    counts_C = torch.tensor(counts, dtype=torch.float64)
    present = counts_C > 0
    return torch.where(present, counts_C.sum() / (present.sum() * counts_C.clamp_min(1)), 0.0).float()


def classification_loss(
    output: Output, labels_B: Int[Tensor, " B"], class_weights_C: Float[Tensor, " C"] | None = None
) -> Float[Tensor, ""]:
    """Mean over the images of w_label CE(logits, label); an image with the label -1 is left out.

    The mean is over images, not over weights: so the mean of two workers' losses is the loss of their joint batch,
    where they left out as many.
    """
    losses_B = functional.cross_entropy(output.logits, labels_B, reduction="none", ignore_index=-1)
    if class_weights_C is not None:
        losses_B = losses_B * class_weights_C.to(losses_B)[labels_B]
    return _mean_of_known(losses_B, labels_B)


def attention_loss(
    output: Output,
    labels_B: Int[Tensor, " B"],
    *,
    entropy_weight: float = 0.0,
    class_weights_C: Float[Tensor, " C"] | None = None,
) -> Float[Tensor, ""]:
    """The classification loss minus lambda H(attention), as a mean over the same images."""
    return classification_loss(output, labels_B, class_weights_C) - entropy_weight * _mean_of_known(
        entropy(output.attention), labels_B
    )


def _mean_of_known(values_B: Float[Tensor, " B"], labels_B: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    known_B = labels_B >= 0
    return torch.where(known_B, values_B, 0.0).sum() / known_B.sum().clamp_min(1)
