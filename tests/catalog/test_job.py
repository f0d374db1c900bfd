"""The job as a user starts it, and what it prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from jobs.build_catalog import Options, source_of, table
from pipelines.catalog.schema import Manifest
from pipelines.catalog.sources.gtsdb import Gtsdb
from pipelines.catalog.sources.road_scenes import RoadScenes
from pipelines.errors import CatalogError

JOB = Path(__file__).parents[2] / "jobs/build_catalog.py"


def test_options_reach_the_source(tmp_path: Path) -> None:
    assert source_of(Options(source="gtsdb", images="/x", task="speed_limit", seed=4)) == Gtsdb("/x", "speed_limit", 4)
    scenes = source_of(Options(out=f"{tmp_path}/catalog", smoke=True, difficulty="easy"))
    assert scenes == RoadScenes(f"{tmp_path}/catalog-smoke-images", n_train=24, n_test=24, difficulty="easy")
    with pytest.raises(CatalogError, match="no option 'labels'"):
        source_of(Options(source="gtsdb", images="/x", labels="/y.csv"))


def test_the_table_counts_images_by_split_class_and_status() -> None:
    counts = (
        {"split": "", "label": -1, "status": "ok", "images": 2, "bytes": 500_000},
        {"split": "train", "label": 0, "status": "ok", "images": 6, "bytes": 1_500_000},
        {"split": "train", "label": 0, "status": "truncated", "images": 1, "bytes": 0},
        {"split": "train", "label": 1, "status": "truncated", "images": 1, "bytes": 0},
    )
    manifest = Manifest(source="", classes=("cat", "dog"), view_size=(1, 1), created_by="", counts=counts)
    lines = [line.split() for line in table(manifest, seconds=4.0).splitlines()]
    assert lines[1:] == [
        ["-", "unlabelled", "2", "0.5"],
        ["train", "cat", "6", "1.5"],
        ["truncated", "2"],
        ["all", "10", "2.0", "in", "4.0", "s:", "2.5", "images/s"],
    ]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_local")
def test_the_job_runs_by_its_run_bit_and_fails_by_its_exit_code(tmp_path: Path, write_images) -> None:
    write_images(tmp_path / "my images", "a.png", "b.png", "c.png")
    (tmp_path / "labels.csv").write_text("image,label\na.png,cat\nb.png,dog\nnone.png,dog\n")
    environment = os.environ | {
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [JOB, "--source", "labels_csv", "--images", "my images", "--labels", "labels.csv", "--out", "a catalog"]
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run([*command, "--view-size", "4", "5"], check=True, **options)
    assert f"catalog: {tmp_path}/a catalog" in done.stdout
    assert "images/s" in done.stdout
    manifest = Manifest.read(f"{tmp_path}/a catalog")
    assert (manifest.images_by("status"), manifest.view_size) == ({"missing": 1, "ok": 3}, (4, 5))
    again = subprocess.run(command, check=False, **options)
    assert again.returncode == 2
    assert "Choose another --out, or pass --overwrite" in again.stderr
