"""What scoring an image costs, from small to huge, beside what a competent engineer would write without this project.

    whole image   download it, decode it, make the view, cut the patches: plain processes, as many as cores
    read_images   Ray Data's own, on the same pixels as JPEG: it opens what Pillow opens, and keeps what it has decoded
    whole grid    Deep MIL: every patch of the full resolution

An S3 server of its own on loopback, behind a proxy that counts and delays; neither is in anybody's CPU time, but they
run on the same cores. CPU time is that of all processes of a way, Ray's own included. What a run takes before it has
begun (Ray's actors import torch) is measured by a run of a few images and taken off, and told apart.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from ats_core import bundle
from benchmarks import storage
from benchmarks.record import RESULTS, progress, record, rounded, table
from benchmarks.scoring import claims, data, limits, whole_grid
from benchmarks.scoring.cells import Cell, Ours, ReadImages, Startup, Way, Whole, catalog_name
from benchmarks.scoring.data import FEW, MANY, Images
from benchmarks.scoring.driver import Driver, driver
from pipelines.report.runs import catalog_rows
from pipelines.storage.layouts import ImageRef

Rows = list[dict[str, Any]]
CLOSE = 1e-3  # of probabilities of the same pixels


@dataclass(frozen=True, kw_only=True)
class Options:
    """What scoring costs: a table, then one line of JSON. 15 minutes on two quiet cores, 15 GB of temporary files."""

    rounds: int = 1
    """Everything at 20 ms is measured in turns, so often, and at 0 ms once; the table holds medians."""
    smoke: bool = False
    """Small images, few of them, and one round, to see that all of it runs; only kept where --results says."""
    results: Path | None = None
    """Folder for scoring.json, the record of the run."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is to measure."""

    sides: tuple[int, int, int] = (1_500, 8_192, 20_000)
    many: tuple[int, int, int] = (400, 256, 64)
    """Images of each side that are scored in one run: what a start takes varies by more than few images cost."""
    many_jpegs: tuple[int, ...] = (100, 8)
    """The same of plain JPEG, of the first sides."""
    few: int = 4
    few_rounds: int = 3
    """Turns in which few are measured."""
    latencies_ms: tuple[float, ...] = (20.0, 0.0)
    """Of the first, that all are compared at; the claims are of it."""
    grid_rows: int | None = 8
    """Of a whole grid that are computed; the rest costs the same."""


SMOKE = Sizes((700, 1_000, 1_500), (12, 8, 4), (8,), 2, 1, (20.0,), 1)


@dataclass(frozen=True, slots=True)
class Bench:
    """All that is there to measure with."""

    storage: storage.Storage
    driver: Driver
    other: Driver
    """For Ray Data's own pipeline: what that leaves in the memory of workers is not ours."""
    model: str
    folder: Path
    pyramids: list[Images]
    jpegs: list[Images]

    @property
    def catalogs(self) -> Path:
        """Folder of the catalogs."""
        return self.folder / "catalogs"


def main(options: Options) -> None:
    """Make the data, measure in turns, print the tables, keep the record."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of all processes
    torch.set_num_threads(1)
    sizes = SMOKE if options.smoke else Sizes()
    with tempfile.TemporaryDirectory(prefix="scoring-") as folder, prepared(Path(folder), sizes) as bench:
        tables, result = measured(bench, sizes, 1 if options.smoke else options.rounds)
    result = rounded(result)
    for title, rows in tables.items():
        print(f"{title}\n{table(rows)}\n")
    if options.smoke and options.results is None:
        print(json.dumps(result), flush=True)
    else:
        print(f"Goals\n{table(claims.beside_goals(result))}\n")
        record("scoring", result, rows=[row for rows in tables.values() for row in rows], to=options.results or RESULTS)


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
            for side, many in zip(sizes.sides, sizes.many_jpegs, strict=False)
        ]
        model = data.model(folder / "model")
        bucket.route(0.0)
        with driver(folder / "ours") as ours, driver(folder / "other") as other:
            bench = Bench(bucket, ours, other, model, folder, pyramids, jpegs)
            _index(bench)
            yield bench


def _index(bench: Bench) -> None:
    """Catalogs of all pyramids, by the project's own job."""
    view_size = bundle.load(bench.model)[1].view_size
    for images in bench.pyramids:
        for how_many in (FEW, MANY) if images is bench.pyramids[0] else (MANY,):
            out = str(bench.catalogs / catalog_name(images, how_many))
            bench.driver.ask("catalog", images=images.prefix(how_many), out=out, view_size=view_size)


def cells_of(bench: Bench, sizes: Sizes, rounds: int) -> tuple[list[Cell], list[Cell]]:
    """The start-ups, and the rows of the table, in the order in which they are measured in each turn."""
    out, latencies_ms = bench.folder / "out", sizes.latencies_ms
    ours: list[Way] = [
        Ours(bench.driver, bench.storage, bench.model, out),
        Ours(bench.driver, bench.storage, bench.model, out, bench.catalogs),
    ]
    whole, of_ray = Whole(bench.storage, bench.model), ReadImages(bench.other, bench.storage, bench.model)
    cases = [(way, images, ms) for ms in latencies_ms for images in bench.pyramids for way in ours]
    cases += [(whole, images, ms) for ms in latencies_ms for images in bench.pyramids[:2]]
    cases += [(way, images, latencies_ms[0]) for images in bench.jpegs for way in (whole, of_ray)]
    rows = [Cell(way, images, ms, bench.storage, rounds if ms else 1) for way, images, ms in cases]
    first: dict[str, Cell] = {}
    for cell in rows:
        first.setdefault(cell.way.name, cell)
    few = {
        name: Cell(cell.way, cell.images, cell.latency_ms, bench.storage, sizes.few_rounds, FEW)
        for name, cell in first.items()
        if cell.way is not whole
    }
    for cell in rows:
        if cell.way.name in few:
            cell.startup = Startup(few[cell.way.name], first[cell.way.name])
    return list(few.values()), rows


def measured(bench: Bench, sizes: Sizes, rounds: int) -> tuple[Mapping[str, Rows], dict[str, float | None]]:
    """The tables by title, and the claims."""
    few, cells = cells_of(bench, sizes, rounds)
    turns = [
        (turn, cell) for turn in range(max(rounds, sizes.few_rounds)) for cell in (*few, *cells) if turn < cell.rounds
    ]
    for turn, cell in progress(turns, lambda job: job[1].label):
        cell.measure(turn)
    rows = [cell.row() for cell in cells]
    result = claims.of_rows(rows, *sizes.sides) | compared(cells) | of_limits(bench)
    result |= claims.without_networks(rows, sizes.sides[1], result["network_cpu_s"])
    result["scoring_over_limit"] = result["scoring_images_per_second"] / result["limit_images_per_second"]
    startups = [started(cell) for cell in cells if cell.startup and cell is cell.startup.many]
    parts = claims.where_time_goes(rows, result["network_cpu_s"], result["reading_cpu_s"])
    tables = {"Cost": rows, "Start-up": startups, "Alone": alone(bench, sizes), "CPU s/image, without a catalog": parts}
    return tables, result


def started(cell: Cell) -> dict[str, Any]:
    """A way's start-up."""
    assert cell.startup
    wall_s, cpu_s = cell.startup.seconds()
    return {"way": cell.way.name, "s": wall_s, "CPU s": cpu_s}


def compared(cells: list[Cell]) -> dict[str, float | None]:
    """How far probabilities of others are from ours, of the same pixels and the same draw; RuntimeError if too far."""
    said = {(cell.way.name, cell.images.side, cell.images.kind): cell.said for cell in cells}
    worst = 0.0
    for (name, side, kind), probabilities in said.items():
        ours = said["ours", side, ".tif"] if kind == ".tif" else said["whole image", side, kind]
        common = sorted(ours.keys() & probabilities.keys())
        apart = max(float(np.abs(np.subtract(ours[key], probabilities[key])).max()) for key in common)
        if apart > CLOSE:
            raise RuntimeError(f"{name}, {side}{kind}: probabilities differ by {apart:.2g} from ours")
        worst = max(worst, apart)
    return {"probabilities_differ_by": worst}


def of_limits(bench: Bench) -> dict[str, float | None]:
    """Images a second at which every core would do nothing but the networks and the reading of patches."""
    bench.storage.route(None)
    images, recipe = references(bench, 0)[: limits.BATCH], bundle.load(bench.model)[1]
    network_s = limits.network_cpu_s(bench.model)
    reading_s = limits.reading_cpu_s(images, recipe.n_patches, recipe.patch_size)
    cores = os.cpu_count() or 1
    return {
        "network_cpu_s": network_s,
        "reading_cpu_s": reading_s,
        "limit_images_per_second": cores / (network_s + reading_s),
    }


def alone(bench: Bench, sizes: Sizes) -> Rows:
    """What is measured once: a whole grid of the middle size, and one whole image of the largest."""
    bench.storage.route(sizes.latencies_ms[0])
    grid_cpu_s, grid_s = whole_grid.cpu_and_wall_s(references(bench, 1)[0], sizes.grid_rows)
    large = bench.pyramids[2]
    whole, _ = Whole(bench.storage, bench.model, 1).measure(Images(large.side, large.n_bytes, {FEW: 1}), FEW)
    way = f"whole grid, {sizes.grid_rows} rows of it" if sizes.grid_rows else "whole grid"
    return [
        {"way": way, "side": sizes.sides[1], "s/image": grid_s, "CPU s/image": grid_cpu_s, "worker MB": None},
        {
            "way": "whole image",
            "side": large.side,
            "s/image": whole.wall_s,
            "CPU s/image": whole.cpu_s,
            "worker MB": whole.worker_mb,
        },
    ]


def references(bench: Bench, size: int) -> list[ImageRef]:
    """The pyramids of one size, as their catalog has them."""
    images = bench.pyramids[size]
    ids = [data.name(k, images.kind) for k in range(images.counts[MANY])]
    names, catalog = ImageRef.__slots__, str(bench.catalogs / catalog_name(images, MANY))
    rows = catalog_rows(catalog, ids, ["image_id", *names]).to_pylist()
    return [ImageRef(**{name: row[name] for name in names}) for row in rows]


if __name__ == "__main__":
    main(tyro.cli(Options))
