"""What is measured in turns: a way to score images of one size at one latency."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.scoring.data import MANY, Images
from benchmarks.scoring.ways import Cost, Said, Way
from benchmarks.storage import Storage


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
    said: Said = field(default_factory=dict)

    @property
    def label(self) -> str:
        """For who waits."""
        return f"{self.way.name}, {self.images.side}{self.images.kind}, {self.latency_ms:.0f} ms, {self.how_many}"

    def measure(self) -> None:
        """Once more."""
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
            "all MB": each.all_mb or None,
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
