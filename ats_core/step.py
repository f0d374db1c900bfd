"""One update of a model: the same for every model, in training and in measuring what a step costs."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, autograd, nn
from torch.optim import Optimizer

from ats_core.errors import DivergedError
from ats_core.losses import attention_loss, classification_loss
from ats_core.sampling import Draw

_AS_IT_IS = nullcontext()  # it has no state, so that all calls can share it


def train_step(
    model: nn.Module,
    optimizer: Optimizer,
    views: Float[Tensor, "B channels h w"],
    draw: Draw,
    patches: Float[Tensor, "B N channels P P"],
    labels_B: Int[Tensor, " B"],
    *,
    entropy_weight: float,
    clip_norm: float,
    class_weights_C: Float[Tensor, " C"] | None = None,
    autocast: AbstractContextManager[Any] = _AS_IT_IS,
) -> float:
    """Forward, backward and update by the loss of `attention_loss`; the loss of classification alone, before it.

    Args:
        model: a `PatchModel`, or what wraps one to add up the gradients of several workers.
        optimizer: of its weights.
        views: standardised.
        draw: of B images, the N cells that the patches are of.
        patches: standardised, on the device of the views.
        labels_B: on the same device; -1 for an image to leave out.
        entropy_weight: lambda of the attention's entropy.
        clip_norm: largest norm of the gradient of all weights.
        class_weights_C: on the same device.
        autocast: of the forward pass alone; none when not given.

    Raises:
        DivergedError: the loss is not finite; the weights have been updated by it.
    """
    with autocast:
        output = model(views, draw, patches)
    loss = attention_loss(output, labels_B, entropy_weight=entropy_weight, class_weights_C=class_weights_C)
    optimizer.zero_grad()
    autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    if not math.isfinite(known := classification_loss(output, labels_B, class_weights_C).item()):
        remedy = "Go back to an earlier state with a lower learning rate, and look for pixels that are no numbers."
        raise DivergedError(f"loss of {known}", "the weights are lost", remedy)
    return known
