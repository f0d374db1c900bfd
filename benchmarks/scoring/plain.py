"""Images shared among plain processes, as many as cores, of one thread each; what it takes to begin is left out."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

import torch

from benchmarks.scoring.processes import peak_mb

PROCESSES = os.cpu_count() or 1
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


def score(make: Callable[[], Scorer[Image]], images: Sequence[Image], processes: int = PROCESSES) -> Spent:
    """Score images by processes that each make a scorer, and try it with one image that is not counted."""
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(processes), spawn.SimpleQueue()
    shares = [list(images[k::processes]) for k in range(processes)]
    workers = [spawn.Process(target=_work, args=(share, make, barrier, results)) for share in shares]
    for worker in workers:
        worker.start()
    found: list[Spent] = [results.get() for _ in workers]
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
    said = scorer(images)
    results.put(Spent(time.process_time() - cpu, time.perf_counter() - wall, peak_mb(), said))
