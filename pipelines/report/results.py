"""What runs and sweeps gave, as one kind of rows, whether it lies in run directories or in a sweep's table."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from glob import escape
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ats_core.recipes import MODELS
from pipelines.report.row_names import row_names
from pipelines.report.runs import RunError
from pipelines.report.table import name_of
from pipelines.storage import objects
from pipelines.training.run_directory import RunDirectory

Kind = Literal["run", "sweep", "folder"]

NOT_FINISHED = "not finished"
ENDS = {"finished": "", "stopped": "stopped early", "failed": "failed", "pending": NOT_FINISHED}
"""What a trial's status says to whom its error says nothing."""
SETTINGS = ("task", "model", "n_patches", "estimator", "entropy_weight", "patch_size", "view_size", "batch_size")
"""Of a recipe, what a result has beside its summary, and before there is one."""
SWEEPS, TRIALS = "sweeps", "results.parquet"
"""Below the --out of a sweep, and below the sweep itself."""
OF_TRIAL = ("trial", "row", "status", "error", "run")
READERS = 16  # a bucket answers many at once


@dataclass(frozen=True, slots=True)
class Result:
    """One run: what it was and what it gave."""

    name: str
    """Unique among the results."""
    row: str
    """The same for runs that differ in seed or test split alone: what is averaged over."""
    run: str
    """URI of the run directory; "" where there is none."""
    summary: Mapping[str, Any]
    """Its summary.json, and its settings; these alone where it has not finished."""
    error: str = ""
    """Why it has no summary; "" where it has."""


@dataclass(frozen=True, slots=True)
class Results:
    """Results in the order in which they are shown: by task, model, patches, row, seed."""

    title: str
    results: tuple[Result, ...]
    dashboard: str = ""
    """URL of Ray's live view of a sweep; "" where there is none."""
    kind: Kind = "run"

    def by_row(self) -> dict[str, tuple[Result, ...]]:
        """The results of each row, finished or not."""
        rows: dict[str, list[Result]] = {}
        for result in self.results:
            rows.setdefault(result.row, []).append(result)
        return {row: tuple(results) for row, results in rows.items()}


def results_of(uri: str) -> Results:
    """What lies in a run directory, in a sweep directory, or in a folder with several of either directly below.

    Raises:
        RunError: there is neither, or a table of a sweep cannot be read.
    """
    uri = objects.absolute(uri).rstrip("/")
    if objects.exists(objects.join(uri, TRIALS)):
        return _sweep(uri)
    if (config := _config(uri)) is not None:
        title = f"{name_of(config['recipe'])}, seed {_seed(config)}"
        (row,) = row_names([config])
        return Results(title, (_run(uri, config, row),), kind="run")
    return _folder(uri)


def _sweep(uri: str) -> Results:
    settings = RunDirectory(uri).read("sweep.json") or {}
    results = _in_order(_trials(uri))
    if not results:
        raise RunError(uri, "no trial of this sweep has begun", "Try again when one has.")
    return Results(_last_part(uri), results, settings.get("dashboard") or "", "sweep")


def _folder(uri: str) -> Results:
    """Runs of a folder, sweeps of it and of its `sweeps`; a run that is also a trial counts once, wherever that was."""
    runs = {_last_part(run): run for run in _below(uri, "config.json")}
    trials = [
        replace(trial, run=runs.pop(_last_part(trial.run), trial.run))
        for trial in _of_several([*_below(uri, TRIALS), *_below(objects.join(uri, SWEEPS), TRIALS)])
    ]
    configs = _configs([*runs.values(), *(trial.run for trial in trials if trial.run)])
    rows = dict(zip(configs, row_names(list(configs.values())), strict=True))
    alone = _runs({run: configs[run] for run in runs.values() if run in configs}, rows)
    if not trials and not alone:
        remedy = "Name the directory of a run, of a sweep, or one with several of them, such as the --out of a job."
        raise RunError(uri, "there is no run in it, and no sweep", remedy)
    return Results(_last_part(uri), _in_order([*_renamed(trials, alone, rows), *alone]), kind="folder")


def _renamed(trials: Sequence[Result], alone: Sequence[Result], rows: Mapping[str, str]) -> list[Result]:
    """Trials by the rows of their runs: what a sweep calls a row tells it from others of that sweep alone.

    One that left no run is called as its sweep did, with its task where there are several.
    """
    several = len({result.summary.get("task") for result in (*trials, *alone)}) > 1
    own = (f"{trial.summary.get('task', '')} {trial.row}" if several else trial.row for trial in trials)
    return [replace(trial, row=rows.get(trial.run, row)) for trial, row in zip(trials, own, strict=True)]


def _below(uri: str, name: str) -> list[str]:
    """The folders directly below that have a file of this name."""
    try:
        files = objects.list_uris(objects.join(escape(uri), "*", name))
    except FileNotFoundError:
        return []
    return [file.rsplit("/", 1)[0] for file in files]


def _config(uri: str) -> dict[str, Any] | None:
    """The settings of a run; None where this is none."""
    config = RunDirectory(uri).read("config.json")
    return config if config and {"recipe", "catalog"} <= config.keys() else None


def _configs(runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings of those that are runs."""
    with ThreadPoolExecutor(READERS) as pool:
        return {run: config for run, config in zip(runs, pool.map(_config, runs), strict=True) if config is not None}


def _runs(configs: Mapping[str, Mapping[str, Any]], rows: Mapping[str, str]) -> list[Result]:
    """The results of run directories."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(_run, configs, configs.values(), (rows[run] for run in configs)))


def _run(uri: str, config: Mapping[str, Any], row: str) -> Result:
    recipe = config["recipe"]
    settings = {name: recipe[name] for name in SETTINGS if name in recipe} | {"seed": _seed(config)}
    summary = RunDirectory(uri).read("summary.json")
    return Result(_last_part(uri), row, uri, settings | (summary or {}), "" if summary else NOT_FINISHED)


def _last_part(uri: str) -> str:
    """The name of a folder, which a copy of it keeps."""
    return uri.rsplit("/", 1)[-1]


def _seed(config: Mapping[str, Any]) -> int:
    return config.get("options", {}).get("seed", 0)


def _trials(sweep: str) -> list[Result]:
    """The results that a sweep collected."""
    path = objects.join(sweep, TRIALS)
    try:
        rows = pq.read_table(pa.BufferReader(objects.read_bytes(path))).to_pylist()
    except pa.ArrowInvalid as error:
        raise RunError(path, f"it is no table: {error}", "If the sweep is running, try again in a moment.") from error
    return [of_trial(row) for row in rows]


def of_trial(row: Mapping[str, Any]) -> Result:
    """The result of a row of a sweep's table."""
    summary = {name: value for name, value in row.items() if name not in OF_TRIAL and value not in (None, "")}
    if "view_size" in summary:  # as in summary.json, as are the splits
        summary["view_size"] = [int(side) for side in summary["view_size"].split("x")]
    summary |= {name: summary[name].split("+") for name in ("train_splits", "test_splits") if name in summary}
    return Result(row["trial"], row["row"], row["run"] or "", summary, row["error"] or ENDS[row["status"]])


def _of_several(sweeps: Sequence[str]) -> list[Result]:
    """The trials of some sweeps, a run of several of them once; those of one name with their sweep's before it."""
    found = {
        _last_part(trial.run) or (sweep, trial.name): (sweep, trial) for sweep in sweeps for trial in _trials(sweep)
    }
    names = Counter(trial.name for _, trial in found.values())
    return [
        replace(trial, name=f"{_last_part(sweep)}/{trial.name}") if names[trial.name] > 1 else trial
        for sweep, trial in found.values()
    ]


def _in_order(results: Iterable[Result]) -> tuple[Result, ...]:
    return tuple(sorted(results, key=partial(_place, models=list(MODELS))))


def _place(result: Result, models: Sequence[str]) -> tuple[Any, ...]:
    of = result.summary
    model = of.get("model", "")
    known = models.index(model) if model in models else len(models)
    return of.get("task", ""), known, model, of.get("n_patches", 0), result.row, of.get("seed", 0), result.name
