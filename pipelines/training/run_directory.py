"""A run's directory, local or in a bucket: the one place that knows its file names."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ats_core import bundle
from ats_core.errors import AtsError, BundleError
from pipelines.storage import objects


class RunError(AtsError):
    """A run directory that lacks what is asked of it."""


class RunDirectory:
    """config.json, metrics.jsonl, checkpoints/, model/, attention/, figures/ and summary.json under one URI."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def path(self, name: str) -> str:
        """The URI of something in the run."""
        return objects.join(self.uri, name)

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file."""
        objects.write_bytes(self.path(name), json.dumps(content, indent=2).encode())

    def read(self, name: str) -> dict[str, Any] | None:
        """Read a JSON file; None when there is none yet, or, with a warning, when a crash cut it short."""
        if not objects.exists(self.path(name)):
            return None
        try:
            return json.loads(objects.read_bytes(self.path(name)))
        except ValueError as error:  # of JSON, or of the encoding
            print(f"WARNING: {self.path(name)} is taken as not written: {error}", flush=True)
            return None

    def write_metrics(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Write metrics.jsonl whole, a line an epoch: buckets cannot append, and a resumed run repeats no line."""
        lines = "".join(json.dumps(row) + "\n" for row in history)
        objects.write_bytes(self.path("metrics.jsonl"), lines.encode())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, as far as they are written."""
        path = self.path("metrics.jsonl")
        lines = objects.read_bytes(path).split(b"\n")[:-1] if objects.exists(path) else []  # the last is empty, or cut
        return [json.loads(line) for line in lines]

    def write_attention(self, epoch: int, image_ids: Sequence[str], maps: np.ndarray) -> None:
        """Write the attention [n, rows, columns] over the cells of n images, by epoch; the ids of the images beside."""
        npy = io.BytesIO()
        np.save(npy, maps)
        objects.write_bytes(self.path(f"attention/epoch_{epoch:06d}.npy"), npy.getvalue())
        self.write("attention/images.json", {"image_ids": list(image_ids)})

    def write_model(self, files: Mapping[str, bytes]) -> None:
        """Write the files of a bundle."""
        for name, content in files.items():
            objects.write_bytes(self.path(f"model/{name}"), content)

    def read_model(self) -> dict[str, bytes]:
        """The files of the bundle; RunError when one is not there."""
        try:
            return model_files(self.uri)
        except BundleError as error:
            raise RunError(self.uri, "its model is not there", "Train it to its end, or leave it out.") from error


def model_files(uri: str) -> dict[str, bytes]:
    """The files of the bundle of a run, or of one by itself, by name; BundleError when there is none."""
    names = (bundle.CONFIG, bundle.WEIGHTS)
    for folder in (objects.join(uri, "model"), uri):
        uris = [objects.join(folder, name) for name in names]
        if all(map(objects.exists, uris)):
            return dict(zip(names, map(objects.read_bytes, uris), strict=True))
    remedy = "Name a run directory that has finished, or a folder with both."
    raise BundleError(uri, f"there is no {' and '.join(names)} in it, nor in its model/", remedy)
