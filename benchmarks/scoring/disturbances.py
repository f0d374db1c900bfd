"""What may be killed while a bucket is scored, each at once and without a word."""

import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scoring.jobs import Job, own_ray, started
from benchmarks.scoring.processes import WORKER, Process
from benchmarks.scoring.two_nodes import READY
from tests.s3.server import Weed

ACTOR = f"{WORKER}MapWorker"  # begins the names of the processes of a stage
CLUSTER_S = 90.0
LOOK_S = 0.1
NOTHING = "none: it had ended"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job runs."""

    environment: Mapping[str, str]
    server: Weed
    down_s: float
    """For how long a server that is killed or stopped stays away."""
    cluster: Job | None = None
    """Of two nodes."""
    raylet: int = 0
    """Process number of that of the second."""

    def children(self, pid: int) -> list[Process]:
        """What a process of the cluster has started."""
        return [process for process in self.cluster.processes() if process.parent == pid] if self.cluster else []


def kill_driver(job: Job, place: Place, rng: random.Random) -> str:
    """The process that the user started."""
    os.kill(job.process.pid, signal.SIGKILL)
    return "the driver"


def kill_actor(job: Job, place: Place, rng: random.Random) -> str:
    """One process of one stage."""
    return _kill_one(lambda: [p for p in job.processes() if p.command.startswith(ACTOR)], job, rng)


def kill_raylet(job: Job, place: Place, rng: random.Random) -> str:
    """The raylet of the second node, and with it all of its workers, as soon as any of them is of a stage."""
    assert place.raylet
    while job.alive:
        if actors := sum(process.command.startswith(ACTOR) for process in place.children(place.raylet)):
            os.kill(place.raylet, signal.SIGKILL)
            return f"a node with {actors} actors"
        time.sleep(LOOK_S)
    return NOTHING


def kill_server(job: Job, place: Place, rng: random.Random) -> str:
    """The storage; it is there again after a while, with all that it had."""
    place.server.signal(signal.SIGKILL)
    time.sleep(place.down_s)
    place.server.start()
    return f"for {place.down_s:.0f} s"


def stop_server(job: Job, place: Place, rng: random.Random) -> str:
    """The storage, which takes connections and does not answer for a while."""
    place.server.signal(signal.SIGSTOP)
    time.sleep(place.down_s)
    place.server.signal(signal.SIGCONT)
    return f"for {place.down_s:.0f} s"


KINDS: dict[str, Callable[[Job, Place, random.Random], str]] = {
    "driver": kill_driver,
    "actor": kill_actor,
    "raylet": kill_raylet,
    "server": kill_server,
    "stall": stop_server,
}
"""What is done to a job that runs; says to whom."""


def _kill_one(find: Callable[[], list[Process]], job: Job, rng: random.Random) -> str:
    """One of those that it finds, as soon as there are any."""
    while job.alive:
        if found := sorted(find(), key=lambda process: process.pid):
            chosen = rng.choice(found)
            os.kill(chosen.pid, signal.SIGKILL)
            return chosen.command
        time.sleep(LOOK_S)
    return NOTHING


@contextmanager
def place_for(kind: str, server: Weed, down_s: float, folder: Path) -> Iterator[Place]:
    """A Ray of the job's own; a cluster of two nodes where one of them is to be killed."""
    with own_ray() as environment:
        if kind != "raylet":
            yield Place(environment, server, down_s)
            return
        command, log = (
            [sys.executable, "-m", "benchmarks.scoring.two_nodes"],
            folder / f"cluster-{uuid.uuid4().hex}.log",
        )
        with started(command, environment, log) as cluster:
            address, raylet = _ready(cluster)
            yield Place(environment | {"RAY_ADDRESS": address}, server, down_s, cluster, raylet)


def _ready(cluster: Job) -> tuple[str, int]:
    """Where the cluster is, and the second node's raylet."""
    deadline = time.monotonic() + CLUSTER_S
    while cluster.alive and time.monotonic() < deadline:
        for line in cluster.log.read_text(errors="replace").splitlines():
            if line.startswith(READY):
                _, address, raylet = line.split()
                return address, int(raylet)
        time.sleep(LOOK_S)
    raise RuntimeError(f"two nodes do not start. Their log says why:\n{cluster.log.read_text()}")
