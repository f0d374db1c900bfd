"""Whatever is killed while a bucket is scored: after the same command again, the rows are those of a quiet run."""

import random
from collections.abc import Iterator

import pytest

from benchmarks.scoring.drills import Ground, drill, prepared
from benchmarks.scoring.small_images import BROKEN

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.timeout(400)]  # 60 s on a quiet machine


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Small images on a server of their own, scored once; it raises unless all have the status that they should."""
    with prepared(images=160, down_s=4.0, folder=tmp_path_factory.mktemp("drills")) as made:
        yield made


def test_an_undisturbed_run_has_a_row_an_image_with_its_status(ground: Ground) -> None:
    assert {row["uri"]: row["status"] for row in ground.expected} == ground.bucket.statuses
    assert len(ground.expected) == 160
    assert set(ground.bucket.statuses.values()) == {broken.status for broken in BROKEN.values()}
    for row in ground.expected:
        assert bool(row["error"]) == (row["status"] != "ok")
        assert len(row["patches"]) == row["n_patches"] == (4 if row["status"] == "ok" else 0)


def test_rows_are_the_same_after_the_driver_was_killed(ground: Ground) -> None:
    """The other kinds take longer: `python -m benchmarks.scoring.drills`."""
    row = drill(ground, "of-driver", "driver", random.Random(0))
    assert not row["target"].startswith("none"), "it had ended before it was disturbed"
    assert row["rows equal"], row["wrong"]
    assert (row["exit code"], row["runs"]) == (-9, 2)
