"""Epochs before the first: the feature network learns to tell patches apart, without labels."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Generator, distributed

from ats_core.contrast import Contrast
from ats_core.models import Model
from pipelines.training.read_ahead import Request

LR = 2e-3
RATE = 0.1
"""Of the features' learning rate afterwards: few labels should not undo what many patches have taught."""


def rates(model: Model, *, warmed_up: bool) -> tuple[tuple[float, ...], list[dict[str, Any]]]:
    """Groups of parameters for an optimiser, and the share of the learning rate that each of them has."""
    if not warmed_up:
        return (1.0,), [{"params": [*model.parameters()]}]
    features = [*model.features.parameters()]
    known = {id(parameter) for parameter in features}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return (1.0, RATE), [{"params": rest}, {"params": features}]


def warm_up(
    model: Model,
    epochs: Iterable[Iterable[Request]],
    generator: Generator,
    autocast: AbstractContextManager[Any],
    n_workers: int,
    *,
    quiet: bool,
) -> None:
    """Train the features of `model` by contrast on the patches of some requests.

    Args:
        model: in training mode, equal in all workers; its attention stays as it is, and says which patches these are.
        epochs: requests of each, as many in every worker.
        generator: of this worker's looks, on the CPU.
        autocast: of the feature network.
        n_workers: whose gradients are averaged.
        quiet: print no line an epoch.
    """
    contrast = Contrast(model.features, LR)
    for epoch, requests in enumerate(epochs, 1):
        losses = []
        for request in requests:
            loss = contrast.loss(request.patches(model), generator, autocast)
            _average(contrast.backward(loss), n_workers)
            contrast.update()
            losses.append(loss.item())
        if not quiet:
            print(f"warm-up {epoch}: loss {sum(losses) / len(losses):.3f} over {len(losses)} updates", flush=True)


def _average(gradients: list[torch.Tensor], n_workers: int) -> None:
    if n_workers > 1:
        for gradient in gradients:
            distributed.all_reduce(gradient)
            gradient /= n_workers
