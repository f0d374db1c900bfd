"""What is measured in turns: scoring by this project, and by others, of images of one size at one latency."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from benchmarks.scoring import whole_images
from benchmarks.scoring.data import MANY, Images
from benchmarks.scoring.driver import Driver
from benchmarks.scoring.rows import rows_of
from benchmarks.storage import Storage

PROCESSES = os.cpu_count() or 1  # of the plain baseline
ACTORS = max(1, PROCESSES // 2)  # of each of our stages: as many in short runs as in long ones, so that these compare
WHOLE = 32  # images at most that are decoded as a whole, which takes no start-up off
BLOCK = 8  # images that go through together: of a few large ones, more would leave processes without work


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a number of images."""

    images: int
    wall_s: float
    cpu_s: float
    requests: float
    read_mb: float
    worker_mb: float
    """The largest that one process was that works on images."""
    driver_mb: float = 0.0
    all_mb: float = 0.0
    """The most that all processes were together, shared pages counted once."""

    def each(self, startup_wall_s: float = 0.0, startup_cpu_s: float = 0.0) -> "Cost":
        """Of one image, without what it takes to begin."""
        n, memory = self.images, (self.worker_mb, self.driver_mb, self.all_mb)
        times = [(self.wall_s - startup_wall_s) / n, (self.cpu_s - startup_cpu_s) / n]
        return Cost(1, *times, self.requests / n, self.read_mb / n, *memory)


class Way(Protocol):
    """A way to score."""

    name: str

    def measure(self, images: Images, how_many: str) -> tuple[Cost, dict[str, list[float]]]:
        """What images of a prefix cost, and the probabilities of each by its id."""


@dataclass(slots=True)
class Ours:
    """This project's job, without a catalog or with the one that lies in a folder."""

    driver: Driver
    storage: Storage
    model: str
    folder: Path
    catalogs: Path | None = None
    runs: int = 0

    @property
    def name(self) -> str:
        """Of the rows."""
        return "ours, catalog" if self.catalogs else "ours"

    def measure(self, images: Images, how_many: str) -> tuple[Cost, dict[str, list[float]]]:
        """As `Way` says."""
        self.runs += 1
        out = str(self.folder / f"{self.name}-{images.side}-{self.runs}")
        where = str(self.catalogs / catalog_name(images, how_many)) if self.catalogs else images.prefix(how_many)
        self.storage.clear()
        actors = dict.fromkeys(("propose_actors", "read_actors", "classify_actors"), ACTORS)
        answer = self.driver.ask("score", model=self.model, images=where, out=out, batch_size=BLOCK, **actors)
        cost = _cost(images.counts[how_many], answer, self.storage)
        return cost, {row["image_id"]: row["probabilities"] for row in rows_of(out)}


@dataclass(slots=True)
class ReadImages:
    """Ray Data's own."""

    driver: Driver
    storage: Storage
    model: str
    name: str = "Ray Data read_images"

    def measure(self, images: Images, how_many: str) -> tuple[Cost, dict[str, list[float]]]:
        """As `Way` says."""
        self.storage.clear()
        answer = self.driver.ask("read_images", prefix=images.prefix(how_many), model=self.model)
        return _cost(images.counts[how_many], answer, self.storage), answer.result


@dataclass(slots=True)
class Whole:
    """Plain processes that download and decode. Their start-up is left out by themselves."""

    storage: Storage
    model: str
    processes: int = PROCESSES
    name: str = "whole image"

    def measure(self, images: Images, how_many: str) -> tuple[Cost, dict[str, list[float]]]:
        """As `Way` says."""
        uris = images.uris(how_many)[:WHOLE]
        self.storage.clear()
        spent = whole_images.score(uris, self.model, self.processes)
        requests, read_mb = _passed(self.storage)
        share = len(uris) / (len(uris) + min(self.processes, len(uris)))  # each warms up with one image
        cost = Cost(
            len(uris), spent.wall_s, spent.cpu_s, round(requests * share), read_mb * share, spent.worker_mb,
            all_mb=spent.worker_mb * self.processes,
        )  # fmt: skip
        return cost, spent.probabilities


def catalog_name(images: Images, how_many: str) -> str:
    """Of the folder with the catalog of a prefix."""
    return f"{images.side}-{how_many}"


def _cost(images: int, answer: Any, storage: Storage) -> Cost:
    memory = (answer.worker_mb, answer.driver_mb, answer.all_mb)
    return Cost(images, answer.wall_s, answer.cpu_s, *_passed(storage), *memory)


def _passed(storage: Storage) -> tuple[int, float]:
    """Requests and MB that have passed the proxy since it was cleared."""
    log = storage.log()
    return len(log), sum(passed.sent for passed in log) / 1e6


@dataclass(slots=True, eq=False)
class Cell:
    """A row of the table in the making."""

    way: Way
    images: Images
    latency_ms: float
    storage: Storage
    rounds: int
    """Turns in which it is measured."""
    how_many: str = MANY
    startup: "Startup | None" = None
    """Of the way, where it is in the costs."""
    costs: list[Cost] = field(default_factory=list)
    said: dict[str, list[float]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """For who waits."""
        return f"{self.way.name}, {self.images.side}{self.images.kind}, {self.latency_ms:.0f} ms, {self.how_many}"

    def measure(self, turn: int) -> None:
        """Once more."""
        if turn < self.rounds:
            self.storage.route(self.latency_ms)
            cost, self.said = self.way.measure(self.images, self.how_many)
            self.costs.append(cost)

    def total(self) -> Cost:
        """Of all its images: medians of the turns."""
        return Cost(**{name: median(getattr(cost, name) for cost in self.costs) for name in Cost.__slots__})

    def each(self) -> Cost:
        """Of one image, start-up left out."""
        return self.total().each(*(self.startup.seconds() if self.startup else ()))

    def row(self) -> dict[str, Any]:
        """For the table."""
        each = self.each()
        return {
            "side": self.images.side,
            "latency ms": self.latency_ms,
            "way": self.way.name + (" (JPEG)" if self.images.kind == ".jpg" else ""),
            "images/s": 1 / each.wall_s,
            "MB/image": each.read_mb,
            "of file": each.read_mb * 1e6 / self.images.n_bytes,
            "requests": each.requests,
            "CPU s/image": each.cpu_s,
            "worker MB": each.worker_mb,
            "driver MB": each.driver_mb or None,
            "all MB": each.all_mb,
        }


@dataclass(slots=True, eq=False)
class Startup:
    """What a way takes before it has begun: that of few images, less what so many cost where they are many."""

    few: Cell
    many: Cell
    """Of the same images."""

    def seconds(self) -> tuple[float, float]:
        """On the clock, and of all processors."""
        few, many = self.few.total(), self.many.total()
        n = few.images / (many.images - few.images)
        return few.wall_s - n * (many.wall_s - few.wall_s), few.cpu_s - n * (many.cpu_s - few.cpu_s)
