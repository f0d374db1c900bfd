"""Where the CPU time of a scoring job goes: which processes take it, and which functions of the stages.

    python -m benchmarks.scoring.profile
    python -m benchmarks.scoring.profile --side 1500 --catalog --n-images 1600

py-spy, of the extra `bench`, looks at the processes of the stages in the middle of a job (which takes the right to
trace processes: on Linux as root, or where kernel.yama.ptrace_scope is 0). What native code does is told by the Python
function that called it.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks import storage
from benchmarks.record import RESULTS, record, table
from benchmarks.scoring import data
from benchmarks.scoring.data import MANY, Nets
from benchmarks.scoring.disturbances import ACTOR
from benchmarks.scoring.driver import Answer, Driver, driver
from benchmarks.scoring.plain import PROCESSES
from benchmarks.scoring.processes import Process, processes
from benchmarks.scoring.ways import ACTORS, BLOCK, catalog_uri

STAGES = ("Propose", "Read", "Classify")
SPY = Path(sys.executable).parent / "py-spy"
LOOKS_PER_S = 100
SETTLED_S = 5.0  # after all stages are there
SHOWN = 0.01  # of all CPU: functions that take less are summed up
WAITING = ("Condition.wait", "_worker", "EpollSelector.select", "Worker.main_loop")
"""Functions whose threads may look as if they ran, and do not."""
NATIVE = "threads without Python, of requests"
Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to look at: two tables, then one line of JSON. A minute, and the making of the images."""

    side: int = 8_192
    """Of the square images, pixels."""
    n_images: int = 200 * PROCESSES
    """That are scored: enough to last."""
    catalog: bool = False
    """By a catalog; without it each image is opened on the way."""
    seconds: int = 20
    """For how long to look."""
    results: Path = RESULTS
    """Folder for the record of the run."""


def main(options: Options) -> None:
    """Start a job, look at it in its middle, say what was seen."""
    if not SPY.exists():
        raise SystemExit(f"{SPY} is not there: pip install -c constraints.txt -e '.[bench]'")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of all processes
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        rows = looked_at(options, Path(folder))
    by_process, by_function = (_summed(rows, key) for key in ("process", "function"))
    print(f"Processes\n{table(by_process)}\n\nFunctions of the stages\n{table(by_function)}\n")
    name = f"scoring_profile_{options.side}{'_catalog' if options.catalog else ''}"
    result = {row["process"]: round(row["of all CPU"], 4) for row in by_process}
    record(name, result, rows=[row for row in by_function if row["of all CPU"] >= SHOWN], to=options.results)


def looked_at(options: Options, folder: Path) -> Rows:
    """Shares of the CPU time by process and function."""
    (folder / "weed").mkdir()
    with storage.running(folder / "weed") as bucket, driver(folder / "ours") as ours, ThreadPoolExecutor() as pool:
        bucket.route(None)
        images = data.pyramids(folder, data.scenes(), options.side, few=0, many=options.n_images)
        nets, _ = data.nets(folder)
        where = images.prefix(MANY)
        if options.catalog:
            ours.ask("catalog", images=where, out=catalog_uri(folder, images, MANY, nets), view_size=nets.view_size)
            where = catalog_uri(folder, images, MANY, nets)
        scoring = pool.submit(_score, ours, nets, where, str(folder / "out"))
        stages = _settled(ours, scoring)
        before = _cpu_s(ours)
        spies = [pool.submit(_functions, process, options.seconds, folder) for process in stages]
        seen = {process.pid: spy.result() for process, spy in zip(stages, spies, strict=True)}
        after = _cpu_s(ours)
        if scoring.done():
            raise RuntimeError(f"{options.n_images} images were scored before the end: pass a larger --n-images")
        scoring.result()
    spent = {process: cpu_s - before.get(process, 0.0) for process, cpu_s in after.items()}
    return _shares(spent, {process.pid: _stage(process) for process in stages}, seen)


def _score(ours: Driver, nets: Nets, where: str, out: str) -> Answer:
    actors = dict.fromkeys(("propose_actors", "read_actors", "classify_actors"), ACTORS)
    return ours.ask("score", model=nets.uri, images=where, out=out, batch_size=BLOCK, **actors)


def _settled(ours: Driver, scoring: "Future[Answer]") -> list[Process]:
    """The processes of the stages, once all of them are at work."""
    while not scoring.done():
        found = [process for process in ours.job.processes() if process.command.startswith(ACTOR)]
        if {_stage(process) for process in found} >= set(STAGES):
            time.sleep(SETTLED_S)
            return found
        time.sleep(0.1)
    scoring.result()
    raise RuntimeError("the job ended before its stages were seen: pass a larger --n-images")


def _stage(process: Process) -> str:
    """Of ray::MapWorker(MapBatches(open_images)->MapBatches(Propose)): the last."""
    return (re.findall(r"MapBatches\((\w+)\)", process.command) or [process.command])[-1]


def _cpu_s(ours: Driver) -> dict[tuple[int, str], float]:
    """CPU seconds so far by pid, and what it is."""
    return {(p.pid, _kind(p.command)): p.cpu_s for p in processes({ours.job.process.pid})}


def _kind(command: str) -> str:
    """Of a process that is none of the stages'."""
    return "driver" if "benchmarks.scoring.driver" in command else "Ray's own"


def _functions(process: Process, seconds: int, folder: Path) -> Counter[str]:
    """How often a function was at the top of a thread that ran."""
    out = folder / f"{process.pid}.txt"
    options = {"--pid": process.pid, "--duration": seconds, "--rate": LOOKS_PER_S, "--format": "raw", "--output": out}
    words = [str(word) for pair in options.items() for word in pair]
    done = subprocess.run([SPY, "record", "--nolineno", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"py-spy cannot look at {process.command}: {done.stderr.strip()}")
    found: Counter[str] = Counter()
    for line in out.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        function = stack.rsplit(";", 1)[-1]
        if not function.startswith(tuple(f"{name} (" for name in WAITING)):
            found[function or NATIVE] += int(count)
    return found


def _shares(spent: dict[tuple[int, str], float], stages: dict[int, str], seen: dict[int, Counter[str]]) -> Rows:
    """Of all CPU seconds that were spent, by process, and in those of stages by function."""
    total, rows = sum(spent.values()), []
    for (pid, kind), cpu_s in spent.items():
        functions = seen.get(pid) or Counter({"-": 1})
        for function, count in functions.items():
            share = cpu_s / total * count / functions.total()
            rows.append({"process": stages.get(pid, kind), "function": function, "of all CPU": share})
    return rows


def _summed(rows: Sequence[dict[str, Any]], key: str) -> Rows:
    """The largest first; of functions with the process, those of the stages alone."""
    sums: Counter[tuple[str, ...]] = Counter()
    names = ("process",) if key == "process" else ("process", "function")
    for row in rows:
        if key == "process" or row["function"] != "-":
            small = key == "function" and row["of all CPU"] < SHOWN
            sums[tuple("others" if small and name == "function" else row[name] for name in names)] += row["of all CPU"]
    return [dict(zip(names, of, strict=True)) | {"of all CPU": share} for of, share in sums.most_common()]


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
