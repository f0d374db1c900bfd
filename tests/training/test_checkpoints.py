"""What a crash leaves half written is passed over: the state before it, and a summary that is not there yet."""

from pathlib import Path
from typing import Any

import pytest
import ray.train
import torch

from pipelines.training.checkpoints import OfJob
from pipelines.training.run_directory import RunDirectory

CPU = torch.device("cpu")


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Ray Train was told; outside of a run it listens to nobody."""
    rows: list[dict[str, Any]] = []
    monkeypatch.setattr(ray.train, "report", rows.append)
    return rows


def saved(folder: Path, *epochs: int) -> OfJob:
    checkpoints = OfJob(RunDirectory(str(folder)))
    for epoch in epochs:
        row = {"epoch": epoch}
        checkpoints.save(row, {"model": {"w": torch.full((100,), float(epoch))}, "history": [row]})
    return checkpoints


def test_the_newest_state_counts_and_one_before_it_is_kept(tmp_path: Path, reported: list[dict[str, Any]]) -> None:
    state = saved(tmp_path, 1, 2, 10).restore(CPU)
    assert state is not None
    assert (state["model"]["w"] == 10).all()
    assert [row["epoch"] for row in reported] == [1, 2, 10, 10]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["epoch_000002.pt", "epoch_000010.pt"]


def test_without_a_state_there_is_none(tmp_path: Path, reported: list[dict[str, Any]]) -> None:
    assert OfJob(RunDirectory(str(tmp_path))).restore(CPU) is None
    assert not reported


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_state_that_was_cut_gives_way_to_the_one_before(
    share: float, tmp_path: Path, reported: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints, newest = saved(tmp_path, 5, 6), tmp_path / "checkpoints" / "epoch_000006.pt"
    whole = newest.read_bytes()
    newest.write_bytes(whole[: int(share * len(whole))])
    state = checkpoints.restore(CPU)
    assert state is not None
    assert (state["model"]["w"] == 5).all()
    assert "epoch_000006.pt is not whole" in capsys.readouterr().out
    assert saved(tmp_path, 6).restore(CPU)["model"]["w"][0] == 6  # written again, it counts


def test_a_summary_that_was_cut_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory, summary = RunDirectory(str(tmp_path)), {"task": "toy", "test_error": 0.25}
    directory.write("summary.json", summary)
    assert directory.read("summary.json") == summary
    file = tmp_path / "summary.json"
    for size in range(len(whole := file.read_bytes())):
        file.write_bytes(whole[:size])
        assert directory.read("summary.json") is None
        assert "WARNING" in capsys.readouterr().out
