"""The job as a user starts it, and what it prints."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from jobs.build_catalog import Options, source_of, table, warning
from pipelines.catalog.schema import SCHEMA, Manifest
from pipelines.catalog.sources.gtsdb import Gtsdb
from pipelines.catalog.sources.road_scenes import RoadScenes
from pipelines.errors import CatalogError

COUNTED = ("split", "label", "status", "layout", "images", "bytes", "requests", "bytes_read", "seconds")
JOB = Path(__file__).parents[2] / "jobs/build_catalog.py"


def test_options_reach_the_source(tmp_path: Path) -> None:
    assert source_of(Options(source="gtsdb", images="/x", task="speed_limit", seed=4)) == Gtsdb("/x", "speed_limit", 4)
    scenes = source_of(Options(out=f"{tmp_path}/catalog", smoke=True, difficulty="easy"))
    assert scenes == RoadScenes(f"{tmp_path}/catalog-smoke-images", n_train=24, n_test=24, difficulty="easy")
    with pytest.raises(CatalogError, match="no option 'labels'"):
        source_of(Options(source="gtsdb", images="/x", labels="/y.csv"))


def test_the_table_counts_images_by_split_class_layout_and_status() -> None:
    counts = (
        ("", -1, "ok", "tiles", 2, 500_000, 6, 1_000_000, 0.1),
        ("train", 0, "ok", "whole", 6, 1_500_000, 12, 1_500_000, 0.7),
        ("train", 0, "truncated", "", 1, 0, 3, 0, 0.1),
        ("train", 1, "truncated", "", 1, 0, 4, 100_000, 0.1),
    )
    counts = tuple(dict(zip(COUNTED, row, strict=True)) for row in counts)
    manifest = Manifest(source="", classes=("cat", "dog"), view_size=(1, 1), created_by="", counts=counts)
    lines = [line.split() for line in table(manifest, seconds=4.0).splitlines()]
    assert lines[1:] == [
        ["-", "unlabelled", "tiles", "2", "0.5"],
        ["train", "cat", "whole", "6", "1.5"],
        ["truncated", "2"],
        ["all", "10", "2.0", "in", "4.0", "s:", "2.5", "images/s"],
        ["an", "image", "took", "2.5", "requests,", "0.26", "MB,", "0.100", "s"],
    ]


def test_large_images_that_are_stored_whole_are_worth_a_warning(tmp_path: Path) -> None:
    empty = {field.name: b"" if pa.types.is_binary(field.type) else None for field in SCHEMA}
    sizes = [("whole", 4000, 5000, 10_000_000), ("whole", 5000, 6000, 20_000_000), ("tiles", 9000, 9000, 1)]
    rows = [empty | dict(zip(("layout", "height", "width", "n_bytes"), size, strict=True)) for size in sizes]
    for n_rows, expected in ((3, ["2 images above 16 MP", "15.0 MB", "25 MP", "--convert"]), (0, [])):
        pq.write_table(pa.Table.from_pylist(rows[:n_rows], schema=SCHEMA), tmp_path / "x.parquet")
        assert bool(said := warning(str(tmp_path))) == bool(n_rows)
        assert all(words in said for words in expected)


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
    own = ["--view-size", "4", "5", "--convert", "tiled", "--codec", "zstd", "--checksums"]
    done = subprocess.run([*command, *own], check=True, **options)
    assert f"catalog: {tmp_path}/a catalog" in done.stdout
    assert "images/s" in done.stdout
    manifest = Manifest.read(f"{tmp_path}/a catalog")
    assert (manifest.images_by("status"), manifest.view_size) == ({"missing": 1, "ok": 3}, (4, 5))
    assert manifest.images_by("layout", status="ok") == {"tiles": 3}
    assert sorted(path.name for path in (tmp_path / "tiled").iterdir()) == ["a.png.tif", "b.png.tif", "c.png.tif"]
    again = subprocess.run(command, check=False, **options)
    assert again.returncode == 2
    assert "Choose another --out, or pass --overwrite" in again.stderr
