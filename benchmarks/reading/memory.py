"""The most memory that a fresh process holds while it reads patches of one image."""

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from pipelines.storage.layouts import ImageRef
from pipelines.storage.patches import PatchReader

READS, PATCHES, PATCH = 10, 10, 100


def peak_mb(image: ImageRef) -> tuple[float, float]:
    """Peak of a process of its own, MB: before it reads, and after READS reads of PATCHES patches."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(_read, image).result()


def _read(image: ImageRef) -> tuple[float, float]:
    before, reader, rng = _peak_mb(), PatchReader(PATCH, cache_mb=0), np.random.default_rng(0)
    for _ in range(READS):
        reader.read([image], rng.integers(PATCH, image.height - PATCH, (1, PATCHES, 2)))
    return before, _peak_mb()


def _peak_mb() -> float:
    """Of this process alone: on Linux ru_maxrss begins with what the parent held."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: bytes
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6
