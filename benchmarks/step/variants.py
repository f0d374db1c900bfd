"""Other ways to run the same step of attention sampling, beside the default."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Adam

from benchmarks.step.cases import Case
from benchmarks.step.costs import Rows, trainer
from benchmarks.step.timing import Call, Effort, fits, in_turns
from benchmarks.step.trainer import CPU, Pixels, Trainer

DEFAULT = "default"
Change = Callable[[Trainer], None]


def _run(network: nn.Module, run: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]) -> None:
    """From now on a network's output is what `run` makes of its forward and its input."""
    forward = network.forward
    network.forward = lambda x: run(forward, x)


def contiguous(trainer: Trainer) -> None:
    """Channels first, weights and activations."""
    model = trainer.model.to(memory_format=torch.contiguous_format)
    for network in (model.attention, model.features):
        _run(network, lambda forward, x: forward(x.contiguous()))


def other_precision(trainer: Trainer) -> None:
    """bfloat16 where it is float32, and the other way round."""
    trainer.bfloat16 = not trainer.bfloat16


def plain_adam(trainer: Trainer) -> None:
    """Adam in a kernel an operation."""
    trainer.optimizer = Adam(trainer.model.parameters(), lr=trainer.recipe.lr)


def one_by_one(trainer: Trainer) -> None:
    """A pass of the feature network for each image."""
    n = trainer.recipe.n_patches
    _run(trainer.model.features, lambda forward, x: torch.cat([forward(some) for some in x.split(n)]))


def lying_at(case: Case, batch: int, home: torch.device) -> Change:
    """Full images elsewhere: patches are cut there."""

    def change(trainer: Trainer) -> None:
        trainer.pixels = Pixels(case, batch, home)

    return change


def compiled(trainer: Trainer) -> None:
    """The feature network by torch.compile."""
    trainer.model.features.compile()


def variants(
    case: Case, batch: int, device: torch.device, home: torch.device, *, compile: bool
) -> Iterator[tuple[str, Change]]:
    """The default (channels last, fused Adam, one pass over all patches), and what differs from it there."""
    yield DEFAULT, lambda _: None
    yield "contiguous", contiguous
    yield "float32" if case.bfloat16 else "bfloat16", other_precision
    yield "plain Adam", plain_adam
    if batch > 1:
        yield "a pass an image", one_by_one
    if device != home:
        yield "images on the device", lying_at(case, batch, device)
    elif device.type != "cpu":
        yield "images in memory", lying_at(case, batch, CPU)
    if compile:
        yield "compiled features", compiled


def rows(
    case: Case,
    batch: int,
    device: torch.device,
    home: torch.device,
    changes: Mapping[str, Change],
    effort: Effort,
    label: str,
) -> Rows:
    """A row a variant, of an image, in turns; ratios are to the default. None for what does not fit."""

    def changed(change: Change) -> Call:
        one = trainer(case, batch, device, home)
        change(one)
        return one.step

    steps = {name: fits(changed, change) for name, change in changes.items()}
    times = in_turns(steps, device, effort, label)
    default = times[DEFAULT]
    return [
        {
            "variant": name,
            "ms": one and one.over(batch).wall_ms,
            "CPU ms": one and one.over(batch).cpu_ms,
            "ratio": one and default and one.of(device) / default.of(device),
        }
        for name, one in times.items()
    ]
