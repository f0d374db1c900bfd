"""Images shared among plain processes, as many as cores, of one thread each; what it takes to begin is left out.

Each process first scores one image that it does not count.
"""

import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

import torch

from benchmarks.scoring.processes import peak_mb

PROCESSES = os.cpu_count() or 1
TIMEOUT_S = 600.0  # for all processes to have begun
Image = TypeVar("Image")
Scorer = Callable[[Sequence[Image]], dict[str, list[float]]]
"""Images -> the probabilities of each by its id, or nothing."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What some images took."""

    cpu_s: float
    wall_s: float
    worker_mb: float
    """The most that one process held."""
    probabilities: dict[str, list[float]]
    """By the id of the image."""


def score(make: Callable[[], Scorer[Image]], images: Sequence[Image]) -> Spent:
    """Score images, the first of each process not counted, by processes that each make a scorer.

    Raises:
        RuntimeError: a process has ended without a result.
    """
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(PROCESSES, timeout=TIMEOUT_S), spawn.Queue()
    shares = [list(images[k::PROCESSES]) for k in range(PROCESSES)]
    workers = [spawn.Process(target=_work, args=(share, make, barrier, results), daemon=True) for share in shares]
    for worker in workers:
        worker.start()
    found: list[Spent] = []
    while len(found) < PROCESSES:
        try:
            found.append(results.get(timeout=1.0))
        except queue.Empty:
            if codes := [worker.exitcode for worker in workers if worker.exitcode]:
                raise RuntimeError(f"a process has ended with {codes[0]}") from None
    for worker in workers:
        worker.join()
    return Spent(
        sum(spent.cpu_s for spent in found),
        max(spent.wall_s for spent in found),
        max(spent.worker_mb for spent in found),
        {image_id: said for spent in found for image_id, said in spent.probabilities.items()},
    )


def _work(images: Sequence[Image], make: Callable[[], Scorer[Image]], barrier: Barrier, results: Any) -> None:
    """One process."""
    torch.set_num_threads(1)
    scorer = make()
    scorer(images[:1])
    barrier.wait()
    cpu, wall = time.process_time(), time.perf_counter()
    said = scorer(images[1:])
    results.put(Spent(time.process_time() - cpu, time.perf_counter() - wall, peak_mb(), said))
