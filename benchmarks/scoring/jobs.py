"""A job as a user starts it, in a session of its own, so that all that it starts can be found, and is ended with it."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scoring.processes import Process, processes

ROOT = Path(__file__).parents[2]
JOB = "jobs/score_bucket.py"
KILLED_S = 10.0  # for the system to clear away what is killed
OWN_RAY = {
    "RAY_AUTH_MODE": "disabled",  # else the first start leaves a token in the home directory
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback alone: without a token no other machine may reach it
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}


@dataclass(slots=True, eq=False)
class Job:
    """A process that leads a session."""

    process: subprocess.Popen[bytes]
    log: Path
    grace_s: float = 10.0
    """For what a killed driver leaves to see that it is gone."""

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def processes(self) -> list[Process]:
        """It, and all that it started."""
        return list(processes({self.process.pid}))

    def pause(self, seconds: float) -> None:
        """Returns after so long, or when it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code; None where it took too long, and was killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout_s)
        self.process.kill()
        self.process.wait()
        return None

    def end(self) -> None:
        """Nothing of it is left, not even what outlives its driver."""
        if self.alive:
            self.process.terminate()
        self._until_gone(self.grace_s)
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.process.wait()
        self._until_gone(KILLED_S)

    def _until_gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
            self.process.poll()


@contextlib.contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[Job]:
    """A command in a session of its own, for the body of a `with`; its output goes to a file."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    job = Job(process, log)
    try:
        yield job
    finally:
        job.end()


@contextlib.contextmanager
def own_ray(**more: str) -> Iterator[dict[str, str]]:
    """The environment of a job that starts a Ray of its own, whose files go with it."""
    with tempfile.TemporaryDirectory(prefix="ats-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        yield environment | OWN_RAY | {"RAY_TMPDIR": directory} | more  # short: a socket's path has 107 characters


def scoring(**options: object) -> list[str]:
    """The command that scores with these options."""
    words = [[f"--{name.replace('_', '-')}", str(value)] for name, value in options.items()]
    return [sys.executable, JOB, *(word for pair in words for word in pair)]
