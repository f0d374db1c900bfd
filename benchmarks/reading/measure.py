"""What a reader costs and how fast it is, whoever's reader it is."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.reading.data import Data, Sample
from benchmarks.storage import Storage
from pipelines.storage.layouts import ImageRef
from pipelines.storage.ranges import ByteRange, fetch
from pipelines.storage.stats import Counters
from tests.s3.proxy import round_trips

TILE_BYTES = 16_384  # about those of a tile

Read = Callable[[Sequence[int], np.ndarray], np.ndarray]
"""A `Sample` -> its patches, uint8 [B, N, P, P, C]."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the patches of one image."""

    requests: int
    read: int
    """Bytes that the client was sent."""
    touched: int
    """Bytes of the tiles that the patches touch."""
    trips: int
    """The longest chain of requests, each after another's end."""
    cpu_s: float
    wall_s: float


def costs(read: Read, data: Data, storage: Storage, samples: Sequence[Sample]) -> Iterator[Cost]:
    """Of samples of one image each, one after the other, through the proxy."""
    for (number,), starts_1N2 in samples:
        storage.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        read([number], starts_1N2)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        log = storage.log()
        sent, touched = sum(passed.sent for passed in log), data.touched_bytes(number, starts_1N2[0])
        yield Cost(len(log), sent, touched, round_trips(log), cpu, wall)


def images_per_second(read: Read, samples: Sequence[Sample]) -> float:
    """A call a sample."""
    began = time.perf_counter()
    for numbers, starts_BN2 in samples:
        read(numbers, starts_BN2)
    return sum(len(numbers) for numbers, _ in samples) / (time.perf_counter() - began)


def requests_per_second(image: ImageRef, requests: int) -> float:
    """How many requests for TILE_BYTES pass in a second when nothing is done with them: the most any reader can get."""
    starts = np.random.default_rng(0).integers(image.n_bytes - 2 * TILE_BYTES, size=requests).tolist()
    began = time.perf_counter()
    for future in fetch([ByteRange(image.uri, start, start + TILE_BYTES) for start in starts], Counters()):
        future.result()
    return requests / (time.perf_counter() - began)


def summed(costs: Sequence[Cost]) -> dict[str, float]:
    """Means over images of what is counted, medians of times and of round trips."""
    return {
        "requests": sum(cost.requests for cost in costs) / len(costs),
        "kB": sum(cost.read for cost in costs) / len(costs) / 1000,
        "bytes ratio": sum(cost.read for cost in costs) / sum(cost.touched for cost in costs),
        "round trips": float(median(cost.trips for cost in costs)),
        "CPU ms": 1000 * median(cost.cpu_s for cost in costs),
    }
