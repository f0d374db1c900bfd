"""What runs left behind, read back from their directories and catalogs, without Ray."""

import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import torch

from ats_core.bundle import recipe_from_dict
from ats_core.geometry import CellGrid
from pipelines.catalog.schema import BOX_SIDES, SCHEMA, Manifest
from pipelines.errors import CatalogError
from pipelines.storage import objects
from pipelines.training.run_directory import RunDirectory, RunError

History = Sequence[Mapping[str, Any]]
"""A row an epoch, as the training loop wrote it; the measures of the test split only where there was an evaluation."""


@dataclass(frozen=True, slots=True)
class CatalogImage:
    """An image as its catalog has it."""

    size: tuple[int, int]
    """Height and width of the full image."""
    view: np.ndarray
    """uint8 [h, w, C]."""
    boxes: np.ndarray
    """float [M, 4] as (y0, x0, y1, x1), in pixels of the full image."""


def history(run: str) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl, as far as they are written; RunError when there is no such file yet."""
    if not (rows := RunDirectory(run).read_metrics()):
        raise RunError(run, "there is no metrics.jsonl", "Train it up to its first evaluation at least.")
    return rows


def attention_epochs(run: str) -> tuple[int, ...]:
    """The epochs of which a run kept attention maps, ascending; RunError when there are none."""
    try:
        uris = objects.list_uris(RunDirectory(run).path("attention"))
    except FileNotFoundError as error:
        reason = "it kept no attention: it was not evaluated yet, or its model has no cells"
        raise RunError(run, reason, "Name a run of a model with attention, evaluated at least once.") from error
    names = [uri.rsplit("/", 1)[-1] for uri in uris]
    return tuple(sorted(int(name[len("epoch_") : -len(".npy")]) for name in names if name.endswith(".npy")))


def attention_maps(run: str, epoch: int) -> dict[str, np.ndarray]:
    """A run's attention over the cells after an epoch: float64 [rows, columns] by image."""
    if epoch not in (kept := attention_epochs(run)):
        raise RunError(run, f"no attention of epoch {epoch} was kept", f"Choose from {list(kept)}.")
    directory = RunDirectory(run)
    image_ids = json.loads(objects.read_bytes(directory.path("attention/images.json")))["image_ids"]
    maps = np.load(io.BytesIO(objects.read_bytes(directory.path(f"attention/epoch_{epoch:06d}.npy"))))
    return dict(zip(image_ids, maps.astype(np.float64), strict=True))


def grid_of(run: str) -> CellGrid:
    """Where the cells of a run's attention lie."""
    with torch.device("meta"):  # no weights are needed, nor a random generator touched
        return recipe_from_dict(_config(run)["recipe"]).build().grid


def catalog_of(run: str) -> str:
    """The URI of the catalog that a run was trained on."""
    return _config(run)["catalog"]


def _config(run: str) -> dict[str, Any]:
    config = RunDirectory(run).read("config.json")
    if config is None:
        raise RunError(run, "there is no config.json: it is no run", "Name the directory of a run.")
    return config


def catalog_images(catalog: str, image_ids: Collection[str]) -> dict[str, CatalogImage]:
    """Some images of a catalog by id; CatalogError when one is not there, or could not be read."""
    columns = ["image_id", "height", "width", "view", "view_height", "view_width", "boxes"]
    return {row["image_id"]: _image(row) for row in catalog_rows(catalog, image_ids, columns).to_pylist()}


def catalog_rows(catalog: str, image_ids: Collection[str], columns: Sequence[str] = SCHEMA.names) -> pa.Table:
    """The rows of some images, in the catalog's order; CatalogError when one is not there, or could not be read."""
    found = readable_rows(catalog, image_ids, columns)
    if missing := sorted(set(image_ids) - set(found["image_id"].to_pylist())):
        raise CatalogError(catalog, f"no readable image {missing}", "Name the catalog that the runs were trained on.")
    return found


def readable_rows(catalog: str, image_ids: Collection[str], columns: Sequence[str] = SCHEMA.names) -> pa.Table:
    """The same, of those that are there and could be read; CatalogError when it is no finished catalog."""
    Manifest.read(catalog)
    filesystem, path = objects.arrow_filesystem(catalog)
    rows = pads.dataset(path, filesystem=filesystem, format="parquet", schema=SCHEMA)
    ids = pa.array(list(image_ids), pa.string())  # typed, as there may be none
    wanted = pads.field("image_id").isin(ids) & (pads.field("status") == "ok")
    return rows.to_table(columns=list(columns), filter=wanted)


def _image(row: Mapping[str, Any]) -> CatalogImage:
    boxes = [[box[side] for side in BOX_SIDES] for box in row["boxes"]]
    return CatalogImage(
        size=(row["height"], row["width"]),
        view=np.frombuffer(row["view"], np.uint8).reshape(row["view_height"], row["view_width"], -1),
        boxes=np.array(boxes, float).reshape(-1, 4),
    )
