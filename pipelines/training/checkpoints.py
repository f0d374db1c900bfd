"""Where the state of a training run is kept, so that the run can go on: model, optimiser and history after an epoch.

Ray Train keeps it where it runs workers, and hands it to those that replace them. In the job's own process it keeps
nothing, and the loop does so itself, in the same folder.
"""

import io
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import ray.train
import torch

from pipelines.storage import objects
from pipelines.training.run_directory import RunDirectory

STATE = "state.pt"
STATE_OF_AN_EPOCH = re.compile(r"epoch_\d{6,}\.pt")
KEPT = 2  # states: should the last one be cut short, the one before is whole


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
    """Kept by the loop itself: the last states, of which the newest that is whole counts."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory

    def save(self, row: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Write the state, remove those of long ago, and report the metrics, which the result of the run is made of."""
        content = io.BytesIO()
        torch.save(state, content)
        objects.write_bytes(self.directory.path(f"checkpoints/{_name(row)}.pt"), content.getvalue())
        objects.delete(self._states()[:-KEPT])
        ray.train.report(row)

    def restore(self, device: torch.device) -> dict[str, Any] | None:
        """What a former process wrote into the run's folder."""
        for uri in reversed(self._states()):
            content = io.BytesIO(objects.read_bytes(uri))
            if zipfile.is_zipfile(content):  # its table of contents comes last, so a file that was cut has none
                content.seek(0)
                state = torch.load(content, map_location=device, weights_only=True)
                ray.train.report(state["history"][-1])  # the run may have ended with it
                return state
            print(f"WARNING: {uri} is not whole, the state before it is taken", flush=True)
        return None

    def _states(self) -> list[str]:
        """URIs of the states that are there, in the order of their epochs."""
        try:
            uris = objects.list_uris(self.directory.path("checkpoints"))
        except FileNotFoundError:
            return []
        return [uri for uri in uris if STATE_OF_AN_EPOCH.fullmatch(uri.rsplit("/", 1)[-1])]


def _name(row: Mapping[str, Any]) -> str:
    return f"epoch_{row['epoch']:06d}"
