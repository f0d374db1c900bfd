"""FLOPs, bytes and operations of a call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.step.timing import Call

_GATHERS = {torch.ops.aten.index.Tensor, torch.ops.aten.gather.default}  # these read no more than they return


@dataclass(frozen=True, slots=True)
class Work:
    """What a call asks of a machine."""

    flops: int
    """Of convolutions and products of matrices."""
    bytes: int
    """Read and written, as if every operation took its operands from memory and left its result there."""
    operations: int


def work(call: Call) -> Work:
    """Of one call, forward and backward alike."""
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        call()
    return Work(flops.get_total_flops(), traffic.bytes, traffic.operations)


class _Traffic(TorchDispatchMode):
    """Counts what passes it; views cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in func.__name__:
            written = _bytes(result)
            self.bytes += written + (written if func in _GATHERS else _bytes((args, kwargs)))
            self.operations += 1
        return result


def _bytes(tree: Any) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
