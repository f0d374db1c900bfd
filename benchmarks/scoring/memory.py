"""Whether scoring holds its memory: a hundred thousand images by a catalog, seen when a fifth is done and at the end.

    python -m benchmarks.scoring.memory

The images are a few small files, each referred to by many rows of a catalog that is written as it is: what grows with
the number of images is then not what is read of them.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro

from benchmarks.record import RESULTS, record, rounded, table
from benchmarks.scoring.jobs import Job, own_ray, scoring, started
from benchmarks.scoring.processes import WORKER, resident_mb
from benchmarks.scoring.small_images import SMALL, jpeg, pixels_of, small_model
from pipelines.catalog.build import BLOCK_ROWS
from pipelines.catalog.describe import ENTRY_SCHEMA, describe
from pipelines.catalog.schema import SCHEMA, Manifest

FILES = 16
FILE_ROWS = 10_000  # of the catalog in one Parquet file
LOOK_S = 0.5
KEPT = 20  # of so many looks one is in the record; the medians are of all
SHARES = (0.2, 1.0)
WINDOW = 0.05  # of the images, before each share, over which the memory is the median


@dataclass(frozen=True, kw_only=True)
class Options:
    """Memory of a long run: a table, then one line of JSON."""

    images: int = 100_000
    results: Path = RESULTS
    """Folder for scoring_memory.json, the record of the run."""


@dataclass(frozen=True, slots=True)
class Look:
    """One moment of a run."""

    files: int
    """Of scores, that are written."""
    driver_mb: float
    worker_mb: float
    """The largest."""


def catalog(folder: Path, images: int) -> str:
    """A catalog of so many images, which are FILES small files again and again; its path."""
    rng, entries = np.random.default_rng(0), []
    for k in range(FILES):
        path = folder / f"{k:02d}.jpg"
        path.write_bytes(jpeg(pixels_of(rng)))
        entries.append({"image_id": path.name, "uri": str(path), "label": -1, "split": "", "group": "", "boxes": []})
    rows = describe(pa.Table.from_pylist(entries, schema=ENTRY_SCHEMA), SMALL.view_size)
    out = folder / "catalog"
    out.mkdir()
    for start in range(0, images, FILE_ROWS):
        numbers = np.arange(start, min(start + FILE_ROWS, images))
        some = rows.take(pa.array(numbers % FILES))
        ids = pa.array([f"{number:07d}" for number in numbers])
        some = some.set_column(SCHEMA.get_field_index("image_id"), "image_id", ids)
        pq.write_table(some.cast(SCHEMA), out / f"{start:07d}.parquet", row_group_size=BLOCK_ROWS)
    Manifest(source="memory", classes=(), view_size=SMALL.view_size, created_by="benchmarks").write(str(out))
    return str(out)


def looks(job: Job, out: Path) -> Iterator[Look]:
    """From time to time, as long as it runs."""
    while job.alive:
        files = len(list((out / "scores").glob("part-*.parquet")))
        workers = [resident_mb(process.pid) for process in job.processes() if process.command.startswith(WORKER)]
        if driver_mb := resident_mb(job.process.pid):
            yield Look(files, driver_mb, max(workers, default=0.0))
        time.sleep(LOOK_S)


def at(seen: Sequence[Look], share: float) -> dict[str, float]:
    """Medians of what was seen just before a share of the files was there."""
    last = seen[-1].files
    near = [look for look in seen if (share - WINDOW) * last <= look.files <= share * last]
    driver_mb, worker_mb = (median(getattr(look, name) for look in near) for name in ("driver_mb", "worker_mb"))
    return {"done": share, "driver MB": driver_mb, "worker MB": worker_mb}


def main(options: Options) -> None:
    """Score, watch, print the table, keep the record."""
    with tempfile.TemporaryDirectory(prefix="memory-") as scratch, own_ray() as environment:
        folder = Path(scratch)
        model, images, out = small_model(folder / "model"), catalog(folder, options.images), folder / "out"
        began, log = time.monotonic(), folder / "log"
        with started(scoring(model=model, images=images, out=out), environment, log) as job:
            seen = list(looks(job, out))
            if job.process.wait():
                raise RuntimeError(f"it failed. It said:\n{log.read_text()[-4000:]}")
        seconds = time.monotonic() - began
    early, late = (at(seen, share) for share in SHARES)
    print(table([early, late]))
    result = {
        "images": options.images,
        "seconds": seconds,
        "driver_mb": late["driver MB"],
        "worker_mb": late["worker MB"],
        "driver_memory_growth": late["driver MB"] / early["driver MB"],
        "worker_memory_growth": late["worker MB"] / early["worker MB"],
    }
    record("scoring_memory", rounded(result), rows=[asdict(look) for look in seen[::KEPT]], to=options.results)


if __name__ == "__main__":
    main(tyro.cli(Options))
