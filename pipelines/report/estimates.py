"""A measure of a row: the mean over its runs, and how far it can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from statistics import mean
from typing import Any, Literal

from pipelines.report.cross_validation import mean_and_error
from pipelines.report.results import Result

Of = Literal["runs", "folds", "images", ""]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, and an interval around it."""

    value: float
    low: float
    high: float
    """Of several runs, or folds of one, the mean less and plus its standard error; of one run, the bootstrap's 95 %."""
    of: Of
    """What the interval comes from; "" where there is none, and the ends are the value."""

    def text(self, form: str = ".3f") -> str:
        """As it stands in a table: `.140 ± .008` of several runs, `.140 (.090 to .190)` of one."""
        value = format(self.value, form)
        if self.of == "images":
            return f"{value} ({self.low:{form}} to {self.high:{form}})"
        return f"{value} ± {self.high - self.value:{form}}" if self.of else value


def finished(results: Sequence[Result]) -> list[Result]:
    """Those that have a summary."""
    return [result for result in results if not result.error]


def distinct(results: Sequence[Result]) -> list[Result]:
    """The finished results of a row, of several of one seed and test split the last: they are the same run again."""
    found: dict[tuple[Any, ...], Result] = {}
    for result in finished(results):
        splits = result.summary.get("test_splits")
        found[result.summary.get("seed"), *(splits or (result.name,))] = result
    return list(found.values())


def folds_by_seed(results: Sequence[Result]) -> tuple[list[list[Result]], list[list[Result]]]:
    """The finished results of a row as independent runs, each with the folds of one cross-validation.

    Those that have as many folds as any, and those that have fewer, as a sweep on its way: not to be averaged with.
    """
    seeds: dict[Any, list[Result]] = {}
    for result in distinct(results):
        seeds.setdefault(result.summary.get("seed"), []).append(result)
    most = max(map(len, seeds.values()), default=0)
    whole = [folds for folds in seeds.values() if len(folds) == most]
    return whole, [folds for folds in seeds.values() if len(folds) < most]


def estimate(results: Sequence[Result], measure: str) -> Estimate | None:
    """A measure of the results of one row; None where none of them has it.

    The mean of the folds of each seed first, then the mean over the seeds with its standard error, as in the paper; of
    seeds with fewer folds than others, nothing.
    """
    having = [result for result in results if measure in result.summary]
    runs = [[result.summary[measure] for result in folds] for folds in folds_by_seed(having)[0]]
    if not runs:
        return None
    values, of = ([mean(folds) for folds in runs], "runs") if len(runs) > 1 else (runs[0], "folds")
    if not all(map(isfinite, values)):  # a training that ended in NaN: a mean without it would be of others
        return Estimate(nan, nan, nan, "")
    if len(values) == 1:
        return _of_one(distinct(having)[0].summary, measure)
    value, error = mean_and_error(values)
    return Estimate(value, value - error, value + error, of)


def _of_one(summary: Mapping[str, Any], measure: str) -> Estimate:
    value, low, high = (summary.get(name) for name in (measure, f"{measure}_low", f"{measure}_high"))
    return Estimate(value, value, value, "") if low is None or high is None else Estimate(value, low, high, "images")


def best_first(rows: Mapping[str, Sequence[Result]]) -> list[str]:
    """The rows by their rank among those of their model, then by test error: the best of each model first."""
    by_error = sorted(rows, key=lambda row: _error(rows[row]))
    models = [rows[row][0].summary.get("model") for row in by_error]
    rank = {row: models[:i].count(models[i]) for i, row in enumerate(by_error)}
    return sorted(by_error, key=rank.__getitem__)


def _error(runs: Sequence[Result]) -> float:
    """Infinite where there is none; the row then comes last."""
    found = estimate(runs, "test_error")
    return found.value if found and isfinite(found.value) else inf
