"""Many trainings, each run once, by one process or shared among several; and what a table shows of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ats_core.recipes import Recipe
from pipelines.catalog.made import catalog_of
from pipelines.catalog.schema import Source
from pipelines.training.options import TrainOptions
from pipelines.training.train import TRAIN_TEST, Splits, summary_of, train

UNUSED = ("run", "train_splits", "peak_memory_mb")  # the last is that of a whole process with several trainings


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training: a row of a table, one seed, one split."""

    row: str
    """The name of its row, as ATS-10."""
    source: Source
    recipe: Recipe
    options: TrainOptions
    splits: Splits = TRAIN_TEST

    def run(self) -> None:
        """Train, unless that is done, or go on where it was interrupted."""
        train(self.recipe, self.options, self.catalog, self.splits)

    def summary(self) -> dict[str, Any] | None:
        """What it gave; None before it has ended."""
        return summary_of(self.recipe, self.options, self.catalog, self.splits)

    @cached_property
    def catalog(self) -> str:
        """The URI of the catalog of its images, built at the first use."""
        return catalog_of(self.source, self.options.out, view_size=self.options.view_size)


def share(trials: Sequence[Trial], part: str) -> Sequence[Trial]:
    """Every n-th trial, from the i-th on, for a part `i/n`: 1/2 and 2/2 are all of them, on two cores."""
    first, of = (int(number) for number in part.split("/"))
    return trials[first - 1 :: of]


def finished(trials: Sequence[Trial]) -> Iterator[dict[str, Any]]:
    """The trials that have ended, as rows of benchmarks/results."""
    for trial in trials:
        if (summary := trial.summary()) is not None:
            yield {"row": trial.row} | {name: value for name, value in summary.items() if name not in UNUSED}


def by_row(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[list[Mapping[str, Any]]]]:
    """The rows of each name, as lists of the folds of each independent run."""
    found: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for row in rows:
        found.setdefault(row["row"], {}).setdefault(row["seed"], []).append(row)
    return {name: list(runs.values()) for name, runs in found.items()}
