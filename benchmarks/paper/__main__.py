"""The trainings behind docs/results.md: an experiment trains what is not trained yet, and prints its table.

python -m benchmarks.paper colon --images DIR
python -m benchmarks.paper colon --images DIR --share 1/2 & python -m benchmarks.paper colon --images DIR --share 2/2
python -m benchmarks.paper colon --images DIR --show --record --figures
python -m benchmarks.paper colon --images DIR --add --record
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from benchmarks.paper import colon, figures, gtsdb, mnist
from benchmarks.paper.hardest import hardest
from benchmarks.paper.sampling import tested
from benchmarks.paper.trials import Trial, by_row, finished, joined, lacking, place, share
from benchmarks.record import progress, record, recorded, table
from pipelines.job import connect
from pipelines.report.cross_validation import mean_and_error, mean_of_folds
from pipelines.report.curves import X
from pipelines.storage import objects
from pipelines.training.machine import usable_cores

Experiment = Literal[
    "colon",
    "colon-sampling",
    "colon-estimators",
    "colon-entropy",
    "colon-below",
    "mnist",
    "mnist-estimators",
    "mnist-anomaly",
    "gtsdb-levers",
    "gtsdb-prohibitory",
    "gtsdb-speed-limit",
]
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
COMPARED = ("test error", "AUROC", "test loss", "train loss")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which experiment, on what."""

    experiment: tyro.conf.Positional[Experiment]
    """Tables and figures of one kind; `colon-sampling` trains nothing, it tests the models of `colon` again."""
    images: str
    """The data set: CRCHistoPhenotypes, MNIST's four IDX files, or the frames of GTSDB."""
    out: str = "runs/paper"
    """Local folder of catalogs and runs; a run that is finished there is not run again."""
    runs: int = 5
    """Independent runs, of seeds 0, 1, ..."""
    rows: tuple[str, ...] = ()
    """Only these rows of the table, as "ATS-10"."""
    share: str = "1/1"
    """i/n: every n-th training, from the i-th on, on an n-th of the cores. Several processes share an experiment so."""
    full_size: bool = False
    """Megapixel MNIST as in the paper, 1500 x 1500 and 500 epochs, which takes an accelerator."""
    show: bool = False
    """Train nothing: the table of what is finished."""
    add: bool = False
    """Train only what benchmarks/results lacks, as on another machine; table and --record have the two together."""
    record: bool = False
    """Keep the table and its rows in benchmarks/results."""
    figures: bool = False
    """Draw the experiment's figures into docs/figures."""


def trials_of(options: Options) -> list[Trial]:
    """All trainings of an experiment."""
    if options.full_size and not options.experiment.startswith("mnist"):
        raise SystemExit(f"--full-size is of the digits: {options.experiment} has one size.")
    scale = mnist.PAPER if options.full_size else mnist.SMALL
    made: Mapping[str, Callable[[str, str, int], list[Trial]]] = {
        "colon": colon.models,
        "colon-sampling": colon.models,
        "colon-estimators": colon.estimators,
        "colon-entropy": colon.entropy,
        "colon-below": colon.below,
        "mnist": partial(mnist.patches, scale=scale),
        "mnist-estimators": partial(mnist.estimators, scale=scale),
        "mnist-anomaly": partial(mnist.anomaly, scale=scale),
        "gtsdb-levers": gtsdb.levers,
        "gtsdb-prohibitory": partial(gtsdb.models, task="prohibitory"),
        "gtsdb-speed-limit": partial(gtsdb.models, task="speed_limit"),
    }
    images, out = objects.absolute(options.images), str(Path(options.out).absolute())
    trials = made[options.experiment](images, out, options.runs)
    if unknown := set(options.rows) - (rows := {trial.row for trial in trials}):
        raise SystemExit(f"{options.experiment} has no row {sorted(unknown)}. Choose from {sorted(rows)}.")
    return [trial for trial in trials if not options.rows or trial.row in options.rows]


def name_of(options: Options) -> str:
    """What the experiment's files in benchmarks/results and docs/figures are called."""
    return f"paper_{options.experiment.replace('-', '_')}" + ("_full_size" if options.full_size else "")


def tabulated(
    rows: Sequence[Mapping[str, Any]], folds: int, paper: Mapping[str, tuple[str, str]] | None = None
) -> list[dict[str, Any]]:
    """A line a row name: mean and standard error over independent runs, each the mean of its folds.

    Runs that lack a fold are left out. `paper` has train loss and test error as published, by row name.
    """
    lines = []
    for name, runs in by_row(rows, folds).items():
        means = [mean_of_folds(run) for run in runs]
        updates = max(fold["updates"] for run in runs for fold in run)
        line: dict[str, Any] = {"row": name, "runs": len(runs), "updates": updates}
        for title, key in MEASURES.items():
            values = [of_run[key] for of_run in means if key in of_run]
            line[title] = _text(values)
        if paper:
            line["paper: train loss"], line["paper: test error"] = paper.get(name, ("-", "-"))
        lines.append(line)
    return lines


def differences(rows: Sequence[Mapping[str, Any]], folds: int) -> list[dict[str, Any]]:
    """A line a row name but the first: its runs less those of the first that have the same seed.

    These share images, their order and first weights, so that the differences vary less than the runs.
    """
    runs = by_row(rows, folds).items()
    (first, of_first), *others = ((name, {run[0]["seed"]: mean_of_folds(run) for run in of}) for name, of in runs)
    lines: list[dict[str, Any]] = []
    for name, of_name in others:
        seeds = sorted(of_name.keys() & of_first.keys())
        if len(seeds) > 1:
            line: dict[str, Any] = {"run by run": f"{name} less {first}", "runs": len(seeds)}
            for title, key in ((title, MEASURES[title]) for title in COMPARED):
                both = [(of_name[seed], of_first[seed]) for seed in seeds]
                line[title] = _text([own[key] - other[key] for own, other in both if key in own.keys() & other.keys()])
            lines.append(line)
    return lines


def _text(values: Sequence[float]) -> str:
    """Mean and standard error; one value has no error to show."""
    if len(values) > 1:
        return "{:.3f} +- {:.3f}".format(*mean_and_error(values))
    return f"{values[0]:.3f}" if values else "-"


def draw(options: Options, trials: Sequence[Trial]) -> None:
    """The figures of an experiment, from the runs that are finished."""
    experiment, name, runs = options.experiment, name_of(options), figures.finished(trials)
    if experiment.startswith(("mnist", "gtsdb")) or experiment == "colon-estimators":
        x: X = "seconds" if experiment == "mnist" else "updates"
        print(figures.curves(name, runs, ("train_loss", "test_error", "patches_on_box"), x=x))
    if experiment == "mnist" and "ATS-10" in dict(runs):
        print(figures.evolution_of_images(f"{name}_attention", dict(runs)["ATS-10"]))
    if experiment == "colon":
        for row in ("ATS-10", "CNN 0.5"):
            wrong = hardest([run for run in runs if run[0] == row])
            print(f"Images wrong on average over the trainings of {row}:", table(wrong) if wrong else "-", sep="\n")
    if experiment in ("colon", "colon-entropy") and (of_rows := figures.finished(one_a_row(trials))):
        print(figures.evolution_of_settings(f"{name}_attention", of_rows, figures.shown(of_rows[0][1])[1]))
        if len(of_rows) > 1:
            print(figures.agreement_table(of_rows))


def one_a_row(trials: Sequence[Trial]) -> list[Trial]:
    """The trials of attention sampling on the first seed and split: their maps are of the same images and cells."""
    seed, splits = trials[0].options.seed, trials[0].splits
    return [t for t in trials if (t.options.model, t.options.seed, t.splits) == ("ats", seed, splits)]


def _progress(trials: Sequence[Trial]) -> Iterator[Trial]:
    return progress(trials, lambda trial: f"{trial.row}, seed {trial.options.seed}")


def keep_what_is_recorded(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to put fewer rows in place of those recorded."""
    if lost := {place(row) for row in recorded(name)} - {place(row) for row in rows}:
        remedy = "Give --add, which keeps them, or delete the file, to begin anew."
        raise SystemExit(f"--record would drop {len(lost)} rows of benchmarks/results/{name}.json. {remedy}")


def main(options: Options) -> None:
    """Train this process's share, then show all that is there."""
    again = options.experiment == "colon-sampling"
    if options.add and (options.figures or again):
        raise SystemExit(
            "--add is of rows of trainings: figures, and models tested again, are of the runs that are here."
        )
    trials, name = trials_of(options), name_of(options)
    before = recorded(name) if options.add else []
    torch.set_num_threads(max(1, usable_cores() // int(options.share.split("/")[1])))
    connect()
    if not options.show and not again:
        for trial in _progress(lacking(share(trials, options.share), before)):
            trial.run()
    found = tested(_progress(trials)) if again else finished(trials)
    rows = joined(before, found)
    paper = colon.PAPER if options.experiment == "colon" else None
    folds = len({trial.splits for trial in trials})
    lines = tabulated(rows, folds, paper)
    for of_table in (lines, differences(rows, folds) if lines else []):
        if of_table:
            print(table(of_table))
    if options.record:
        keep_what_is_recorded(name, rows)
        record(name, {line["row"]: line["test error"] for line in lines}, rows=rows)
    if options.figures:
        draw(options, trials)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
