"""The memory that a training takes: at most, and for one more image of a batch."""

import ctypes
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from pipelines.training.machine import BYTES_PER_MB

PEAK = Path("/proc/self/clear_refs")
RESIDENT = Path("/proc/self/statm")

T = TypeVar("T")


class MemoryMeter:
    """The peaks of one training: allocator's on an accelerator, resident set of the process otherwise."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before_mb = 0.0

    def peak_mb(self) -> float:
        """The most held so far, in MB of 10^6 bytes; of the whole process, unless `forget_peak` was called."""
        return max(self._before_mb, peak_memory_mb(self.device))

    def growth_mb(self, work: Callable[[], T]) -> tuple[T, float | None]:
        """Do some work: its result, and the most that was held at once beyond what was held before, in MB.

        None where the process's own pages count and the system does not say (it is not Linux). What other threads
        take meanwhile, such as patches that are read ahead, is counted too.
        """
        self._before_mb = self.peak_mb()
        if self.device.type == "cpu":
            give_back(self.device)  # what was freed but kept would hide as much growth
        if not forget_peak(self.device):
            return work(), None
        before_mb = held_memory_mb(self.device)
        result = work()
        return result, max(0.0, peak_memory_mb(self.device) - before_mb)


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held since the start or `forget_peak`: the allocator's, or the resident set of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / BYTES_PER_MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / BYTES_PER_MB


def held_memory_mb(device: torch.device) -> float:
    """What `peak_memory_mb` is the peak of, now; on a CPU on Linux alone."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / BYTES_PER_MB
    return int(RESIDENT.read_text().split()[1]) * resource.getpagesize() / BYTES_PER_MB


def give_back(device: torch.device) -> None:
    """Return to the system what nobody holds: glibc keeps it, 100 MB a training, and so does the GPU's allocator."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def forget_peak(device: torch.device) -> bool:
    """Let `peak_memory_mb` begin anew; False where the system has no such thing."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    if not os.access(PEAK, os.W_OK):
        return False
    PEAK.write_text("5")  # the kernel's word for: forget the largest resident set so far
    return True
