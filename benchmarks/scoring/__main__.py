"""What scoring an image costs, from small to huge, beside what a competent engineer would write without this project.

    whole image   download it, decode it, make the view, cut the patches: plain processes, as many as cores
    read_images   Ray Data's own, on the same pixels as JPEG: it opens what Pillow opens, and keeps what it has decoded
    whole grid    Deep MIL: every patch of the full resolution, by plain processes; some rows of each grid are computed

All by the same nets, those of speed limits; the middle size also by the lightest of the paper's.

An S3 server of its own on loopback, behind a proxy that counts and delays; neither is in anybody's CPU time, but they
run on the same cores. CPU time is that of all processes of a way, Ray's own included. What a run takes before it has
begun (Ray's actors import torch) is measured by a run of a few images and taken off, and told apart.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from ats_core import bundle
from benchmarks.record import RESULTS, progress, record, rounded, table
from benchmarks.scoring import claims, plain
from benchmarks.scoring.bench import SMOKE, Bench, Sizes, prepared
from benchmarks.scoring.cells import Cell, Startup
from benchmarks.scoring.data import FEW, MANY, Images, Nets
from benchmarks.scoring.limits import NetworksAlone, ReadingAlone
from benchmarks.scoring.plain import PROCESSES
from benchmarks.scoring.ways import BLOCK, Grid, Ours, ReadImages, Said, Way, Whole, references

Rows = list[dict[str, Any]]
LIMITED = 64  # images of a process that say how fast networks or readers alone are
CLOSE = 1e-3  # of probabilities of the same pixels


@dataclass(frozen=True, kw_only=True)
class Options:
    """What scoring costs: tables, then one line of JSON. 25 minutes on two quiet cores, 15 GB of temporary files."""

    rounds: int = 1
    """Everything at 20 ms is measured in turns, so often, and at 0 ms once; the table holds medians."""
    smoke: bool = False
    """Small images, few of them, and one round, to see that all of it runs; only kept where --results says."""
    results: Path | None = None
    """Folder for scoring.json, the record of the run."""


def main(options: Options) -> None:
    """Make the data, measure in turns, print the tables, keep the record."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of all processes
    torch.set_num_threads(1)
    sizes = SMOKE if options.smoke else Sizes()
    with tempfile.TemporaryDirectory(prefix="scoring-") as folder, prepared(Path(folder), sizes) as bench:
        tables, result = measured(bench, sizes, 1 if options.smoke else options.rounds)
    result = rounded(result) | claims.of_adaptive(RESULTS)
    for title, rows in tables.items():
        print(f"{title}\n{table(rows)}\n")
    if options.smoke and options.results is None:
        print(json.dumps(result), flush=True)
    else:
        print(f"Goals\n{table(claims.beside_goals(result))}\n")
        record("scoring", result, rows=[row for rows in tables.values() for row in rows], to=options.results or RESULTS)


def cells_of(bench: Bench, sizes: Sizes, rounds: int) -> tuple[list[Cell], list[Cell]]:
    """The start-ups, and the rows of the table, in the order in which they are measured in each turn."""
    ours, light = (
        [Ours(bench.driver, bench.storage, nets, bench.folder / "out", catalogs) for catalogs in (None, bench.catalogs)]
        for nets in (bench.nets, bench.light)
    )
    of_ray = ReadImages(bench.other, bench.storage, bench.nets)
    grid = Grid(bench.storage, bench.nets, bench.catalogs, sizes.grid_rows)
    middle = bench.pyramids[1]
    by_ray: list[tuple[Way, Images, float]] = []
    by_processes: list[tuple[Way, Images, float]] = []
    for ms in sizes.latencies_ms:
        by_ray += [(way, images, ms) for images in bench.pyramids for way in ours]
        by_ray += [(of_ray, images, ms) for images in bench.jpegs]
        by_ray += [(way, middle, ms) for way in light]
        for kind in (bench.pyramids, bench.jpegs):
            whole = [Whole(bench.storage, bench.nets, at_most) for at_most in sizes.whole]
            by_processes += [(way, images, ms) for way, images in zip(whole, kind, strict=True)]
        by_processes += [(grid, images, ms) for images in bench.pyramids]
        by_processes += [(Whole(bench.storage, bench.light, sizes.whole[1]), middle, ms)]
    rows = [Cell(way, images, ms, bench.storage, rounds if ms else 1) for way, images, ms in (*by_ray, *by_processes)]
    startups: dict[str, Startup] = {}
    for cell in rows[: len(by_ray)]:
        if cell.way.name not in startups:
            few = Cell(cell.way, cell.images, cell.latency_ms, bench.storage, sizes.few_rounds, FEW)
            startups[cell.way.name] = Startup(few, cell)
        cell.startup = startups[cell.way.name]
    return [startup.few for startup in startups.values()], rows


def measured(bench: Bench, sizes: Sizes, rounds: int) -> tuple[Mapping[str, Rows], dict[str, float | None]]:
    """The tables by title, and the claims."""
    few, cells = cells_of(bench, sizes, rounds)
    turns = [cell for turn in range(max(rounds, sizes.few_rounds)) for cell in (*few, *cells) if turn < cell.rounds]
    for cell in progress(turns, lambda cell: cell.label):
        cell.measure()
    rows = [cell.row() for cell in cells]
    result = claims.of_rows(rows, *sizes.sides) | compared(cells) | of_limits(bench)
    result |= claims.of_light_nets(rows, sizes.sides[1], bench.light.name)
    result |= claims.without_networks(rows, sizes.sides[1], result["network_cpu_s"], result["network_one_by_one_cpu_s"])
    result["scoring_over_limit"] = result["scoring_images_per_second"] / result["limit_images_per_second"]
    startups = [started(cell) for cell in cells if cell.startup and cell is cell.startup.many]
    parts = claims.where_time_goes(rows, result["network_cpu_s"], result["reading_cpu_s"])
    tables = {"Cost": rows, "Start-up": startups, "CPU s/image, without a catalog": parts}
    return tables, result


def started(cell: Cell) -> dict[str, Any]:
    """A way's start-up."""
    assert cell.startup
    wall_s, cpu_s = cell.startup.seconds()
    return {"way": cell.way.name, "s": wall_s, "CPU s": cpu_s}


def compared(cells: list[Cell]) -> dict[str, float | None]:
    """How far what is said of the same pixels by the same draw is apart; RuntimeError if too far."""
    first: dict[tuple[Nets, int, str], Said] = {}
    worst = 0.0
    for cell in cells:
        if not cell.said:
            continue
        expected = first.setdefault((cell.way.nets, cell.images.side, cell.images.kind), cell.said)
        common = sorted(expected.keys() & cell.said.keys())
        apart = max(float(np.abs(np.subtract(expected[key], cell.said[key])).max()) for key in common)
        if apart > CLOSE:
            raise RuntimeError(f"{cell.label}: probabilities differ by {apart:.2g} from others'")
        worst = max(worst, apart)
    return {"probabilities_differ_by": worst}


def of_limits(bench: Bench) -> dict[str, float | None]:
    """Images a second at which every core would do nothing but the networks and the reading of patches."""
    bench.storage.route(None)
    images = references(bench.catalogs, bench.pyramids[0], MANY, bench.nets)[: LIMITED * PROCESSES]
    recipe = bundle.load(bench.nets.uri)[1]
    reading = plain.score(partial(ReadingAlone, recipe.n_patches, recipe.patch_size), images)
    reading_s = reading.cpu_s / (len(images) - PROCESSES)
    network_s = _networks_cpu_s(bench.nets, BLOCK)
    return {
        "network_cpu_s": network_s,
        "network_one_by_one_cpu_s": _networks_cpu_s(bench.nets, 1),
        "light_network_cpu_s": _networks_cpu_s(bench.light, BLOCK),
        "reading_cpu_s": reading_s,
        "limit_images_per_second": PROCESSES / (network_s + reading_s),
    }


def _networks_cpu_s(nets: Nets, at_once: int) -> float:
    """CPU seconds of an image, of batches of so many."""
    batches = LIMITED // at_once
    spent = plain.score(partial(NetworksAlone, nets.uri, at_once), list(range((batches + 1) * PROCESSES)))
    return spent.cpu_s / (batches * PROCESSES * at_once)


if __name__ == "__main__":
    main(tyro.cli(Options))
