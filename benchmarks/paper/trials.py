"""Many trainings, each run once, by one process or shared among several; and what a table shows of them."""

import fcntl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ats_core.recipes import Recipe
from pipelines.catalog.made import catalog_of, catalog_uri, is_catalog
from pipelines.catalog.schema import Source
from pipelines.training.options import TrainOptions
from pipelines.training.train import TRAIN_TEST, Splits, summary_of, train

UNUSED = ("run", "start_from", "train_splits", "peak_memory_mb")  # the last is of a whole process of several trainings


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training: a row of a table, one seed, one split."""

    row: str
    """The name of its row, as ATS-10."""
    source: Source
    recipe: Recipe
    options: TrainOptions
    splits: Splits = TRAIN_TEST
    start: "Trial | None" = None
    """Trained first; this one starts from what it has learned."""

    def run(self) -> None:
        """Train, unless that is done, or go on where it was interrupted."""
        if self.start:
            with _alone(self.options.out, self.start.row):
                self.start.run()
        with _alone(self.options.out, "building"):
            catalog_of(self.source, self.options.out, view_size=self.options.view_size)
        train(self.recipe, self._started(), self.catalog, self.splits)

    def summary(self) -> dict[str, Any] | None:
        """What it gave; None before it has ended."""
        if not is_catalog(self.catalog) or (self.start and self.start.summary() is None):
            return None
        return summary_of(self.recipe, self._started(), self.catalog, self.splits)

    def _started(self) -> TrainOptions:
        """The options, with the run that it starts from, which has ended."""
        start = self.start and self.start.summary()
        return replace(self.options, start_from=start["run"]) if start else self.options

    @property
    def place(self) -> tuple[str, int, tuple[str, ...]]:
        """Where it stands in a table, as `place` of its summary."""
        return self.row, self.options.seed, tuple(self.splits.test)

    @property
    def catalog(self) -> str:
        """The URI of the catalog of its images."""
        return catalog_uri(self.source, self.options.out, view_size=self.options.view_size)


@contextmanager
def _alone(out: str, what: str) -> Iterator[None]:
    """One process at a time: those that share an experiment need the same images, catalogs and starts."""
    Path(out).mkdir(parents=True, exist_ok=True)
    with Path(out, f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def share(trials: Sequence[Trial], part: str) -> Sequence[Trial]:
    """Every n-th trial, from the i-th on, for a part `i/n`: 1/2 and 2/2 are all of them, on two cores."""
    first, of = (int(number) for number in part.split("/"))
    return trials[first - 1 :: of]


def finished(trials: Sequence[Trial]) -> Iterator[dict[str, Any]]:
    """The trials that have ended, as rows of benchmarks/results."""
    for trial in trials:
        if (summary := trial.summary()) is not None:
            yield {"row": trial.row} | {name: value for name, value in summary.items() if name not in UNUSED}


def place(row: Mapping[str, Any]) -> tuple[str, int, tuple[str, ...]]:
    """Row, seed and test splits: what there is once of in benchmarks/results."""
    return row["row"], row["seed"], tuple(row["test_splits"])


def lacking(trials: Sequence[Trial], rows: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """The trials of which no row is there."""
    there = {place(row) for row in rows}
    return [trial for trial in trials if trial.place not in there]


def joined(before: Iterable[Mapping[str, Any]], found: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows recorded before, then those found that were not."""
    rows = {place(row): row for row in before}
    for row in found:
        rows.setdefault(place(row), row)
    return list(rows.values())


def by_row(rows: Sequence[Mapping[str, Any]], folds: int) -> dict[str, list[list[Mapping[str, Any]]]]:
    """The rows of each name, as lists of the folds of each independent run that has all of them."""
    found: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for row in rows:
        found.setdefault(row["row"], {}).setdefault(row["seed"], []).append(row)
    whole = {name: [run for run in runs.values() if len(run) == folds] for name, runs in found.items()}
    return {name: runs for name, runs in whole.items() if runs}
