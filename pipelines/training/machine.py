"""What a training runs on."""

import os

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
