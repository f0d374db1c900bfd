"""A whole run: what it leaves behind, that it goes on where it was killed, that workers add up to one."""

import json
import os
import re
import shutil
import signal
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ats_core import bundle
from ats_core.errors import BundleError, RecipeError
from benchmarks.paper.trials import Trial
from pipelines.catalog.build import build_catalog, read_catalog
from pipelines.catalog.sources.labels_csv import LabelsCsv
from pipelines.errors import CatalogError
from pipelines.report.present import present
from pipelines.storage import objects
from pipelines.training.options import TrainOptions
from pipelines.training.run_directory import RunDirectory
from pipelines.training.train import TRAIN_TEST, Splits, run_name, summary_of, train
from tests.ray.conftest import TOY

SUMMARY = {
    *("task", "model", "n_patches", "seed", "test_error", "n_test", "train_loss", "ms_per_sample", "peak_memory_mb"),
    *("memory_mb_per_sample", "requests_per_image", "mb_per_image", "wall_s", "commit"),
}
COLUMNS = {
    *("estimator", "entropy_weight", "eval_sampling", "view_size", "train_splits", "test_splits", "updates"),
    *("precision", "threads", "machine"),
}
FILES = {"config.json", "metrics.jsonl", "summary.json", "checkpoints", "model", "figures", "attention"}


def rows_of(run: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in objects.read_bytes(objects.join(run, "metrics.jsonl")).splitlines()]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> TrainOptions:
    return TrainOptions(out=str(tmp_path_factory.mktemp("runs")), epochs=12, eval_every=1)


@pytest.fixture(scope="module")
def summary(toy_catalog: str, options: TrainOptions) -> dict[str, Any]:
    """A run that nothing disturbs."""
    return train(TOY, options, toy_catalog)


def test_a_run_leaves_a_run_directory(summary: dict[str, Any], toy_catalog: str) -> None:
    present(summary, toy_catalog)
    run = Path(summary["run"])
    assert {path.name for path in run.iterdir()} >= FILES
    assert (run / "figures/attention.png").read_bytes().startswith(b"\x89PNG")
    assert set(summary) >= SUMMARY | COLUMNS
    assert summary["updates"] == 12 * 4
    assert json.loads((run / "summary.json").read_text()) == summary
    assert [row["epoch"] for row in rows_of(summary["run"])] == list(range(1, 13))
    rows = rows_of(summary["run"])
    assert [row["mb_per_image"] > 0 for row in rows] == [True] + [False] * 11, (
        "small images are kept as they are stored"
    )
    assert all(row["tiles_per_image"] == 1 for row in rows), "and decoded each time"
    assert every_test_image_once(summary, toy_catalog)
    model, recipe = bundle.load(run / "model")
    assert recipe == replace(TOY, epochs=12)
    assert not model.training
    assert json.loads((run / "attention/images.json").read_text())["image_ids"] == [
        f"{i:02d}.png" for i in (0, 3, 6, 9)
    ]
    maps = [np.load(path) for path in sorted((run / "attention").glob("epoch_*.npy"))]
    assert {(a.dtype.name, a.shape) for a in maps} == {("float32", (4, 16, 16))}
    assert len(maps) == 12


def test_without_workers_the_numbers_are_the_same_and_an_interrupted_run_goes_on(
    request: pytest.FixtureRequest, summary: dict[str, Any], options: TrainOptions, toy_catalog: str, tmp_path: Path
) -> None:
    """What cannot be written at the end interrupts it: a folder lies in the way."""
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(summary["threads"])  # sums of other parts round otherwise
    options = replace(options, out=str(tmp_path), num_workers=0, eval_every=5)
    run = tmp_path / run_name(options.recipe(TOY), options, toy_catalog, TRAIN_TEST)
    (run / "predictions.json").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        train(TOY, options, toy_catalog)
    states = sorted((run / "checkpoints").glob("*.pt"))
    assert [path.name for path in states] == ["epoch_000005.pt", "epoch_000010.pt"]
    before = rows_of(str(run))
    (run / "predictions.json").rmdir()
    ours = train(TOY, options, toy_catalog)
    assert ours["threads"] == summary["threads"]
    rows = rows_of(ours["run"])
    assert rows[:10] == before
    for measure in ("train_loss", "test_loss", "test_error", "updates"):
        assert ours[measure] == summary[measure]
    assert [row["train_loss"] for row in rows] == [row["train_loss"] for row in rows_of(summary["run"])]


@pytest.mark.parametrize("model", ["uniform", "deep_mil", "cnn", "ips"])
def test_every_model_trains_in_the_same_loop(model: str, toy_catalog: str, tmp_path: Path) -> None:
    toy = replace(TOY, mil_grid=(4, 4))
    options = TrainOptions(out=str(tmp_path), model=model, epochs=1, num_workers=0, eval_sampling="exact")
    summary = train(toy, options, toy_catalog)
    present(summary, toy_catalog)
    assert set(summary) >= SUMMARY | COLUMNS
    assert (summary["model"], summary["updates"]) == (model, 4)
    assert summary["n_patches"] == {"deep_mil": 16, "cnn": 0}.get(model, 4)
    assert every_test_image_once(summary, toy_catalog)
    assert (summary["requests_per_image"] > 0) is (model != "cnn")
    assert (Path(summary["run"]) / "attention").exists() is (model != "cnn")
    assert bundle.load(Path(summary["run"]) / "model")[1].model == model


def test_it_learns(summary: dict[str, Any]) -> None:
    rows = rows_of(summary["run"])
    assert rows[-1]["train_loss"] < 0.9 * rows[0]["train_loss"]


def test_a_finished_run_is_found_again_and_other_settings_are_another(
    summary: dict[str, Any], options: TrainOptions, toy_catalog: str
) -> None:
    assert train(TOY, options, toy_catalog) == summary_of(TOY, options, toy_catalog) == summary
    assert summary_of(TOY, replace(options, seed=1), toy_catalog) is None
    names = {run_name(TOY, other, toy_catalog, TRAIN_TEST) for other in (options, replace(options, seed=1))}
    assert len(names) == 2


def test_a_killed_worker_is_replaced_and_goes_on_from_the_last_checkpoint(
    summary: dict[str, Any], options: TrainOptions, toy_catalog: str, tmp_path: Path
) -> None:
    killed: list[int] = []
    before: list[dict[str, float]] = []
    killer = threading.Thread(target=kill_worker_after_a_checkpoint, args=(tmp_path, killed, before), daemon=True)
    killer.start()
    disturbed = train(TOY, replace(options, out=str(tmp_path)), toy_catalog)
    killer.join()
    assert len(killed) == 1
    assert disturbed["epochs"] == 12
    kept = rows_of(disturbed["run"])[: len(before)]
    assert before
    assert kept == before  # to the second: what was done before the last checkpoint is not done again
    assert [row["epoch"] for row in rows_of(disturbed["run"])] == list(range(1, 13))
    for measure in ("train_loss", "test_loss"):  # the same seed, so the same numbers, as if nothing had happened
        assert disturbed[measure] == pytest.approx(summary[measure], rel=1e-4)


def test_two_workers_with_images_on_the_device(toy_catalog: str, tmp_path: Path) -> None:
    options = TrainOptions(out=str(tmp_path), num_workers=2, epochs=2, images_in="device")
    summary = train(TOY, options, toy_catalog)
    assert [row["mb_per_image"] > 0 for row in rows_of(summary["run"])] == [True, False]
    assert every_test_image_once(summary, toy_catalog)


def every_test_image_once(summary: dict[str, Any], catalog: str) -> bool:
    predictions = RunDirectory(summary["run"]).read("predictions.json") or {}
    tested = [row["image_id"] for row in read_catalog(catalog, splits=["test"]).take_all()]
    return sorted(predictions["image_ids"]) == sorted(tested) and len(tested) == summary["n_test"] == 16


def kill_worker_after_a_checkpoint(out: Path, killed: list[int], before: list[dict[str, float]]) -> None:
    """Kill -9 the trainer of this process's Ray as soon as Ray has noted a checkpoint, to which it goes back then."""
    while not (epochs := noted(out)):
        time.sleep(0.02)
    (run,) = out.glob("*/metrics.jsonl")
    before += rows_of(str(run.parent))[:epochs]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            if b"RayTrainWorker" in title and parent(parent(int(process.name))) == os.getpid():
                os.kill(int(process.name), signal.SIGKILL)
                killed.append(int(process.name))
        except FileNotFoundError:  # a process that ended meanwhile
            continue


def noted(out: Path) -> int:
    """The last epoch whose checkpoint Ray's controller has noted, every second or so; 0 before there is one."""
    notes = [path.read_text() for path in out.glob("*/checkpoints/checkpoint_manager_snapshot.json")]
    return max((int(epoch) for note in notes for epoch in re.findall(r"epoch_(\d+)", note)), default=0)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_batch_that_does_not_divide_is_refused(toy_catalog: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="multiple"):
        train(TOY, TrainOptions(out=str(tmp_path), num_workers=2, batch_size=9), toy_catalog)


def test_a_split_without_images_is_refused(toy_catalog: str, tmp_path: Path) -> None:
    for splits in (Splits(train=("validation",)), Splits(test=("validation",))):
        with pytest.raises(CatalogError, match="validation"):
            train(TOY, TrainOptions(out=str(tmp_path)), toy_catalog, splits)


def test_everything_in_a_bucket_and_the_same_numbers(
    summary: dict[str, Any], options: TrainOptions, s3: str, toy_images: Path
) -> None:
    """Images, their tiled copies, catalog and run under s3:// URIs, by environment variables alone.

    The copies are lossless, so that the metrics must be those of the images that lie on this machine.
    """
    for path in toy_images.iterdir():
        objects.write_bytes(f"{s3}/images/{path.name}", path.read_bytes())
    source = LabelsCsv(images=f"{s3}/images", labels=f"{s3}/images/labels.csv")
    catalog = f"{s3}/catalog"
    build_catalog(source, catalog, view_size=TOY.view_size, convert=f"{s3}/tiled", codec="zstd", checksums=True)
    from_s3 = train(TOY, replace(options, out=s3), catalog)
    present(from_s3, catalog)
    assert from_s3["run"].startswith(s3)
    assert objects.exists(f"{from_s3['run']}/figures/attention.png")
    assert bundle.loads(RunDirectory(from_s3["run"]).read_model())[1] == replace(TOY, epochs=12)
    measures = ("train_loss", "test_loss", "test_error")
    for ours, local in zip(rows_of(from_s3["run"]), rows_of(summary["run"]), strict=True):
        assert [ours[measure] for measure in measures] == [local[measure] for measure in measures]


def test_the_same_command_goes_on_with_an_interrupted_run(
    summary: dict[str, Any], options: TrainOptions, toy_catalog: str, tmp_path: Path
) -> None:
    """Copied without its summary, as if the driver had died after the last checkpoint: nothing is trained again."""
    run = tmp_path / Path(summary["run"]).name
    shutil.copytree(summary["run"], run)
    (run / "summary.json").unlink()
    again = train(TOY, replace(options, out=str(tmp_path)), toy_catalog)
    assert rows_of(str(run)) == rows_of(summary["run"])
    for measure in ("train_loss", "test_loss", "epochs"):
        assert again[measure] == summary[measure]


def test_a_run_starts_from_what_another_has_learned(summary: dict[str, Any], toy_catalog: str, tmp_path: Path) -> None:
    """At a rate that changes nothing its loss is that of the other's end, and not of its beginning."""
    options = TrainOptions(out=str(tmp_path), epochs=1, lr=1e-9, num_workers=0, start_from=summary["run"])
    started = train(TOY, options, toy_catalog)
    first, *_, last = (row["train_loss"] for row in rows_of(summary["run"]))
    assert started["start_from"] == summary["run"]
    assert abs(started["train_loss"] - last) < abs(started["train_loss"] - first) / 4


def test_a_run_that_goes_on_needs_no_more_what_it_started_from(
    summary: dict[str, Any], toy_catalog: str, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    shutil.copytree(summary["run"], start)
    options = TrainOptions(out=str(tmp_path), epochs=1, num_workers=0, start_from=str(start))
    before = train(TOY, options, toy_catalog)
    shutil.rmtree(start)
    Path(before["run"], "summary.json").unlink()
    after = train(TOY, options, toy_catalog)
    for measure in ("run", "start_from", "train_loss", "test_loss"):
        assert after[measure] == before[measure]


def test_a_trial_of_a_benchmark_trains_what_it_starts_from_first(toy_images: Path, tmp_path: Path) -> None:
    source = LabelsCsv(images=str(toy_images), labels=str(toy_images / "labels.csv"))
    first = Trial(row="a", source=source, recipe=TOY, options=TrainOptions(out=str(tmp_path), epochs=1, num_workers=0))
    second = replace(first, row="b", start=first)
    assert second.summary() is None
    second.run()
    assert second.summary()["start_from"] == first.summary()["run"] != second.summary()["run"]


def test_a_start_that_is_not_there_is_refused(toy_catalog: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="Name a run directory"):
        train(TOY, TrainOptions(out=str(tmp_path), start_from=str(tmp_path / "none")), toy_catalog)


def test_views_of_another_size_are_refused(toy_catalog: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"\(16, 16\), not \(8, 8\)"):
        train(TOY, TrainOptions(out=str(tmp_path), view_size=(8, 8)), toy_catalog)


def test_more_patches_than_cells_are_refused_before_a_worker_starts(toy_catalog: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="256 cells"):
        train(TOY, TrainOptions(out=str(tmp_path), n_patches=257), toy_catalog)
