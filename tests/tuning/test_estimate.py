"""How long a sweep will take: from runs that are there, else measured."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ats_core.recipes import MODELS
from pipelines.training.run_directory import RunDirectory
from pipelines.tuning.data import data_of
from pipelines.tuning.dry_run import dry_run
from pipelines.tuning.estimate import duration, estimates, seconds_per_update
from pipelines.tuning.options import SweepOptions
from pipelines.tuning.plan import trials_of
from pipelines.tuning.resources import Needs


def test_a_finished_run_tells_the_time_of_its_setting_and_a_probe_that_of_others(catalog: str, tmp_path: Path) -> None:
    axes = {"models": ("ats",), "patch_counts": (2, 3), "seeds": (0, 1, 2)}
    options = SweepOptions(catalog=catalog, out=str(tmp_path), epochs=4, **axes)
    data = data_of(options)
    trials = trials_of(options, data)
    for trial, wall_s in zip(trials[0:3:2], (50.0, 40.0), strict=True):  # both of ats-2
        RunDirectory(trial.run).write("summary.json", {"wall_s": wall_s})
    found = estimates(trials, data)
    assert [(of.how, of.updates) for of in found.values()] == [
        *(("finished", 64), ("a probe", 64)),
        *(("finished", 64), ("a probe", 64)),
        *(("a finished run", 64), ("a probe", 64)),
    ]
    assert found["ats-2 seed=2"].seconds == 40.0
    assert found["ats-3 seed=0"].seconds == found["ats-3 seed=2"].seconds > 0

    said = dry_run(options, data, Needs(1, 0), 2)
    assert [line.split()[0] for line in said.splitlines()[1:7]] == ["ats-2", "ats-3"] * 3
    assert "6 trials, 4 to run; each takes 1 CPU and 0 GPU, 2 at once" in said
    assert "reading, tests and the start are left out" in said
    for samples, to_run in ((1, 0), (2, 1), (20, 1)):  # of a search, those that have ended before count
        search = replace(options, seeds=(0,), search="optuna", samples=samples)
        assert f"2 trials, {to_run} to run" in dry_run(search, data, Needs(1, 0), 2)


@pytest.mark.parametrize("model", [model for model in MODELS if model not in ("deep_mil", "ips")])
def test_an_update_of_every_model_can_be_measured_without_touching_the_random_state(catalog: str, model: str) -> None:
    options = SweepOptions(catalog=catalog, out="/out", models=(model,), patch_counts=(2,))
    (trial,) = trials_of(options, data_of(options))
    before = torch.get_rng_state()
    assert 0 < seconds_per_update(trial.recipe, on_cpu=True) < 60
    assert torch.equal(torch.get_rng_state(), before)


def test_times_are_said_as_a_person_would() -> None:
    assert [duration(s) for s in (0.31, 42.4, 150, 5400)] == ["0.3 s", "42 s", "2 min", "1.5 h"]
