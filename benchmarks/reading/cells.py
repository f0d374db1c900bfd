"""What is measured in turns, so that a machine that is busy for a while is busy for all: a row of a table each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from statistics import median
from typing import Any, Protocol

import numpy as np

from benchmarks.reading import local, readers
from benchmarks.reading.data import Data, Sample
from benchmarks.reading.measure import Cost, Read, costs, images_per_second, summed
from benchmarks.storage import Storage

LATENCIES_MS = (0.0, 20.0)
CALLS = {1: 8, 16: 2, 64: 1}  # of so many images at once, in each round
LOCAL_CALLS = 15
PEERS_PATCHES, PEERS_LATENCY_MS, PEERS_AT_ONCE = 10, 20.0, 16
PEERS_CALLS, PEERS_ROUNDS = 2, 2
SLOW_S = 1.0  # an image: not asked for many at once


class Cell(Protocol):
    """One row in the making."""

    @property
    def label(self) -> str:
        """For who waits."""

    def measure(self, turn: int) -> None:
        """Once more."""

    def row(self) -> dict[str, Any]:
        """Medians of all turns."""


@dataclass(slots=True, eq=False)
class Ours:
    """PatchReader over S3. Without latency its speed is that without the proxy, which does not count it then."""

    storage: Storage
    data: Data
    n: int
    latency_ms: float
    one_thread: Read
    threads: Read
    costs: list[Cost] = field(default_factory=list)
    speeds: dict[int, list[float]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Of what is measured."""
        return f"PatchReader, {self.data.name}, {self.n} patches, {self.latency_ms:.0f} ms"

    def measure(self, turn: int) -> None:
        """Costs with one thread that decodes, speed with as many as the reader likes."""
        rng = np.random.default_rng((turn, self.n))
        self.storage.route(self.latency_ms)
        ones = [self.data.sample(rng, 1, self.n) for _ in range(CALLS[1])]
        self.one_thread(*ones[0])  # connects
        self.costs += costs(self.one_thread, self.data, self.storage, ones)
        self.storage.route(self.latency_ms or None)
        self.threads(*ones[0])
        for at_once, calls in CALLS.items():
            if at_once <= len(self.data.images):
                samples = [self.data.sample(rng, at_once, self.n) for _ in range(calls)]
                self.speeds.setdefault(at_once, []).append(images_per_second(self.threads, samples))

    def row(self) -> dict[str, Any]:
        """Round trips mean nothing where none takes time."""
        row: dict[str, Any] = {"data": self.data.name, "patches": self.n, "latency ms": self.latency_ms}
        row |= summed(self.costs) | ({} if self.latency_ms else {"round trips": None})
        speeds = {at_once: self.speeds.get(at_once) for at_once in CALLS}
        return row | {f"images/s, {at_once} at once": found and median(found) for at_once, found in speeds.items()}


@dataclass(slots=True, eq=False)
class Peer:
    """A reader beside others on the same patches."""

    storage: Storage
    data: Data
    name: str
    read: Read
    ones: list[Sample]
    many: Sample
    costs: list[Cost] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Of what is measured."""
        return f"{self.name}, {self.data.name}"

    def measure(self, turn: int) -> None:
        """The turn's images one after the other, then many at once."""
        if turn >= PEERS_ROUNDS:
            return
        self.storage.route(PEERS_LATENCY_MS)
        samples = self.ones[turn * PEERS_CALLS :][:PEERS_CALLS]
        self.costs += costs(self.read, self.data, self.storage, samples)
        if median(cost.wall_s for cost in self.costs) < SLOW_S:
            self.speeds.append(images_per_second(self.read, [self.many]))

    def row(self) -> dict[str, Any]:
        """Many at once only where one is not slow."""
        row = {"data": self.data.name, "reader": self.name, **summed(self.costs)}
        row["images/s, 1 at once"] = 1 / median(cost.wall_s for cost in self.costs)
        return row | {f"images/s, {len(self.many[0])} at once": median(self.speeds) if self.speeds else None}


@dataclass(slots=True, eq=False)
class Local:
    """PatchReader and pyvips in turns on local files."""

    data: Data
    n: int
    ours: Read
    theirs: Read
    cpu_ms: list[tuple[float, float]] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Of what is measured."""
        return f"local files, {self.data.name}, {self.n} patches"

    def measure(self, turn: int) -> None:
        """A few images, each by both."""
        rng = np.random.default_rng((turn, self.n))
        for call in range(LOCAL_CALLS):
            (number,), starts_1N2 = self.data.sample(rng, 1, self.n)
            sample = [number % len(self.data.paths)], starts_1N2
            order = (self.ours, self.theirs)[:: 1 if call % 2 else -1]  # the second finds bytes in the caches
            spent = {read: local.cpu_ms(read, sample) for read in order}
            self.cpu_ms.append((spent[self.ours], spent[self.theirs]))

    def row(self) -> dict[str, Any]:
        """CPU of either, and the median of the ratios."""
        ours, theirs = (median(times) for times in zip(*self.cpu_ms, strict=True))
        ratio = median(a / b for a, b in self.cpu_ms)
        return {"data": self.data.name, "patches": self.n, "CPU ms": ours, "pyvips CPU ms": theirs, "ratio": ratio}


def ours(storage: Storage, datas: Sequence[Data], patches: Sequence[int]) -> list[Ours]:
    """A cell a kind of image, number of patches and latency."""
    found = []
    for data in datas:
        one, threads = (readers.ours(data.images, data.patch, **how) for how in ({"threads": 1}, {}))
        found += [Ours(storage, data, n, ms, one, threads) for n, ms in product(patches, LATENCIES_MS)]
    return found


def peer(storage: Storage, data: Data, name: str) -> Peer:
    """A reader that has read for the first time, beside others; readers.Unfit for one that cannot."""
    rng = np.random.default_rng(1)
    at_once = min(PEERS_AT_ONCE, len(data.images))
    ones = [data.sample(rng, 1, PEERS_PATCHES) for _ in range(PEERS_CALLS * PEERS_ROUNDS)]
    many = data.sample(rng, at_once, PEERS_PATCHES)
    storage.route(PEERS_LATENCY_MS)
    return Peer(storage, data, name, readers.fitting(name, data, [*ones, many]), ones, many)


def local_files(data: Data, patches: Sequence[int]) -> Iterator[Local]:
    """A cell a number of patches; readers.Unfit without pyvips."""
    ours, theirs = local.patch_reader(data), local.pyvips(data)
    for n in patches:
        yield Local(data, n, ours, theirs)
