"""The training job as a user submits it, from scenes to figure, by both forms of `ray job submit`."""

import json
import subprocess
from pathlib import Path

import pytest

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
