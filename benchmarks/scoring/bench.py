"""What there is to measure with: an S3 server, images of three sizes in it, models, catalogs, drivers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import storage
from benchmarks.scoring import data
from benchmarks.scoring.data import FEW, MANY, Images, Nets
from benchmarks.scoring.driver import Driver, driver
from benchmarks.scoring.pillow import UNLIMITED
from benchmarks.scoring.ways import catalog_uri


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is to measure."""

    sides: tuple[int, int, int] = (1_500, 8_192, 20_000)
    many: tuple[int, int, int] = (400, 256, 64)
    """Images of each side that are scored in one run: what a start takes varies by more than few images cost."""
    many_jpegs: tuple[int, int, int] = (100, 16, 6)
    """The same of plain JPEG."""
    whole: tuple[int, int, int] = (32, 32, 8)
    """Of them those that are decoded as a whole, which takes no start-up off."""
    few: int = 4
    few_rounds: int = 3
    """Turns in which few are measured."""
    latencies_ms: tuple[float, ...] = (20.0, 0.0)
    """Of the first, that all are compared at; the claims are of it."""
    grid_rows: int = 16
    """Of a whole grid that are computed at most; the rest costs the same."""


SMOKE = Sizes((700, 1_000, 1_500), (12, 8, 4), (8, 4, 4), (4, 4, 4), 2, 1, (20.0,), 1)


@dataclass(frozen=True, slots=True)
class Bench:
    """All that is there to measure with."""

    storage: storage.Storage
    driver: Driver
    other: Driver
    """For Ray Data's own pipeline: what that leaves in the memory of workers is not ours."""
    nets: Nets
    light: Nets
    folder: Path
    pyramids: list[Images]
    jpegs: list[Images]

    @property
    def catalogs(self) -> Path:
        """Folder of the catalogs."""
        return self.folder / "catalogs"


@contextmanager
def prepared(folder: Path, sizes: Sizes) -> Iterator[Bench]:
    """Server, images, catalogs, model, and a driver that is ready."""
    served = folder / "weed"
    served.mkdir()
    with storage.running(served) as bucket:
        painted, few = data.scenes(), sizes.few
        pyramids = [
            data.pyramids(folder, painted, side, few=few, many=many)
            for side, many in zip(sizes.sides, sizes.many, strict=True)
        ]
        jpegs = [
            data.jpegs(folder, painted, side, few=few, many=many)
            for side, many in zip(sizes.sides, sizes.many_jpegs, strict=True)
        ]
        bucket.route(0.0)
        with driver(folder / "ours") as ours, driver(folder / "other", UNLIMITED) as other:
            bench = Bench(bucket, ours, other, *data.nets(folder), folder, pyramids, jpegs)
            _index(bench)
            yield bench


def _index(bench: Bench) -> None:
    """The catalogs that are scored, by the project's own job."""
    small, middle, _ = bench.pyramids
    wanted = [(images, MANY, bench.nets) for images in bench.pyramids]
    wanted += [(small, FEW, bench.nets), (middle, FEW, bench.light), (middle, MANY, bench.light)]
    for images, how_many, nets in wanted:
        out = catalog_uri(bench.catalogs, images, how_many, nets)
        bench.driver.ask("catalog", images=images.prefix(how_many), out=out, view_size=nets.view_size)
