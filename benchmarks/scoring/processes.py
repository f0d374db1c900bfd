"""Processes by session, from /proc: what a Ray and its drivers cost, and whom to kill."""

import contextlib
import os
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")  # a second
WORKER, IDLE = "ray::", "ray::IDLE"  # begin the names of Ray's workers, and of those that have nothing to do
EVERY_S, PSS_EVERY_S = 0.2, 2.0


@dataclass(frozen=True, slots=True)
class Process:
    """One process as it was a moment ago."""

    pid: int
    started: int
    """Ticks since boot: numbers are used again, but not at one time."""
    session: int
    parent: int
    cpu_s: float
    """User and system time, without its children's."""
    command: str


def processes(sessions: Collection[int]) -> Iterator[Process]:
    """The living ones of some sessions. Ray's have the session of who started it, whatever they call themselves."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # gone meanwhile
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) in sessions and fields[0] != "Z":
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                cpu_s = (int(fields[11]) + int(fields[12])) / TICKS
                yield Process(int(folder.name), int(fields[19]), int(fields[3]), int(fields[1]), cpu_s, command)


def resident_mb(pid: int) -> float:
    """Physical memory that it has mapped, what it shares with others included; 0 for one that has gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def proportional_mb(pid: int) -> float:
    """The same, of shared pages its share: the sum over processes is what they take. 0 for one that has gone."""
    return _told_mb(f"/proc/{pid}/smaps_rollup", "Pss:")


def peak_mb(pid: int | str = "self") -> float:
    """The most that a process had mapped; `ru_maxrss` begins with what its parent held. 0 for one that has gone."""
    return _told_mb(f"/proc/{pid}/status", "VmHWM:")


def _told_mb(path: str, name: str) -> float:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(path).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


@dataclass(slots=True)
class Watch:
    """CPU and memory of all processes of some sessions while a `with` lasts.

    It looks every EVERY_S: of a process that ends in between, what it did since the last look is not counted.
    """

    sessions: Collection[int]
    driver: int
    """Its pid: its memory is told apart."""
    cpu: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict, init=False)
    """First and last of each process."""
    worker_mb: float = field(default=0.0, init=False)
    """The largest that one worker of Ray was while it worked; of one that was there before, as it was seen."""
    driver_mb: float = field(default=0.0, init=False)
    all_mb: float = field(default=0.0, init=False)
    """The most that all were together, shared pages counted once."""
    _before: set[tuple[int, int]] = field(default_factory=set, init=False)
    _end: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)

    @property
    def cpu_s(self) -> float:
        """Of all, since it began."""
        return sum(last - first for first, last in self.cpu.values())

    def __enter__(self) -> Self:
        for process in processes(self.sessions):
            self.cpu[process.pid, process.started] = (process.cpu_s, process.cpu_s)
        self._before = set(self.cpu)
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        summed = 0.0
        while not self._end.wait(EVERY_S):
            self._look()
            if time.monotonic() > summed + PSS_EVERY_S:
                self.all_mb = max(self.all_mb, sum(proportional_mb(p.pid) for p in processes(self.sessions)))
                summed = time.monotonic()

    def _look(self) -> None:
        for process in processes(self.sessions):
            key = (process.pid, process.started)
            self.cpu[key] = (self.cpu.get(key, (0.0, 0.0))[0], process.cpu_s)
            if process.pid == self.driver:
                self.driver_mb = max(self.driver_mb, resident_mb(process.pid))
            elif process.command.startswith(WORKER) and not process.command.startswith(IDLE):
                held = resident_mb if key in self._before else peak_mb
                self.worker_mb = max(self.worker_mb, held(process.pid))
