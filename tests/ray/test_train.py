"""A whole run: what it leaves behind, that it goes on where it was killed, that workers add up to one."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ats_core import bundle
from pipelines.catalog.build import read_catalog
from pipelines.errors import CatalogError
from pipelines.report.present import present
from pipelines.storage import objects
from pipelines.training.options import TrainOptions
from pipelines.training.run_directory import RunDirectory
from pipelines.training.train import Splits, train
from tests.ray.conftest import TOY

SUMMARY = {
    *("task", "model", "n_patches", "seed", "test_error", "n_test", "train_loss", "ms_per_sample", "peak_memory_mb"),
    *("requests_per_image", "mb_per_image", "wall_s", "commit"),
}
FILES = {"config.json", "metrics.jsonl", "summary.json", "checkpoints", "model", "figures"}


def rows_of(run: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in objects.read_bytes(objects.join(run, "metrics.jsonl")).splitlines()]


@pytest.mark.parametrize("images_in", ["bucket", "memory", "device"])
def test_a_run_leaves_a_run_directory(toy_catalog: str, tmp_path: Path, images_in: str) -> None:
    options = TrainOptions(out=str(tmp_path), images_in=images_in, eval_every=2)  # type: ignore[arg-type]
    summary = train(TOY, options, toy_catalog)
    present(summary, toy_catalog)

    run = Path(summary["run"])
    assert {path.name for path in run.iterdir()} >= FILES
    assert (run / "figures/attention.png").read_bytes().startswith(b"\x89PNG")
    assert set(summary) >= SUMMARY
    assert json.loads((run / "summary.json").read_text()) == summary
    assert summary["n_test"] == 16
    rows = rows_of(summary["run"])
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert ["test_error" in row for row in rows] == [False, True, False, True]
    reads = [row["mb_per_image"] > 0 for row in rows]
    assert reads == ([True] * 4 if images_in == "bucket" else [True, False, False, False])

    predictions = json.loads((run / "predictions.json").read_text())
    tested = [row["image_id"] for row in read_catalog(toy_catalog, splits=["test"]).take_all()]
    assert sorted(predictions["image_ids"]) == sorted(tested)
    model, recipe = bundle.load(run / "model")
    assert recipe == TOY
    assert not model.training


def test_a_finished_run_is_found_again_and_other_settings_are_another_run(toy_catalog: str, tmp_path: Path) -> None:
    options = TrainOptions(out=str(tmp_path), epochs=1)
    first = train(TOY, options, toy_catalog)
    started = time.perf_counter()
    assert train(TOY, options, toy_catalog) == first
    assert time.perf_counter() - started < 2  # nothing was started
    assert train(TOY, replace(options, seed=1), toy_catalog)["run"] != first["run"]


def test_the_same_seed_gives_the_same_run(toy_catalog: str, tmp_path: Path) -> None:
    runs = [train(TOY, TrainOptions(out=str(tmp_path / name)), toy_catalog) for name in "ab"]
    assert runs[0]["train_loss"] == runs[1]["train_loss"]
    assert runs[0]["test_loss"] == runs[1]["test_loss"]


def test_a_killed_worker_is_replaced_and_goes_on_from_the_last_checkpoint(toy_catalog: str, tmp_path: Path) -> None:
    options = TrainOptions(out=str(tmp_path), epochs=25, eval_every=1)
    killed: list[int] = []
    killer = threading.Thread(target=kill_worker_after, args=(tmp_path, "epoch_000003", killed))
    killer.start()
    summary = train(TOY, options, toy_catalog)
    killer.join()

    assert len(killed) == 1
    assert [row["epoch"] for row in rows_of(summary["run"])] == list(range(1, 26))
    assert summary["epochs"] == 25
    undisturbed = train(TOY, replace(options, out=str(tmp_path / "again")), toy_catalog)
    assert undisturbed["train_loss"] == pytest.approx(summary["train_loss"], rel=1e-5)


def kill_worker_after(out: Path, checkpoint: str, killed: list[int]) -> None:
    """Kill -9 the trainer of this process's Ray as soon as a checkpoint is there."""
    while not list(out.glob(f"*/checkpoints/{checkpoint}")):
        time.sleep(0.02)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            if b"RayTrainWorker" in title and parent(parent(int(process.name))) == os.getpid():
                os.kill(int(process.name), signal.SIGKILL)
                killed.append(int(process.name))
        except FileNotFoundError:  # a process that ended meanwhile
            continue


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_workers_read_every_test_image_once(toy_catalog: str, tmp_path: Path) -> None:
    summary = train(TOY, TrainOptions(out=str(tmp_path), num_workers=2, epochs=2), toy_catalog)
    predictions = RunDirectory(summary["run"]).read("predictions.json") or {}
    assert len(set(predictions["image_ids"])) == summary["n_test"] == 16


def test_a_batch_that_does_not_divide_is_refused(toy_catalog: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="multiple"):
        train(TOY, TrainOptions(out=str(tmp_path), num_workers=2, batch_size=9), toy_catalog)


def test_a_split_without_images_is_refused(toy_catalog: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="validation"):
        train(TOY, TrainOptions(out=str(tmp_path)), toy_catalog, Splits(train=("validation",)))


def test_everything_in_a_bucket(s3: str, toy_images: Path, ray_local: None) -> None:
    """Images, catalog and run directory under s3:// URIs, by environment variables alone."""
    from pipelines.catalog.made import catalog_of
    from pipelines.catalog.sources.labels_csv import LabelsCsv

    for path in toy_images.iterdir():
        objects.write_bytes(f"{s3}/images/{path.name}", path.read_bytes())
    source = LabelsCsv(images=f"{s3}/images", labels=f"{s3}/images/labels.csv")
    catalog = catalog_of(source, s3, view_size=TOY.view_size)
    summary = train(TOY, TrainOptions(out=s3), catalog)
    present(summary, catalog)
    assert summary["run"].startswith(s3)
    assert len(rows_of(summary["run"])) == TOY.epochs
    assert objects.exists(f"{summary['run']}/figures/attention.png")
    assert bundle.loads(RunDirectory(summary["run"]).read_model())[1] == TOY
    assert torch.isfinite(torch.tensor(summary["test_loss"]))
