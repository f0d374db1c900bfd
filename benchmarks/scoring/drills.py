"""Kill what scores a bucket at random moments, run it again, and compare the rows with those of an undisturbed run.

    python -m benchmarks.scoring.drills --drills 20 --seed 0

2,000 small images, 3 % of them broken in eight ways, on an S3 server of its own, where the scores go too. A drill
starts the job, kills the driver, an actor of a stage, the raylet of one of two nodes, or the server for 20 s (or stops
it so long), waits for the job to end, and runs the same command until it ends well and the rows are all there.
"""

import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from benchmarks import storage
from benchmarks.record import RESULTS, progress, record, table
from benchmarks.scoring.disturbances import KINDS, NOTHING, Place, place_for
from benchmarks.scoring.jobs import own_ray, scoring, started
from benchmarks.scoring.rows import Row, differences, rows_of
from benchmarks.scoring.small_images import Bucket, fill, small_model
from tests.s3.server import Weed, weed

Kind = Literal[tuple(KINDS)]

MOMENTS = (0.1, 0.8)  # of the time that an undisturbed job takes, between which it is disturbed
MOST_RUNS = 4
LONGEST_S = 240.0  # of a run: what takes longer hangs
SHOWN = 3  # differences of a drill


@dataclass(frozen=True, kw_only=True)
class Options:
    """Drills: a table, then one line of JSON. About a minute each on two cores."""

    drills: int = 20
    seed: int = 0
    """Of the moments and of whom it hits."""
    only: tuple[Kind, ...] = tuple(KINDS)
    """Kinds of drills, in turn."""
    images: int = 2000
    down_s: float = 20.0
    """For how long a server stays away."""
    logs: Path | None = None
    """Folder for what the jobs print; thrown away when not given."""
    results: Path = RESULTS
    """Folder for scoring_drills.json, the record of the run."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where drills are held."""

    server: Weed
    bucket: Bucket
    model: str
    folder: Path
    """For logs."""
    down_s: float
    seconds: float = 0.0
    """Of an undisturbed job."""
    expected: Sequence[Row] = ()

    def command(self, name: str) -> tuple[list[str], str]:
        """That scores the bucket, and where to."""
        out = storage.uri("scores", name)
        return scoring(model=self.model, images=self.bucket.listing, out=out), out


@contextmanager
def prepared(images: int, down_s: float, folder: Path) -> Iterator[Ground]:
    """A server with images, and the rows of an undisturbed run; RuntimeError where they are not what they should be."""
    served = folder / "weed"
    served.mkdir()
    with storage.account() as account, weed(account, served) as server:
        ground = Ground(server, fill(storage.uri("small"), images), small_model(folder / "model"), folder, down_s)
        command, out = ground.command("undisturbed")
        began, log = time.monotonic(), folder / "undisturbed.log"
        with own_ray() as environment:
            code = run(command, environment, log)
        ground = replace(ground, seconds=time.monotonic() - began, expected=rows_of(out))
        if wrong := [f"exit code {code}"] if code else _unexpected(ground):
            raise RuntimeError(f"undisturbed, {'; '.join(wrong[:SHOWN])}. It said:\n{log.read_text()[-4000:]}")
        yield ground


def _unexpected(ground: Ground) -> list[str]:
    """Images without just one row of the status that their bytes deserve."""
    found = [(row["uri"], row["status"]) for row in ground.expected]
    of_images = list(ground.bucket.statuses.items())
    return [f"should be, and is not: {item}" for item in of_images if found.count(item) != 1] + [
        f"is, and should not be: {item}" for item in found if item not in of_images
    ]


def run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> int | None:
    """The exit code of a job; None of one that hangs."""
    with started(command, environment, log) as job:
        return job.wait(LONGEST_S)


def drill(ground: Ground, name: str, kind: str, rng: random.Random) -> dict[str, Any]:
    """One job that is disturbed, and run again until it ends well with all its rows: a row of the table."""
    command, out = ground.command(name)
    moment, began, log = ground.seconds * rng.uniform(*MOMENTS), time.monotonic(), ground.folder / f"{name}-{kind}.log"
    with place_for(kind, ground.server, ground.down_s, ground.folder) as place:
        code, target = _disturbed(command, place, log, kind, moment, rng)
        codes = [code]
        while (wrong := _wrong(ground, codes[-1], out)) and len(codes) < MOST_RUNS:
            with log.open("a") as file:
                print(f"run {len(codes)}:", *wrong, sep="\n", file=file)
            codes.append(run(command, place.environment, log))
    return {
        "drill": name,
        "killed": kind,
        "target": target,
        "after s": moment,
        "exit code": code,
        "runs": len(codes),
        "rows equal": not wrong,
        "seconds": time.monotonic() - began,
        "wrong": "; ".join(wrong[:SHOWN]),
    }


def _disturbed(
    command: Sequence[str], place: Place, log: Path, kind: str, moment: float, rng: random.Random
) -> tuple[int | None, str]:
    """Exit code of the disturbed job, and whom it hit."""
    with started(command, place.environment, log) as job:
        job.pause(moment)
        target = KINDS[kind](job, place, rng) if job.alive else NOTHING
        return job.wait(LONGEST_S), target


def _wrong(ground: Ground, code: int | None, out: str) -> list[str]:
    """Why the job has to run again; nothing where it has not."""
    return [f"exit code {code}"] if code != 0 else differences(ground.expected, rows_of(out))


def main(options: Options) -> None:
    """Prepare, drill in turn, print the table, keep the record."""
    rng, rows = random.Random(options.seed), []
    kinds = [options.only[number % len(options.only)] for number in range(options.drills)]
    with tempfile.TemporaryDirectory(prefix="drills-") as scratch:
        folder = options.logs or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        with prepared(options.images, options.down_s, folder) as ground:
            for number, kind in progress(list(enumerate(kinds)), lambda job: job[1]):
                rows.append(drill(ground, f"drill-{number:02d}", kind, rng))
    print(table(rows))
    hit = [row for row in rows if row["target"] != NOTHING]
    recovered = sum(row["rows equal"] for row in hit)
    result = {"drills": len(hit), "drills_with_equal_rows": recovered, "most_runs": max(row["runs"] for row in rows)}
    record("scoring_drills", result, rows=rows, to=options.results)


if __name__ == "__main__":
    main(tyro.cli(Options))
