"""One trial: a training, of which Tune is told every evaluation."""

import gc
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import TextIOBase
from typing import Any, TextIO

import ray.data
import torch

from ats_core.errors import AtsError
from pipelines.job import quieten
from pipelines.training.memory import forget_peak, give_back
from pipelines.training.run_directory import RunDirectory
from pipelines.training.train import train
from pipelines.tuning.plan import Trial

METRIC = "test_loss"
"""What a search makes small; smoother than the error."""
TOLD = ("epoch", "seconds", METRIC)

Report = Callable[[Mapping[str, Any]], None]
"""Tells Tune, which may stop the trial then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all trials of a sweep share."""

    trials: Mapping[str, Trial]
    """By name."""
    rows: Mapping[str, Mapping[str, ray.data.Dataset]]
    """The training and the test rows, made once, by `rows_key`."""
    ended: Collection[str]
    """Trials that are only replayed."""
    cpus: float
    """Reserved for each."""
    replay: bool
    """Report earlier evaluations first, so that a scheduler knows what it knew when it was interrupted."""


def run_trial(name: str, shared: Shared, report: Report) -> dict[str, Any]:
    """Train, or go on with, a trial; its last evaluation, or the "error" of one that is refused.

    Which is no reason to try it again. The last evaluation is no report: a trial is not stopped when it has ended.
    """
    trial = shared.trials[name]
    begin_afresh(shared.cpus)
    if shared.replay:
        for row in earlier(trial):
            if name in shared.ended or row["epoch"] < trial.recipe.epochs:  # what is complete is not stopped
                report(row)
    if name in shared.ended:
        return {}
    try:
        with warnings_alone():
            rows = shared.rows[rows_key(trial)]
            observe = Observer(report, trial.recipe.epochs)
            summary = train(trial.task, trial.options, trial.catalog, trial.splits, rows=rows, observe=observe)
    except AtsError as error:
        return {"error": said(error)}
    return {"epoch": summary["epochs"], METRIC: summary[METRIC]}


def rows_key(trial: Trial) -> str:
    """What trials share that train and test on the same rows."""
    return repr((trial.catalog, trial.splits))


def said(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


@dataclass
class Observer:
    """Passes on the first epoch, which says when training began, and every evaluation but the last."""

    report: Report
    epochs: int
    began: bool = False

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Told of an epoch by the training loop."""
        if not self.began or (METRIC in row and row["epoch"] < self.epochs):
            self.began = True
            self.report({name: row[name] for name in TOLD if name in row})


def earlier(trial: Trial) -> list[dict[str, Any]]:
    """The evaluations that a former process wrote down."""
    rows = RunDirectory(trial.run).read_metrics()
    return [{name: row[name] for name in TOLD} for row in rows if METRIC in row]


def begin_afresh(cpus: float) -> None:
    """Make a process that ran another trial before as good as new: threads, peak of memory, log levels."""
    quieten()
    torch.set_num_threads(max(1, int(cpus)))
    gc.collect()
    for kind in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        give_back(torch.device(kind))
        forget_peak(torch.device(kind))


@contextmanager
def warnings_alone() -> Iterator[None]:
    """Of what a training prints, pass on its warnings: epochs are in metrics.jsonl, and many trials talk at once."""
    with redirect_stdout(_Warnings(sys.stdout)):
        yield


class _Warnings(TextIOBase):
    def __init__(self, out: TextIO) -> None:
        self.out = out

    def write(self, text: str) -> int:
        if text.startswith("WARNING"):
            print(text, file=self.out, flush=True)
        return len(text)
