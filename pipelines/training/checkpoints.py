"""Where the state of a training run is kept, so that the run can go on: model, optimiser and history after an epoch.

Ray Train keeps it where it runs workers, and hands it to those that replace them. In the job's own process it keeps
nothing, and the loop does so itself, in the same folder.
"""

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import ray.train
import torch

from pipelines.storage import objects
from pipelines.training.run_directory import RunDirectory

STATE = "state.pt"
LATEST = "checkpoints/latest.json"


class Checkpoints(Protocol):
    """What the loop of rank 0 needs."""

    def save(self, row: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Report the metrics of an epoch, and keep the state after it."""

    def restore(self, device: torch.device) -> dict[str, Any] | None:
        """The state that was kept last; None where there is none."""


class OfWorkers:
    """Kept by Ray Train."""

    def save(self, row: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Report to Ray Train."""
        with tempfile.TemporaryDirectory() as folder:
            torch.save(state, Path(folder) / STATE)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
            ray.train.report(row, checkpoint=checkpoint, checkpoint_dir_name=_name(row))

    def restore(self, device: torch.device) -> dict[str, Any] | None:
        """What Ray Train found in the run's folder."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return torch.load(Path(folder) / STATE, map_location=device, weights_only=True)


class OfJob:
    """Kept by the loop itself. Which state is whole, a file written after it says; the one before is removed then."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory

    def save(self, row: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Write the state, then its name, and report the metrics, which the result of the run is made of."""
        content, before = io.BytesIO(), self.directory.read(LATEST)
        torch.save(state, content)
        objects.write_bytes(self._uri(_name(row)), content.getvalue())
        self.directory.write(LATEST, {"checkpoint": _name(row)})
        if before and before["checkpoint"] != _name(row):
            objects.delete([self._uri(before["checkpoint"])])
        ray.train.report(row)

    def restore(self, device: torch.device) -> dict[str, Any] | None:
        """What a former process wrote into the run's folder."""
        latest = self.directory.read(LATEST)
        if latest is None:
            return None
        content = io.BytesIO(objects.read_bytes(self._uri(latest["checkpoint"])))
        state = torch.load(content, map_location=device, weights_only=True)
        ray.train.report(state["history"][-1])  # the run may have ended with it
        return state

    def _uri(self, name: str) -> str:
        return self.directory.path(f"checkpoints/{name}.pt")


def _name(row: Mapping[str, Any]) -> str:
    return f"epoch_{row['epoch']:06d}"
