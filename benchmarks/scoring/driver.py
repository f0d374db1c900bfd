"""A process with a Ray of its own that scores when it is asked to; and what its answers cost, workers and all.

python -m benchmarks.scoring.driver SOCKET [FUNCTION]    # is started by `driver`
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import ray

from benchmarks.scoring import read_images
from benchmarks.scoring.jobs import Job, own_ray, started
from benchmarks.scoring.processes import Watch
from pipelines.catalog.build import build_catalog
from pipelines.catalog.sources.labels_csv import LabelsCsv
from pipelines.job import connect
from pipelines.scoring import score as scoring
from pipelines.scoring.options import ScoreOptions

SOCKET = "driver.socket"
END_S = 30.0  # for a Ray to end by itself


def score(**options: Any) -> dict[str, Any]:
    """By this project's job."""
    return scoring.score(ScoreOptions(**options))


def catalog(images: str, out: str, view_size: tuple[int, int]) -> None:
    """Of images without labels."""
    build_catalog(LabelsCsv(images), out, view_size=view_size)


TASKS: dict[str, Callable[..., Any]] = {"score": score, "catalog": catalog, "read_images": read_images.score}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a task gave, and what it took."""

    result: Any
    wall_s: float
    cpu_s: float
    """Of the driver and of all processes of its Ray."""
    worker_mb: float
    driver_mb: float
    all_mb: float


class DriverError(Exception):
    """What a task raised, as text."""


@dataclass(frozen=True, slots=True, eq=False)
class Driver:
    """The process, from outside."""

    job: Job
    pipe: Connection

    def ask(self, task: str, **arguments: Any) -> Answer:
        """One of TASKS, done; DriverError where it fails."""
        pid = self.job.process.pid
        with Watch({pid}, pid) as watch:
            self.pipe.send((task, arguments))
            wall_s, result, error = self.pipe.recv()
        if error:
            raise DriverError(error)
        return Answer(result, wall_s, watch.cpu_s, watch.worker_mb, watch.driver_mb, watch.all_mb)


@contextmanager
def driver(folder: Path, *first: str) -> Iterator[Driver]:
    """The process for the body of a `with`; its output goes to driver.log in the folder, which is made.

    `first` may name a function, as "module.function", that its workers call before anything else.
    """
    folder.mkdir()
    socket, command = str(folder / SOCKET), [sys.executable, "-m", "benchmarks.scoring.driver"]
    with (
        Listener(socket, "AF_UNIX") as listener,
        own_ray() as environment,
        started([*command, socket, *first], environment, folder / "driver.log") as job,
        listener.accept() as pipe,
    ):
        pipe.recv()
        yield Driver(job, pipe)
        pipe.send(None)
        job.pause(END_S)


def _answer(pipe: Connection) -> None:
    """Do what is asked until nothing is."""
    while (asked := pipe.recv()) is not None:
        task, arguments = asked
        began = time.perf_counter()
        try:
            result, error = TASKS[task](**arguments), ""
        except Exception:  # of any kind: it is raised on the other side
            result, error = None, traceback.format_exc()
        pipe.send((time.perf_counter() - began, result, error))


def main(socket: str, *first: str) -> None:
    """Start Ray, then serve."""
    with Client(socket, "AF_UNIX") as pipe:
        if first:
            ray.init(runtime_env={"worker_process_setup_hook": first[0]})
        else:
            connect()
        pipe.send("ready")
        _answer(pipe)


if __name__ == "__main__":
    main(*sys.argv[1:])
