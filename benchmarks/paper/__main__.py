"""The trainings behind docs/results.md: an experiment trains what is not trained yet, and prints its table.

python -m benchmarks.paper colon --images DIR --share 1/2 & python -m benchmarks.paper colon --images DIR --share 2/2
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from benchmarks.paper import colon, mnist
from benchmarks.paper.sampling import tested
from benchmarks.paper.trials import Trial, by_row, finished, share
from benchmarks.record import RESULTS, progress, record, table
from pipelines.job import connect
from pipelines.report.cross_validation import mean_and_error, mean_of_folds

MEASURES = {
    "test error": "test_error",
    "AUROC": "test_auroc",
    "test loss": "test_loss",
    "train loss": "train_loss",
    "on a box": "patches_on_box",
    "attention on boxes": "attention_on_box",
    "cells": "effective_cells",
    "ms/image": "ms_per_sample",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which experiment, on what."""

    experiment: tyro.conf.Positional[
        Literal[
            "colon", "colon-sampling", "colon-estimators", "colon-entropy", "colon-below", "mnist", "mnist-estimators"
        ]
    ]
    images: str
    """The data set: CRCHistoPhenotypes, or MNIST's four IDX files."""
    out: str = "runs/paper"
    """Catalogs and runs; a run that is finished there is not run again."""
    runs: int = 5
    """Independent runs, of seeds 0, 1, ..."""
    rows: tuple[str, ...] = ()
    """Only these rows of the table, as "ATS-10"."""
    share: str = "1/1"
    """i/n: every n-th training, from the i-th on. Several processes share an experiment so, one a core."""
    full_size: bool = False
    """Megapixel MNIST as in the paper, 1500 x 1500 and 500 epochs, which takes an accelerator."""
    show: bool = False
    """Train nothing: the table of what is finished."""


def trials_of(options: Options) -> list[Trial]:
    """All trainings of an experiment."""
    scale = mnist.PAPER if options.full_size else mnist.SMALL
    on_digits: Mapping[str, Callable[..., list[Trial]]] = {
        "mnist": mnist.patches,
        "mnist-estimators": mnist.estimators,
    }
    on_cells: Mapping[str, Callable[..., list[Trial]]] = {
        "colon": colon.models,
        "colon-sampling": colon.models,
        "colon-estimators": colon.estimators,
        "colon-entropy": colon.entropy,
        "colon-below": colon.below,
    }
    out = str(Path(options.out).absolute())
    if options.experiment in on_digits:
        trials = on_digits[options.experiment](options.images, out, options.runs, scale)
    else:
        trials = on_cells[options.experiment](options.images, out, options.runs)
    return [trial for trial in trials if not options.rows or trial.row in options.rows]


def tabulated(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A line a row name: mean and standard error over independent runs, each the mean of its folds."""
    lines = []
    for name, runs in by_row(rows).items():
        means = [mean_of_folds(run) for run in runs]
        line: dict[str, Any] = {"row": name, "runs": len(runs), "trainings": sum(map(len, runs))}
        line |= {"updates": max(fold["updates"] for run in runs for fold in run)}
        for title, key in MEASURES.items():
            values = [of_run[key] for of_run in means if key in of_run]
            line[title] = "{:.3f} +- {:.3f}".format(*mean_and_error(values)) if values else "-"
        lines.append(line)
    return lines


def main(options: Options) -> None:
    """Train this process's share, then show all that is there."""
    trials = trials_of(options)
    connect()
    if not options.show and options.experiment != "colon-sampling":
        for trial in progress(share(trials, options.share), lambda trial: f"{trial.row}, seed {trial.options.seed}"):
            trial.run()
    rows = list(tested(trials) if options.experiment == "colon-sampling" else finished(trials))
    if rows:
        lines = tabulated(rows)
        print(table(lines))
        name = f"paper_{options.experiment.replace('-', '_')}"
        record(name, {line["row"]: line["test error"] for line in lines}, rows=rows, to=RESULTS)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
