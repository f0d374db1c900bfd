"""Wall and CPU time of calls that take turns, so that whatever slows the machine slows all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import torch

from benchmarks.record import progress

Call = Callable[[], object]
Key = TypeVar("Key")
T = TypeVar("T")

NO_MEMORY = "can't allocate memory"
"""Of the CPU's allocator, whose errors have no type of their own."""


@dataclass(frozen=True, slots=True)
class Times:
    """Of one call, or medians over some; of an image where it says so."""

    wall_ms: float
    cpu_ms: float
    """Of this process."""

    def over(self, batch: int) -> "Times":
        """Of one image of a batch."""
        return Times(self.wall_ms / batch, self.cpu_ms / batch)

    def of(self, device: torch.device) -> float:
        """What ratios are made of: CPU time on a CPU, which others on the machine disturb less; else wall time."""
        return self.cpu_ms if device.type == "cpu" else self.wall_ms


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: tuple[int, int] = (3, 5)
    """At least and at most."""
    budget_s: float = 40.0
    """For all rounds of a set of calls, if the least number allows."""
    turn_s: float = 0.3
    """A turn is one call, or more until so long has passed."""
    processes: int = 5
    """For the memory of a model, and for each way to keep its heap."""
    cpu_batch: int = 8
    """The largest; one thread is busy long before."""
    accelerator_batch: int = 1024
    """The largest, if memory lasts."""


SMOKE = Effort((1, 1), 0, 0, processes=1, cpu_batch=2, accelerator_batch=2)


def fits(make: Callable[..., T], *args: Any) -> T | None:
    """What it returns of `args`; None where memory does not last for it."""
    try:
        return make(*args)
    except BrokenProcessPool:  # the system killed a process that measured; torch was never asked
        return None
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and NO_MEMORY not in str(error):
            raise
        return None


def in_turns(
    calls: Mapping[Key, Call | None], device: torch.device, effort: Effort, label: str
) -> dict[Key, Times | None]:
    """Medians of each call, one call of each before to warm up; None for one that does not fit, or is None already."""
    began = time.perf_counter()
    running = {key: call for key, call in calls.items() if call is not None}
    laps: dict[Key, list[Times]] = {key: [] for key in calls}

    def measured(key: Key, run: Callable[[Call], list[Times]]) -> list[Times]:
        found = fits(run, running[key]) if key in running else None
        if found is None:
            running.pop(key, None)
        return found or []

    for key in progress([*calls], lambda _: f"{label}, warm-up"):
        measured(key, lambda call: [lap(call, device)])
    round_s = time.perf_counter() - began + len(calls) * effort.turn_s
    least, most = effort.rounds
    for key in progress([*calls] * min(most, max(least, int(effort.budget_s / round_s))), lambda _: label):
        laps[key] += measured(key, lambda call: turn(call, device, effort.turn_s))
    return {key: medians(laps[key]) if key in running else None for key in calls}


def turn(call: Call, device: torch.device, turn_s: float) -> list[Times]:
    """One or more laps; on an accelerator without what others left in its allocator."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        call()
    end, laps = time.perf_counter() + turn_s, [lap(call, device)]
    while time.perf_counter() < end:
        laps.append(lap(call, device))
    return laps


def lap(call: Call, device: torch.device) -> Times:
    """One call, and all that it has the device do."""
    finish(device)
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    finish(device)
    return Times(1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu))


def finish(device: torch.device) -> None:
    """Wait for an accelerator; a CPU is done when it returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def medians(laps: Sequence[Times]) -> Times:
    """Over laps, wall and CPU time each."""
    return Times(median(lap.wall_ms for lap in laps), median(lap.cpu_ms for lap in laps))
