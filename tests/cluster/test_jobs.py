"""Training jobs as a user submits them, from images to figure, by both forms of `ray job submit`."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.local_head import Head, local_head

ROOT = Path(__file__).parents[2]
JOB = "jobs/train_speed_limits.py"


def submit(head: Head, *arguments: str) -> str:
    command = ["ray", "job", "submit", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(head.environment), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.ray
@pytest.mark.timeout(600)  # two jobs: a minute on a quiet machine, minutes on a loaded one
def test_a_submitted_job_trains_and_a_submitted_copy_of_the_code_finds_its_run(tmp_path: Path) -> None:
    options = ("--smoke", "--difficulty", "easy", "--view-size", "144", "192", "--out", str(tmp_path))
    with local_head() as head:
        output = submit(head, "--", JOB, *options)
        assert "No data set named: generated road scenes" in output
        (summary,) = tmp_path.glob("*/summary.json")
        assert json.loads(summary.read_text())["n_test"] == 16
        assert (summary.parent / "figures" / "attention.png").stat().st_size > 100_000
        assert str(summary.parent / "figures" / "attention.png") in output

        again = submit(head, "--working-dir", ".", "--", JOB, *options)
        assert f"{summary.parent} is finished" in again

        labels = own_images(tmp_path / "own")
        own = ("--images", str(tmp_path / "own"), "--labels", str(labels), "--view-size", "64", "64", "--smoke")
        output = submit(head, "--", "jobs/train_images.py", *own, "--n-patches", "2", "--out", str(tmp_path / "runs"))
        (summary,) = (tmp_path / "runs").glob("*/summary.json")
        assert json.loads(summary.read_text())["n_test"] == 4
        assert str(summary.parent / "figures" / "attention.png") in output
        recipe = json.loads((summary.parent / "config.json").read_text())["recipe"]
        assert recipe["classes"] == ["blue", "red"]
        assert recipe["mean"][1] < 0.1 < recipe["mean"][0]  # of these images, which have no green


def own_images(folder: Path) -> Path:
    """Twenty images, red or blue, and their labels: the path of the CSV."""
    folder.mkdir()
    lines = ["image,label"]
    for i in range(20):
        pixels = np.zeros((128, 128, 3), np.uint8)
        pixels[..., 0 if i % 2 else 2] = 200
        Image.fromarray(pixels).save(folder / f"{i}.png")
        lines.append(f"{i}.png,{'red' if i % 2 else 'blue'}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder / "labels.csv"
