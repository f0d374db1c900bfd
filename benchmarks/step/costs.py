"""ms a sample and images a second of all models of a task."""

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.step.cases import Case
from benchmarks.step.timing import Call, Effort, Times, in_turns, lap, medians, turn
from benchmarks.step.trainer import Pixels, Trainer

Rows = list[dict[str, Any]]

GROWTH = 1.1  # of images/s, for which a batch is doubled
STEP_MS = 1000  # on a CPU a batch takes no longer


def trainer(case: Case, batch: int, device: torch.device) -> Trainer:
    """Of random pixels."""
    return Trainer(case, Pixels(case, batch), device)


def reading(trainer: Trainer) -> Call:
    """What a step reads: views, and the patches of one and the same draw."""
    draw = trainer.propose(trainer.see())

    def read() -> None:
        trainer.see()
        trainer.read(draw)

    return read


def saturating_batch(case: Case, device: torch.device, effort: Effort) -> int:
    """From where on more images at once are not faster; on a CPU a fixed one, or less where that takes a second."""
    if device.type != "cpu":
        return _doubled(case, device, effort)
    step, batch = trainer(case, 1, device).step, effort.cpu_batch
    step_ms = lap(step, device).of(device)
    if step_ms < 2 * STEP_MS:  # the first takes longer than the next
        step_ms = lap(step, device).of(device)
    while batch > 1 and batch * step_ms > STEP_MS:
        batch //= 2
    return batch


def _doubled(case: Case, device: torch.device, effort: Effort) -> int:
    """Doubled while images/s grow and memory lasts."""
    batch, best = 1, _images_per_second(case, 1, device, effort)
    while batch < effort.accelerator_batch:
        try:
            speed = _images_per_second(case, 2 * batch, device, effort)
        except torch.OutOfMemoryError:
            break
        if speed < GROWTH * best:
            break
        batch, best = 2 * batch, speed
    return batch


def _images_per_second(case: Case, batch: int, device: torch.device, effort: Effort) -> float:
    step = trainer(case, batch, device).step
    step()
    return 1000 * batch / medians(turn(step, device, effort.turn_s)).wall_ms


def rows(cases: Sequence[Case], device: torch.device, effort: Effort, label: str) -> Rows:
    """A row a model, all measured in turns; without memory, which needs processes of its own."""
    batches = {case.method: saturating_batch(case, device, effort) for case in cases}
    calls: dict[tuple[str, int, str], Call] = {}
    for case in cases:
        for batch in sorted({1, batches[case.method]}):
            one = trainer(case, batch, device)
            calls[case.method, batch, "step"] = one.step
            if batch == 1:
                calls[case.method, batch, "read"] = reading(one)
    times = in_turns(calls, device, effort, label)
    return [_row(case, times, batches[case.method]) for case in cases]


def _row(case: Case, times: dict[tuple[str, int, str], Times], batch: int) -> dict[str, Any]:
    single, saturated = times[case.method, 1, "step"], times[case.method, batch, "step"].over(batch)
    return {
        "model": case.method,
        "paper ms": case.paper_ms,
        "ms": single.wall_ms,
        "CPU ms": single.cpu_ms,
        "read ms": times[case.method, 1, "read"].wall_ms,
        "batch": batch,
        "ms in it": saturated.wall_ms,
        "CPU ms in it": saturated.cpu_ms,
        "images/s": 1000 / saturated.wall_ms,
        "paper MB": case.paper_mb,
    }
