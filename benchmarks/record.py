"""The form of all benchmarks: progress on stderr, a table, one JSON object as the last line, and the same on file."""

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch

RESULTS = Path(__file__).parent / "results"
T = TypeVar("T")


def record(name: str, result: Mapping[str, Any], *, rows: Sequence[Mapping[str, Any]] = (), to: Path = RESULTS) -> None:
    """Print `result` as a line of JSON; write it to `to`/`name`.json with commit, machine, command, date and `rows`."""
    own = (Path(word).name if Path(word).is_absolute() else word for word in sys.orig_argv[1:])  # no one else's paths
    command = shlex.join(["python", *own])
    date = datetime.now(UTC).isoformat(timespec="seconds")
    origin = {"commit": commit(), "machine": machine(), "command": command, "date": date}
    to.mkdir(parents=True, exist_ok=True)
    (to / f"{name}.json").write_text(json.dumps({**result, **origin, "rows": list(rows)}, indent=1) + "\n")
    print(json.dumps(result), flush=True)


def recorded(name: str, of: Path = RESULTS) -> list[dict[str, Any]]:
    """The rows of `of`/`name`.json; none where nothing is recorded yet."""
    path = of / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def commit() -> str:
    """Commit of this checkout, with `+changes` where files other than results differ; `unknown` outside of one."""
    if shutil.which("git") is None:
        return "unknown"
    git = ["git", "-C", str(RESULTS.parents[1])]
    head = subprocess.run([*git, "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return "unknown"
    status = [*git, "status", "--porcelain", "--", ":/", ":(top,exclude)benchmarks/results"]
    changes = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    return head.stdout.strip() + ("+changes" if changes else "")


def machine() -> dict[str, str | int]:
    """What the numbers were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def progress(items: Sequence[T], label: Callable[[T], str]) -> Iterator[T]:
    """Iterate with a bar on stderr: how many of how many, which, seconds. In place on a terminal, else a few lines."""
    start, width, shown = time.perf_counter(), 30, -1
    terminal = sys.stderr.isatty()
    for done, item in enumerate(items):
        filled = width * done // len(items)
        if terminal or filled > shown:
            line = (
                f"[{'#' * filled:<{width}}] {done}/{len(items)}  {label(item):<40} {time.perf_counter() - start:4.0f} s"
            )
            print(line, end="\r" if terminal else "\n", file=sys.stderr, flush=True)
        shown = filled
        yield item
    print(f"{len(items)} done in {time.perf_counter() - start:.0f} s".ljust(100), file=sys.stderr, flush=True)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of one set of keys as aligned columns; floats with three digits, None as a dash."""
    cells = [list(rows[0]), *([_printed(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(f"{cell:>{w}}" for cell, w in zip(line, widths, strict=True)) for line in cells)


def rounded(result: Mapping[str, float | None]) -> dict[str, float | None]:
    """Numbers of four digits."""
    return {name: None if value is None else float(f"{value:.4g}") for name, value in result.items()}


def _printed(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
