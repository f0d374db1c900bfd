"""A whole sweep: plan, catalogs, trials on Ray Tune, results. The same settings go on where they were interrupted."""

import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from math import isfinite
from typing import Any

import ray
from ray import tune
from ray._private.worker import get_dashboard_url  # no public function says it of a cluster that was joined
from ray.tune.logger import JsonLoggerCallback

from pipelines.report.results import SWEEPS
from pipelines.storage import objects
from pipelines.training.run_directory import RunDirectory
from pipelines.training.train import datasets
from pipelines.tuning import table
from pipelines.tuning.actor import TrialActor
from pipelines.tuning.data import Data, data_of
from pipelines.tuning.options import SweepOptions
from pipelines.tuning.plan import Trial, choices, combinations, sweep_name, trial_of, trials_of
from pipelines.tuning.progress import Progress
from pipelines.tuning.resources import Needs, at_once, check_fits, needs_of, nodes, nodes_to_come
from pipelines.tuning.search import Distinct, asha, optuna_search
from pipelines.tuning.trial import METRIC, Shared, earlier, rows_key

AGAIN = 1  # times that a trial whose process died, or that met an error of no known kind, goes on from its checkpoint
OF_TUNE = {
    "RAY_AIR_NEW_OUTPUT": "0",  # its new output draws boxes, whatever it is told
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the first report of a trial has no loss yet
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # more files that would say again what the run directories say
}
Known = dict[str, dict[str, Any]]
"""By trial its row of the results."""


def room(options: SweepOptions) -> tuple[Needs, int]:
    """What each trial needs, and how many run at once; a ResourceError where one would wait for ever."""
    cluster, there = ray.cluster_resources(), nodes()
    needs = needs_of(options, cluster)
    check_fits(needs, there, nodes_to_come(), grows=options.device == "gpu")
    return needs, at_once(needs, options, cluster, there)


def sweep(options: SweepOptions) -> str:
    """Run what is left of a sweep; the URI of its directory."""
    needs, seats = room(options)
    data = data_of(options)
    data.make(trial.recipe.view_size for trial in trials_of(options, data))
    trials = trials_of(options, data)  # anew: catalogs tell the colours of the user's own images
    uri = objects.join(options.out, SWEEPS, sweep_name(options, trials))
    known = known_rows(uri, trials, all_of_them=chooses_all(options, trials))
    describe(uri, options, trials[0].recipe.task)
    total = len(trials) if chooses_all(options, trials) else options.samples
    progress = Progress(uri, {trial.name: trial for trial in trials}, known, total=total, seats=seats)
    print(f"sweep: {uri}: {total} trials, {progress.done} ended before, each {needs}, {seats} at once", flush=True)
    if known:
        table.write(uri, list(known.values()))
    if progress.done < total:
        _tune(options, data, trials, progress, needs, seats)
    return uri


def chooses_all(options: SweepOptions, trials: Sequence[Trial]) -> bool:
    """Whether every trial is run, and there is nothing to search."""
    return options.search == "grid" or options.samples >= len(trials)


def known_rows(uri: str, trials: Sequence[Trial], *, all_of_them: bool) -> Known:
    """What is known of the trials: a summary says that one is finished, the results which were stopped.

    Args:
        uri: of the sweep directory.
        trials: that may be run.
        all_of_them: whether those that never began have a row.
    """
    before, rows = table.read(uri), {}
    for trial in trials:
        row, summary = before.get(trial.name, {}), trial.summary()
        began = summary is not None or trial.began()
        stopped = row.get("status") == "stopped" and row.get("run") == trial.run  # not by a sweep of other settings
        status = "finished" if summary else "stopped" if stopped else "pending"
        if began or all_of_them:
            more = {"run": trial.run if began else "", "startup_s": row.get("startup_s"), "summary": summary}
            rows[trial.name] = table.row_of(trial, status, **more)
    return rows


def describe(uri: str, options: SweepOptions, task: str) -> None:
    """Write sweep.json: settings, task, when the sweep first began, and where Ray shows it now."""
    started = (RunDirectory(uri).read("sweep.json") or {"started": time.time()})["started"]
    dashboard = get_dashboard_url()
    content = {"task": task, "started": started, "dashboard": dashboard and f"http://{dashboard}"}
    RunDirectory(uri).write("sweep.json", content | {"settings": asdict(options)})


def _tune(
    options: SweepOptions, data: Data, trials: Sequence[Trial], progress: Progress, needs: Needs, seats: int
) -> None:
    """Run what has not ended, and, for ASHA to compare with, replay what has."""
    os.environ.update(OF_TUNE)
    logging.getLogger("ray.tune").setLevel(logging.WARNING)
    ended = {name for name, row in progress.rows.items() if row["status"] in table.ENDED}
    first = sorted(trials, key=lambda trial: trial.name not in ended)
    of_rows = {rows_key(t): (t.catalog, t.splits) for t in trials if t.name not in ended}
    trainable = tune.with_parameters(
        TrialActor,
        shared=Shared(
            trials=progress.trials,
            rows={key: datasets(*of, smoke=options.smoke) for key, of in of_rows.items()},
            ended=ended,
            cpus=needs.cpus,
            replay=options.asha,
        ),
    )
    names = [trial.name for trial in first if options.asha or trial.name not in ended]
    all_of_them = chooses_all(options, trials)
    searcher = None if all_of_them else _searcher(options, data, progress, ended)
    limit = options.max_concurrent if all_of_them and not needs.workers else seats
    with tempfile.TemporaryDirectory(prefix="ats-tune-") as folder:  # what Tune would restore from is not needed
        tune.Tuner(
            tune.with_resources(trainable, tune.PlacementGroupFactory([needs.reserved()])),
            param_space={"trial": tune.grid_search(names)} if all_of_them else {},
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=asha(trials[0].recipe.epochs, options.grace_epochs) if options.asha else None,
                num_samples=1 if all_of_them else progress.total - progress.done,
                max_concurrent_trials=limit,
                reuse_actors=not needs.workers,  # a stopped training with workers does not end by itself
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                callbacks=[progress, JsonLoggerCallback()],  # Tune warns of trials that left it no file
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the training keeps its own
                failure_config=tune.FailureConfig(max_failures=AGAIN),
                verbose=0,
            ),
        ).fit()


def _searcher(options: SweepOptions, data: Data, progress: Progress, ended: set[str]) -> Distinct:
    """Optuna, told of all trials that have ended, and beginning with those that were interrupted."""
    axes = {axis: values for axis, values in choices(options).items() if len(values) > 1}
    numbers = [dict(zip(axes, of, strict=True)) for of in product(*(range(len(values)) for values in axes.values()))]
    seed, splits = options.seeds[0], data.splits[0]
    trials = [trial_of(options, data, choice, seed, splits) for choice in combinations(options)]
    names = {tuple(of.values()): trial.name for of, trial in zip(numbers, trials, strict=True)}
    a_choice = {trial.name: of for of, trial in zip(numbers, trials, strict=True)}
    interrupted = [a_choice[name] for name in progress.rows if name not in ended]
    losses = {name: earlier(progress.trials[name])[-1][METRIC] for name in ended}
    found = optuna_search({axis: len(values) for axis, values in axes.items()}, interrupted, seed)
    for name, loss in losses.items():
        if isfinite(loss):  # Optuna takes no other
            found.add_evaluated_point(a_choice[name], loss)
    return Distinct(found, lambda of: names[tuple(of[axis] for axis in axes)], progress.total - len(ended), losses)


def results(uri: str) -> list[Mapping[str, Any]]:
    """The rows of a sweep."""
    return list(table.read(uri).values())
