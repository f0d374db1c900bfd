"""What a step takes where freed memory goes back to the kernel, as glibc has it, over a step where it is kept."""

import resource
from collections.abc import Mapping
from statistics import median

import torch

from ats_core.heap import keep_freed_memory
from benchmarks.record import progress
from benchmarks.step.cases import Case
from benchmarks.step.costs import Rows, trainer
from benchmarks.step.memory import in_own_process
from benchmarks.step.timing import Effort, fits
from benchmarks.step.trainer import CPU

STEPS = 3
"""Of one process, of which the first warms up."""


def rows(cases: Mapping[str, Case], batches: Mapping[str, int], effort: Effort) -> Rows:
    """A row a task: CPU ms of a sample, in user code and in the kernel, in processes of their own, in turns."""
    return [
        {"task": task, "model": case.method, "batch": batches[task]}
        | (fits(_of_processes, case, batches[task], effort) or {})
        for task, case in progress([*cases.items()], lambda item: f"{item[0]}, {item[1].method}, heap")
    ]


def _of_processes(case: Case, batch: int, effort: Effort) -> dict[str, float]:
    laps: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for _ in range(effort.processes):
        for kept, of_kind in laps.items():
            of_kind.append(in_own_process(_cpu_ms, case, batch, kept))
    kept_ms, given_back_ms = ([median(part) for part in zip(*laps[kind], strict=True)] for kind in (True, False))
    return {
        "CPU ms": sum(kept_ms),
        "of it kernel": kept_ms[1],
        "given back: CPU ms": sum(given_back_ms),
        "of that kernel": given_back_ms[1],
        "ratio": sum(given_back_ms) / sum(kept_ms),
    }


def _cpu_ms(case: Case, batch: int, kept: bool) -> tuple[float, float]:
    """User and kernel ms of a sample, of this process, which has done nothing yet."""
    torch.set_num_threads(1)
    if kept:
        keep_freed_memory()
    one = trainer(case, batch, CPU)
    one.step()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(STEPS - 1):
        one.step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    per_sample = 1000 / ((STEPS - 1) * batch)
    return (after.ru_utime - before.ru_utime) * per_sample, (after.ru_stime - before.ru_stime) * per_sample
