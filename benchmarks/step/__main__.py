"""What a training step costs, every model in one run: time, memory, where the time goes, and what would be faster.

A step is reading, forward, backward and update. Images are random pixels, 8-bit; drawn patches are cut from them, moved
as bytes and standardised on the device, which `read ms` shows apart: nothing comes from a disk. Views are there
beforehand, as in a catalog. Figures beside the paper's are of batch 1 and of images in main memory, as there; `batch`
is one that saturates the device, which then holds the images, as training on a small set does. The networks of one task
are those of its recipe for all models. What memory does not last for is None. A CPU is measured on one thread.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ats_core.heap import keep_freed_memory
from ats_core.precision import has_bfloat16
from benchmarks.record import RESULTS, progress, record, rounded, table
from benchmarks.step import claims, costs, heap, memory, phases, roofline, variants
from benchmarks.step.cases import TASKS, Task
from benchmarks.step.costs import Rows
from benchmarks.step.timing import SMOKE, Effort

MODELS = ("uniform", "cnn", "deep_mil", "ats", "ips")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Options:
    """As on the command line."""

    device: torch.device
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    smoke: bool
    compile: bool
    precision: str
    out: Path | None

    @property
    def bfloat16(self) -> bool:
        """Whether the networks compute in it: `auto` does where the hardware has it, as training."""
        return has_bfloat16(self.device) if self.precision == "auto" else self.precision == "bfloat16"

    @property
    def whole(self) -> bool:
        """Whether the run is worth keeping where records lie."""
        return not self.smoke and set(self.tasks) == set(TASKS) and set(self.models) == set(MODELS)


def parsed(arguments: Sequence[str]) -> Options:
    """Options from the command line; the standard library alone, so that a machine with torch will do."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__)
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=[*TASKS])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_argument("--smoke", action="store_true", help="small images, one call each, to see that all of it runs")
    help = "of the networks; auto, as in training, is bfloat16 where the hardware computes in it"
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help=help)
    parser.add_argument("--compile", action="store_true", help="the feature network by torch.compile, too: a minute")
    help = "folder for the record; without it, only a whole run is kept, in benchmarks/results"
    parser.add_argument("--out", type=Path, help=help)
    given = vars(parser.parse_args(arguments))
    return Options(**given | {"tasks": tuple(given["tasks"]), "models": tuple(given["models"])})


def main(options: Options) -> None:
    """Measure, print the tables, keep the record."""
    device, effort = options.device, SMOKE if options.smoke else Effort()
    if device.type == "cpu":
        torch.set_num_threads(1)
        keep_freed_memory()
    sized = {name: TASKS[name].smoke() if options.smoke else TASKS[name] for name in options.tasks}
    tasks = {name: replace(task, bfloat16=options.bfloat16) for name, task in sized.items()}
    peaks = roofline.peaks(device, side=256 if options.smoke else 2048)
    of_tasks = {name: task_rows(task, options, effort) for name, task in tasks.items()}
    parts, ways = of_sampling(tasks, of_tasks, peaks, options, effort)
    heaps = of_heap(tasks, of_tasks, effort) if device.type == "cpu" else []
    result = claims.of_costs(of_tasks, "CPU ms" if device.type == "cpu" else "ms") | claims.of_phases(parts)
    peak_gflops = peaks.gflops(device, options.bfloat16)
    result |= {"peak_gflops": peak_gflops, "peak_bf16_gflops": peaks.bf16, "peak_gb_per_s": peaks.gb_per_s}
    result = {"precision": "bfloat16" if options.bfloat16 else "float32", **rounded(result)}
    tables = {f"{tasks[name].title}: a training step a sample": rows for name, rows in of_tasks.items()}
    tables |= {f"Where the time goes, a sample; peaks: {peaks.source}": parts, "Ways to run a step, a sample": ways}
    tables |= {"Freed memory kept, or given back to the kernel, a sample": heaps}
    for title, rows in {**tables, "Goals": claims.beside_goals(result)}.items():
        if rows:
            print(f"{title}\n{table(rows)}\n")
    keep(result, [{"table": title, **row} for title, rows in tables.items() for row in rows], options)


def task_rows(task: Task, options: Options, effort: Effort) -> Rows:
    """All models of a task: their times in turns, and the memory of each."""
    cases = [case for case in task.cases() if case.recipe.model in options.models]
    peaks_mb = [
        memory.peak_mb(case, options.device, effort.processes)
        for case in progress(cases, lambda case: f"{task.title}, {case.method}, memory")
    ]
    rows = costs.rows(cases, options.device, effort, task.title)
    return [{**row, "MB": peak_mb} for row, peak_mb in zip(rows, peaks_mb, strict=True)]


def of_sampling(
    tasks: dict[str, Task], of_tasks: dict[str, Rows], peaks: roofline.Peaks, options: Options, effort: Effort
) -> tuple[Rows, Rows]:
    """Phases and variants of attention sampling, at batch 1 and at the one that saturates."""
    parts: Rows = []
    ways: Rows = []
    device = options.device
    for name, task in tasks.items():
        case = task.sampling(task.main)
        for batch, home in costs.settings(_batch(of_tasks[name], case.method), device):
            which = {"task": name, "model": case.method, "batch": batch, "images in": costs.place(home)}
            sample = costs.trainer(case, batch, device, home)
            parts += [which | row for row in phases.rows(sample, peaks, effort, f"{task.title}, phases")]
            changes = dict(variants.variants(case, batch, device, home, compile=options.compile))
            rows = variants.rows(case, batch, device, home, changes, effort, f"{task.title}, variants")
            ways += [which | row for row in rows]
    return parts, ways


def of_heap(tasks: dict[str, Task], of_tasks: dict[str, Rows], effort: Effort) -> Rows:
    """Attention sampling and the largest CNN of each task, at the batch that saturates."""
    found: Rows = []
    for kind in (lambda task: task.sampling(task.main), lambda task: task.cnn(task.scales[-1])):
        cases = {name: kind(task) for name, task in tasks.items()}
        batches = {name: _batch(of_tasks[name], case.method) for name, case in cases.items()}
        found += heap.rows(cases, batches, effort)
    return found


def _batch(rows: Rows, method: str) -> int:
    return next((row["batch"] for row in rows if row["model"] == method), 1)


def keep(result: dict[str, str | float | None], rows: Rows, options: Options) -> None:
    """The last line, and the record of a whole run or of one that was given a folder."""
    if options.out is None and not options.whole:
        print(json.dumps(result), flush=True)
    else:
        name = "step" if options.device.type == "cpu" else f"step_{options.device.type}"
        record(name, result, rows=rows, to=options.out or RESULTS)


if __name__ == "__main__":
    main(parsed(sys.argv[1:]))
