"""Ways to score: this project's, and others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchmarks.scoring import data, plain
from benchmarks.scoring.data import Images, Nets
from benchmarks.scoring.driver import Driver
from benchmarks.scoring.plain import PROCESSES
from benchmarks.scoring.rows import rows_of
from benchmarks.scoring.whole_grid import WholeGrid, rows_of_grid
from benchmarks.scoring.whole_images import WholeImages
from benchmarks.storage import Storage
from pipelines.report.runs import catalog_rows
from pipelines.storage.layouts import ImageRef

ACTORS = max(1, PROCESSES // 2)  # of each of our stages: as many in short runs as in long ones, so that these compare
BLOCK = 8  # images that go through together: of a few large ones, more would leave processes without work

T = TypeVar("T")
Said = dict[str, list[float]]
"""Probabilities of images by their ids."""


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
    nets: Nets

    def measure(self, images: Images, how_many: str) -> tuple[Cost, Said]:
        """What images of a prefix cost, and the probabilities of each by its id."""


@dataclass(slots=True)
class Ours:
    """This project's job, without a catalog or with the one that lies in a folder."""

    driver: Driver
    storage: Storage
    nets: Nets
    folder: Path
    catalogs: Path | None = None
    runs: int = 0

    @property
    def name(self) -> str:
        """Of the rows."""
        return ("ours, catalog" if self.catalogs else "ours") + self.nets.name

    def measure(self, images: Images, how_many: str) -> tuple[Cost, Said]:
        """As `Way` says."""
        self.runs += 1
        out = str(self.folder / f"{self.name}-{images.side}-{self.runs}")
        where = catalog_uri(self.catalogs, images, how_many, self.nets) if self.catalogs else images.prefix(how_many)
        self.storage.clear()
        actors = dict.fromkeys(("propose_actors", "read_actors", "classify_actors"), ACTORS)
        answer = self.driver.ask("score", model=self.nets.uri, images=where, out=out, batch_size=BLOCK, **actors)
        cost = _cost(images.counts[how_many], answer, self.storage)
        return cost, {row["image_id"]: row["probabilities"] for row in rows_of(out)}


@dataclass(slots=True)
class ReadImages:
    """Ray Data's own."""

    driver: Driver
    storage: Storage
    nets: Nets
    name: str = "Ray Data read_images"

    def measure(self, images: Images, how_many: str) -> tuple[Cost, Said]:
        """As `Way` says."""
        self.storage.clear()
        prefix = images.prefix(how_many)
        answer = self.driver.ask("read_images", prefix=prefix, model=self.nets.uri, side=images.side)
        return _cost(images.counts[how_many], answer, self.storage), answer.result


@dataclass(slots=True)
class Whole:
    """Plain processes that download and decode at most so many images."""

    storage: Storage
    nets: Nets
    at_most: int

    @property
    def name(self) -> str:
        """Of the rows."""
        return "whole image" + self.nets.name

    def measure(self, images: Images, how_many: str) -> tuple[Cost, Said]:
        """As `Way` says."""
        uris = images.uris(how_many)[: self.at_most + PROCESSES]
        return _plain(partial(WholeImages, self.nets.uri), uris, self.storage)


@dataclass(slots=True)
class Grid:
    """Plain processes, each with the first rows of the grid of one image, of which the others cost as much."""

    storage: Storage
    nets: Nets
    catalogs: Path
    """Where the images are found."""
    rows: int
    """At most."""
    name: str = "whole grid"

    def measure(self, images: Images, how_many: str) -> tuple[Cost, Said]:
        """As `Way` says."""
        all_rows = rows_of_grid(images.side)
        rows = min(self.rows, all_rows)
        chosen = references(self.catalogs, images, how_many, self.nets)[: 2 * PROCESSES]
        cost, said = _plain(partial(WholeGrid, images.side, rows), chosen, self.storage)
        spent = {name: getattr(cost, name) * all_rows / rows for name in ("wall_s", "cpu_s", "requests", "read_mb")}
        return replace(cost, **spent), said


def catalog_uri(catalogs: Path, images: Images, how_many: str, nets: Nets) -> str:
    """Of the catalog of a prefix, with views for some nets."""
    return str(catalogs / f"{images.side}-{how_many}-{nets.view_size[0]}")


def references(catalogs: Path, images: Images, how_many: str, nets: Nets) -> list[ImageRef]:
    """The images of a prefix, as their catalog has them."""
    ids, names = [data.name(k, images.kind) for k in range(images.counts[how_many])], ImageRef.__slots__
    rows = catalog_rows(catalog_uri(catalogs, images, how_many, nets), ids, ["image_id", *names]).to_pylist()
    return [ImageRef(**{name: row[name] for name in names}) for row in rows]


def _plain(make: Callable[[], plain.Scorer[T]], images: Sequence[T], storage: Storage) -> tuple[Cost, Said]:
    """Of plain processes, the first image of each not counted."""
    storage.clear()
    spent, n = plain.score(make, images), len(images) - PROCESSES
    requests, read_mb = _passed(storage)
    share = n / len(images)
    return Cost(n, spent.wall_s, spent.cpu_s, requests * share, read_mb * share, spent.worker_mb), spent.probabilities


def _cost(images: int, answer: Any, storage: Storage) -> Cost:
    memory = (answer.worker_mb, answer.driver_mb, answer.all_mb)
    return Cost(images, answer.wall_s, answer.cpu_s, *_passed(storage), *memory)


def _passed(storage: Storage) -> tuple[int, float]:
    """Requests and MB that have passed the proxy since it was cleared."""
    log = storage.log()
    return len(log), sum(passed.sent for passed in log) / 1e6
