"""Sweeps on a real Ray: what they leave, that they go on, that what fails is a row, that nothing waits for ever."""

import csv
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.core.generated import autoscaler_pb2
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_put

from deploy.local_head import local_head
from pipelines.storage import objects
from pipelines.tuning import resources, table
from pipelines.tuning.options import SweepOptions
from pipelines.tuning.resources import ResourceError
from pipelines.tuning.sweep import room, sweep
from pipelines.tuning.trial import METRIC

EPOCHS = 4
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def options(toy_catalog: str, tmp_path_factory: pytest.TempPathFactory) -> SweepOptions:
    """Two models, two numbers of patches of which one is too large: the view has 256 cells."""
    return SweepOptions(
        task="colon_cancer",
        catalog=toy_catalog,
        out=str(tmp_path_factory.mktemp("sweeps")),
        models=("ats", "cnn"),
        patch_counts=(4, 300),
        entropy_weights=(0.0, 0.1),
        epochs=EPOCHS,
        eval_every=1,
        max_concurrent=1,
    )


@pytest.fixture(scope="module")
def swept(options: SweepOptions) -> str:
    """A sweep that nothing disturbs; the URI of its directory."""
    return sweep(options)


def rows_of(uri: str) -> dict[str, dict[str, Any]]:
    return table.read(uri)


def history(run: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in objects.read_bytes(f"{run}/metrics.jsonl").splitlines()]


def losses(run: str) -> list[float]:
    return [row["train_loss"] for row in history(run)]


def test_every_trial_is_a_row_of_its_summary_and_one_that_is_refused_a_row_with_its_error(swept: str) -> None:
    rows = rows_of(swept)
    assert {name: row["status"] for name, row in rows.items()} == {
        "ats-4 entropy_weight=0.0 seed=0": "finished",
        "ats-4 entropy_weight=0.1 seed=0": "finished",
        "ats-300 entropy_weight=0.0 seed=0": "failed",
        "ats-300 entropy_weight=0.1 seed=0": "failed",
        "cnn-16x16 seed=0": "finished",
    }
    for row in rows.values():
        if row["status"] == "failed":
            assert row["error"].startswith("RecipeError: 300 patches: the view has 256 cells")
            continue
        summary = json.loads(Path(row["run"], "summary.json").read_text())
        scalars = {name: value for name, value in summary.items() if not isinstance(value, list)}
        assert {name: row[name] for name in scalars} == scalars
        assert (row["view_size"], row["error"], row["epochs"]) == ("16x16", "", EPOCHS)
    with Path(swept, "results.csv").open() as file:
        assert [row["trial"] for row in csv.DictReader(file)] == list(rows)
    written = json.loads(Path(swept, "sweep.json").read_text())
    assert (written["task"], written["settings"]["epochs"]) == ("colon_cancer", EPOCHS)


def test_a_trial_that_takes_over_a_process_starts_sooner(swept: str) -> None:
    first, *others = [row["startup_s"] for row in rows_of(swept).values() if row["status"] == "finished"]
    assert all(0 < other < first / 2 for other in others)


def test_the_same_command_trains_only_what_is_not_finished_from_its_checkpoint(
    swept: str, options: SweepOptions, capfd: pytest.CaptureFixture[str]
) -> None:
    before = rows_of(swept)
    cut = before["ats-4 entropy_weight=0.1 seed=0"]["run"]
    first, changed = history(cut), times(before)
    for name in ("summary.json", f"checkpoints/epoch_{EPOCHS:06d}.pt", "predictions.json"):
        Path(cut, name).unlink()  # as if it had been killed in the last epoch
    assert sweep(options) == swept
    after = rows_of(swept)
    assert {name: row["status"] for name, row in after.items()} == {name: row["status"] for name, row in before.items()}
    assert history(cut)[:-1] == first[:-1], "to the second: it was not done again"
    assert losses(cut) == [row["train_loss"] for row in first], "the same numbers, as if nothing had happened"
    assert {run for run, time in times(after).items() if time != changed[run]} == {cut}
    assert after["cnn-16x16 seed=0"] == before["cnn-16x16 seed=0"]
    assert "5 trials, 2 ended before" in capfd.readouterr().out


def times(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """When the model of each finished run was written."""
    runs = [row["run"] for row in rows.values() if row["status"] == "finished"]
    return {run: Path(run, "model/model.safetensors").stat().st_mtime_ns for run in runs}


def test_a_killed_trial_goes_on_in_a_new_process(options: SweepOptions, tmp_path: Path) -> None:
    killed: list[int] = []
    alone = replace(options, out=str(tmp_path), models=("ats",), patch_counts=(4,), entropy_weights=(0.0,), epochs=30)
    killer = threading.Thread(target=kill_trial_after, args=(tmp_path, "epoch_000003.pt", killed), daemon=True)
    killer.start()
    (row,) = rows_of(sweep(alone)).values()
    killer.join()
    assert len(killed) == 1
    assert (row["status"], row["error"], row["epochs"]) == ("finished", "", 30)
    assert len(losses(row["run"])) == 30


def kill_trial_after(out: Path, checkpoint: str, killed: list[int]) -> None:
    """Kill -9 the trial of this process's Ray as soon as a checkpoint is there."""
    while not (trials := trial_processes()):
        time.sleep(0.05)
    while not list(out.glob(f"*/checkpoints/{checkpoint}")):
        time.sleep(0.02)
    for pid in trials:
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)


def trial_processes() -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            if b"ray::ResourceTrainable" in title and parent(parent(int(process.name))) == os.getpid():
                found.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError):  # a process that ended meanwhile
            continue
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_what_asha_stops_stays_stopped(options: SweepOptions, tmp_path: Path) -> None:
    """One trial at a time: the second is compared with the first, after the 1st and the 3rd epoch of 9."""
    axes = {"models": ("ats",), "patch_counts": (4,), "entropy_weights": (0.0,), "seeds": (0, 1, 2)}
    chosen = replace(options, out=str(tmp_path), asha=True, epochs=9, **axes)
    uri = sweep(chosen)
    before = rows_of(uri)
    first, second, third = (evaluated(row["run"]) for row in before.values())
    worse = [epoch for epoch in (1, 3) if second[epoch - 1 :] and second[epoch - 1] > first[epoch - 1]]
    assert (len(first), len(second)) == (9, worse[0] if worse else 9)
    assert len(third) in (1, 3, 9)
    statuses = {row["status"]: len(evaluated(row["run"])) < 9 for row in before.values()}
    assert statuses.items() <= {"finished": False, "stopped": True}.items()
    assert sweep(chosen) == uri
    assert rows_of(uri) == before


def evaluated(run: str) -> list[float]:
    return [row[METRIC] for row in history(run)]


def test_optuna_chooses_some_of_the_trials_and_goes_on(options: SweepOptions, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    axes = {"models": ("ats", "uniform", "cnn"), "patch_counts": (2, 4), "entropy_weights": (0.0, 0.1)}
    chosen = replace(options, out=str(tmp_path), epochs=1, search="optuna", samples=3, **axes)
    uri = sweep(chosen)
    rows = rows_of(uri)
    assert [row["status"] for row in rows.values()] == ["finished"] * 3
    Path(rows[name := next(iter(rows))]["run"], "summary.json").unlink()
    assert sweep(chosen) == uri
    assert rows_of(uri).keys() == rows.keys()
    assert rows_of(uri)[name]["status"] == "finished"


def test_trials_with_workers_of_their_own(options: SweepOptions, tmp_path: Path) -> None:
    axes: Mapping[str, Any] = {"models": ("ats",), "patch_counts": (4,), "entropy_weights": (0.0,)}
    uri = sweep(replace(options, out=str(tmp_path), num_workers=1, epochs=1, max_concurrent=None, **axes))
    rows = rows_of(uri)
    assert [(row["status"], row["error"]) for row in rows.values()] == [("finished", "")]
    assert all(row["startup_s"] > 0 for row in rows.values())


def test_more_than_the_cluster_has_is_refused_before_anything_is_written(options: SweepOptions, tmp_path: Path) -> None:
    for asked in ({"cpus_per_trial": 1000.0}, {"gpus_per_trial": 1000.0}, {"num_workers": 1000}):
        with pytest.raises(ResourceError, match="the nodes of the cluster have 6 CPU and 0 GPU"):
            sweep(replace(options, out=str(tmp_path / "out"), **asked))
    assert not (tmp_path / "out").exists()


def test_what_an_autoscaler_may_add_is_known_where_it_says_so(
    options: SweepOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways: the limits that Ray's control store holds, and the file that `ray up` leaves on the head."""
    large = replace(options, cpus_per_trial=8.0)
    limits = autoscaler_pb2.ClusterConfig()
    for most, cpus in ((2, 16), (0, 64)):
        limits.node_group_configs.add(max_count=most).resources["CPU"] = cpus
    key, namespace = ray._raylet.GCS_AUTOSCALER_CLUSTER_CONFIG_KEY, ray._raylet.GCS_AUTOSCALER_STATE_NAMESPACE
    _internal_kv_put(key.encode(), limits.SerializeToString(), namespace=namespace.encode())
    try:
        assert room(large)[0].cpus == 8
        with pytest.raises(ResourceError, match="16 CPU"):
            room(replace(options, cpus_per_trial=17.0))
    finally:
        _internal_kv_del(key.encode(), namespace=namespace.encode())
    with pytest.raises(ResourceError):
        room(large)
    monkeypatch.setattr(resources, "LAUNCHED", tmp_path / "ray_bootstrap_config.yaml")
    resources.LAUNCHED.write_text(
        "available_node_types: {a: {resources: {CPU: 8}}, b: {resources: {CPU: 9}, max_workers: 0}}"
    )
    assert room(large)[0].cpus == 8
    with pytest.raises(ResourceError):
        room(replace(options, cpus_per_trial=9.0))


@pytest.mark.timeout(600)  # a Ray of its own and two jobs: a minute on a quiet machine
def test_on_a_single_cpu_a_killed_job_goes_on(toy_catalog: str, tmp_path: Path) -> None:
    """More trials than CPUs, each of which holds all there are: nothing waits, and nothing is done twice."""
    job = ["jobs/tune_patches.py", "--task", "colon_cancer", "--catalog", toy_catalog, "--out", str(tmp_path)]
    job += ["--models", "ats", "uniform", "cnn", "--n-patches", "4", "--epochs", "12", "--eval-every", "1"]
    with local_head(1) as head:
        environment = dict(head.environment)
        killed = subprocess.Popen([ROOT / job[0], *job[1:]], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        second = "colon_cancer-uniform-*/checkpoints/epoch_000003.pt"
        while not list(tmp_path.glob(second)):
            assert killed.poll() is None
            time.sleep(0.02)
        killed.kill()
        killed.wait()
        (first,) = tmp_path.glob("*/summary.json")
        finished, (cut,) = first.read_bytes(), tmp_path.glob("colon_cancer-uniform-*")
        before = history(str(cut))[:2]  # the third row may have been in the making
        command = ["ray", "job", "submit", "--", *job]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 trials, 1 ended before, each 1 CPU and 0 GPU, 1 at once" in done.stdout
    assert "[3/3] cnn-16x16 seed=0: test error" in done.stdout
    assert first.read_bytes() == finished
    assert history(str(cut))[:2] == before
    (sweep_directory,) = (tmp_path / "sweeps").iterdir()
    assert [row["status"] for row in rows_of(str(sweep_directory)).values()] == ["finished"] * 3
    assert json.loads((sweep_directory / "sweep.json").read_text())["dashboard"] == head.dashboard
