#!/usr/bin/env python3
"""A Ray head of one's own, on loopback alone, for as long as one command runs.

    python deploy/local_head.py -- ray job submit jobs/train_speed_limits.py

starts the head, waits until its job API answers, runs the command against it, ends what it started, and returns the
command's exit code. Any number of such heads live side by side, and beside any other Ray on the machine.
"""

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

BIN = Path(sys.executable).parent  # not resolved: the environment's own, where `ray` and its `python` are
# A CPU is a seat, not a core: with a seat a core, two cores leave Ray Data none beside the trainers, and it waits for
# ever without a word. Six seat every actor of a small job; the operating system shares the cores.
LOGICAL_CPUS = max(6, os.cpu_count() or 1)
WORKER_PORTS = range(10002, 20000)  # Ray's own, for its workers
START_S, STOP_S, ORPHANS_S = 120.0, 15.0, 3.0


class HeadError(RuntimeError):
    """The head did not start, or did not end."""


@dataclass(frozen=True)
class Head:
    """A running head: where it is, and the environment that commands need to reach it."""

    process: subprocess.Popen[bytes]
    directory: Path  # Ray's logs and sockets; removed with the head
    dashboard: str
    environment: Mapping[str, str]

    def processes(self) -> list[int]:
        """Every living process of this head, on Linux; empty elsewhere.

        Ray's processes share the head's session but rename themselves over their environment; the jobs it runs have
        sessions of their own but keep the environment, and in it the token of this head.
        """
        token = self.environment["RAY_AUTH_TOKEN"].encode()
        return [pid for pid in map(int, _process_ids()) if _belongs(pid, self.process.pid, token)]


def _process_ids() -> list[str]:
    return [path.name for path in Path("/proc").glob("[0-9]*")]


def _belongs(pid: int, session: int, token: bytes) -> bool:
    process = Path("/proc", str(pid))
    try:
        after_name = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
        state, its_session = after_name[0], int(after_name[3])
        ours = its_session == session or token in (process / "environ").read_bytes()
        return ours and state != "Z" and pid != os.getpid()
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # gone meanwhile, or another user's
        return False


def free_ports(n: int) -> list[int]:
    """n different ports that are free on loopback and that Ray does not give to its workers."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < n:  # all stay bound until all are known, so that none comes twice
            bound = stack.enter_context(socket.socket())
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
            if port not in WORKER_PORTS:
                ports.append(port)
    return ports


def _environment(**more: str) -> dict[str, str]:
    """The caller's environment, for the head and all that it starts."""
    base = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH")}
    direct = "127.0.0.1,localhost"  # never through a proxy
    return {
        **base,
        "PATH": f"{BIN}{os.pathsep}{base.get('PATH', os.defpath)}",  # a job's `python` is this environment's
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # off, the node is 127.0.0.1, and no port is open to other machines
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # there is no other node to drain to
        "RAY_USAGE_STATS_ENABLED": "0",
        "no_proxy": direct,
        "NO_PROXY": direct,
        **more,
    }


def _start(directory: Path, logical_cpus: int) -> Head:
    gcs, dashboard, listen, grpc, runtime, client, metrics, metrics_2, metrics_3 = free_ports(9)
    environment = _environment(
        RAY_ADDRESS=f"127.0.0.1:{gcs}",  # a driver's; job submission has its own, and sets this one for its drivers
        RAY_API_SERVER_ADDRESS=f"http://127.0.0.1:{dashboard}",
        AUTOSCALER_METRIC_PORT=str(metrics_2),
        DASHBOARD_METRIC_PORT=str(metrics_3),
    )
    command = [
        str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats",
        f"--temp-dir={directory}", f"--num-cpus={logical_cpus}", "--node-ip-address=127.0.0.1", f"--port={gcs}",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={listen}",
        f"--dashboard-agent-grpc-port={grpc}", f"--runtime-env-agent-port={runtime}",
        f"--ray-client-server-port={client}", f"--metrics-export-port={metrics}",
    ]  # fmt: skip
    without_address = {name: value for name, value in environment.items() if name != "RAY_ADDRESS"}
    with (directory / "head.log").open("wb") as log:
        # A session of its own: Ctrl-C in the terminal ends the command, then this program ends the head.
        process = subprocess.Popen(
            command, env=without_address, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    return Head(process, directory, environment["RAY_API_SERVER_ADDRESS"], environment)


def _wait_until_ready(head: Head) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    authorization = {"Authorization": f"Bearer {head.environment['RAY_AUTH_TOKEN']}"}
    request = urllib.request.Request(f"{head.dashboard}/api/jobs/", headers=authorization)
    deadline = time.monotonic() + START_S
    while head.process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), opener.open(request, timeout=5):  # refused, or 503 while it starts
            return
        time.sleep(0.1)
    code = head.process.poll()
    reason = f"not up in {START_S:.0f} s" if code is None else f"ended with exit code {code}"
    raise HeadError(f"Ray head: {reason}. Its log says why:\n{(head.directory / 'head.log').read_text()}")


def _stop(head: Head) -> None:
    """Ask the head to end; what has not ended in time is killed, by its own number and nothing else."""
    head.process.terminate()
    try:
        head.process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(head.process.pid, signal.SIGKILL)
        head.process.wait()
    deadline = time.monotonic() + ORPHANS_S
    while head.processes() and time.monotonic() < deadline:  # agents mostly notice the end of their parent in a second
        time.sleep(0.1)
    for pid in head.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def local_head(logical_cpus: int = LOGICAL_CPUS) -> Iterator[Head]:
    """A head for the body of a `with`; at its end nothing of it is left, neither process nor file."""
    # Short, wherever TMPDIR points: the path of a Unix socket below it may have 107 characters.
    directory = Path(tempfile.mkdtemp(prefix="ats-", dir="/tmp"))
    try:
        head = _start(directory, logical_cpus)
        try:
            _wait_until_ready(head)
            yield head
        finally:
            _stop(head)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _leave(number: int, _frame: FrameType | None) -> None:
    """Turn a signal into an orderly end, once: a second one must not interrupt the clearing up."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    """Run the command behind `--` beside a head; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="+", help="the command, behind --")
    command = parser.parse_args().command
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _leave)
    started = time.monotonic()
    with local_head() as head:
        ready = f"up in {time.monotonic() - started:.1f} s at {head.dashboard}, {LOGICAL_CPUS} logical CPUs"
        print(f"Ray head {ready}, logs below {head.directory}", flush=True)
        return subprocess.run(command, env=dict(head.environment), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
