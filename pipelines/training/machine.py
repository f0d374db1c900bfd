"""What a training runs on."""

import os
import resource

import torch

BYTES_PER_MB = 1e6


def machine_of(device: torch.device) -> str:
    """The name of the accelerator, or of the CPU as far as it gives one."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name", "unknown"))


def usable_cores() -> int:
    """Cores that this process may run on; all of them where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held so far: the allocator's on an accelerator, the process's resident set otherwise.

    Of the whole process: runs that follow each other in a job without workers see the peak of those before.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / BYTES_PER_MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / BYTES_PER_MB
