"""One head, three jobs; and a head whose command is interrupted. Other Rays may run beside: none is touched."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local_head import WORKER_PORTS, Head, free_ports, local_head

SCRIPT = Path(__file__).parents[2] / "deploy" / "local_head.py"
DRIVER = "import os, ray; ray.init(); print('gcs', ray.get_runtime_context().gcs_address, 'in', os.getcwd())"


def test_free_ports_are_different_free_and_not_the_workers() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert not set(ports) & set(WORKER_PORTS)
    for port in ports:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", port))


def _submit(head: Head, code: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = ["ray", "job", "submit", "--", "python", "-c", code]
    environment = {**head.environment, **more}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def _listens_beyond_loopback(pids: list[int]) -> list[str]:
    """The addresses other than loopback's on which these processes listen, as /proc writes them."""
    loopback = ("0100007F:", "0000000000000000FFFF00000100007F:", "00000000000000000000000001000000:")
    links = [link for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    open_files = {str(link.readlink()) for link in links}
    tables = [Path(f"/proc/net/{kind}").read_text().splitlines()[1:] for kind in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    listening = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in open_files]
    assert listening
    return [address for address in listening if not address.startswith(loopback)]


@pytest.mark.ray
@pytest.mark.timeout(400)  # a head and three jobs: 25 s on a quiet machine, minutes on a loaded one
def test_a_head_runs_jobs_and_leaves_nothing() -> None:
    with local_head() as head:
        job = _submit(head, DRIVER)
        assert job.returncode == 0, job.stdout + job.stderr
        assert f"gcs {head.environment['RAY_ADDRESS']} in {Path.cwd()}" in job.stdout
        assert _submit(head, "raise SystemExit(3)").returncode == 1
        stranger = _submit(head, DRIVER, RAY_AUTH_TOKEN="0" * 64)
        assert "Authentication failed" in stranger.stdout + stranger.stderr
        assert stranger.returncode != 0
        assert len(head.processes()) > 3
        assert _listens_beyond_loopback(head.processes()) == []
    assert head.processes() == []
    assert not head.directory.exists()


@pytest.fixture
def running_command() -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """The program with a command that waits; the command's number, and the token of the head."""
    command = [sys.executable, str(SCRIPT), "--", "sh", "-c", "echo $$ $RAY_AUTH_TOKEN; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert "Ray head up" in program.stdout.readline()
        pid, token = program.stdout.readline().split()
        yield program, int(pid), token
        program.terminate()


@pytest.mark.ray
def test_an_interrupted_command_takes_its_head_along(running_command: tuple[subprocess.Popen[str], int, str]) -> None:
    program, command, token = running_command
    before = _carriers(token)
    assert command in before
    assert len(before) > 3
    program.send_signal(signal.SIGTERM)
    assert program.wait(60) == 128 + signal.SIGTERM
    assert _carriers(token) == []


def _carriers(token: str) -> list[int]:
    """The processes that have the token in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # gone, or another user's
            if token.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found
