"""The most memory that training takes at batch 1, over what the process held with its images but without a model."""

import ctypes
import gc
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch

from ats_core.heap import keep_freed_memory
from benchmarks.step.cases import Case
from benchmarks.step.timing import fits
from benchmarks.step.trainer import CPU, Pixels, Trainer

T = TypeVar("T")

STEPS = 2  # the second has Adam's state from its start
ENOUGH_S = 30.0  # fewer processes than asked for once so long has passed
PRELOADED = ["benchmarks.step.trainer", "torch._dynamo"]  # imported once for all; the latter an optimiser imports
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_mb(case: Case, device: torch.device, processes: int) -> float | None:
    """Weights, gradients, Adam's state, views, patches and activations; MB of 10^6 bytes.

    On an accelerator that of its allocator. On a CPU that of a process of its own, the median over some, as the shape
    of a heap that is kept varies, by a third for the largest models; None where it is not Linux that counts the pages,
    and where memory does not last.
    """
    if device.type == "cuda":
        return fits(_allocated_mb, case, device)
    return fits(_of_processes, case, processes) if CLEAR.exists() else None


def _of_processes(case: Case, processes: int) -> float:
    end, peaks = time.perf_counter() + ENOUGH_S, []
    while not peaks or (len(peaks) < processes and time.perf_counter() < end):
        peaks.append(in_own_process(_resident_mb, case))
    return median(peaks)


def in_own_process(work: Callable[..., T], *args: Any) -> T:
    """What it returns of `args`, in a process that has done nothing yet."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(1, mp_context=server) as pool:
        return pool.submit(work, *args).result()


def _allocated_mb(case: Case, device: torch.device) -> float:
    pixels = Pixels(case, 1, distinct=1)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    base = torch.cuda.memory_allocated(device)
    _train(case, pixels, device)
    return (torch.cuda.max_memory_allocated(device) - base) / 1e6


def _resident_mb(case: Case) -> float:
    """Growth of this process, which has done nothing yet."""
    torch.set_num_threads(1)
    keep_freed_memory()
    small = _small(case)
    _train(small, Pixels(small, 2, distinct=2), CPU)  # pages of libraries, and what these make once
    pixels = Pixels(case, 1, distinct=1)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR.write_text("5")  # the peak so far is forgotten
    base = _status_mb("VmRSS")
    _train(case, pixels, CPU)
    return _status_mb("VmHWM") - base


def _train(case: Case, pixels: Pixels, device: torch.device) -> None:
    trainer = Trainer(case, pixels, device)
    for _ in range(STEPS):
        trainer.step()


def _small(case: Case) -> Case:
    """The same model with next to nothing to do."""
    recipe = replace(case.recipe, view_size=(64, 64), n_patches=1, mil_grid=(1, 1))
    return replace(case, recipe=recipe, image_size=(128, 128))


def _status_mb(name: str) -> float:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6
