"""What the model looked at: a few test images with attention, drawn patches and prediction.

Built from the view and the drawn patches alone; no full image is held beyond what the reader needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ray.data.expressions import col
from torch import Generator

from ats_core import bundle
from ats_core.geometry import CellGrid
from ats_core.recipes import Augmentation
from pipelines.catalog.build import read_catalog
from pipelines.storage.patches import PatchReader
from pipelines.training.batches import collate
from pipelines.training.read_ahead import ask
from pipelines.training.run_directory import RunDirectory
from pipelines.training.train import Splits


@dataclass(frozen=True, slots=True)
class Example:
    """One image as a model sees it. Shapes: N drawn patches, P patch side, C classes."""

    image_id: str
    label: str
    prediction: str
    probability: float
    size: tuple[int, int]
    view: np.ndarray
    """uint8 [h, w, 3]."""
    attention: np.ndarray
    """float [rows, columns] over the grid's cells."""
    grid: CellGrid
    centres: np.ndarray
    """int [N, 2] in image pixels, the heaviest patch first."""
    weights: np.ndarray
    """float [N], the share of each patch in the estimate."""
    patches: np.ndarray
    """uint8 [N, P, P, 3]."""
    boxes: np.ndarray
    """float [M, 4] as (y0, x0, y1, x1)."""


@torch.no_grad()
def examples(directory: RunDirectory, catalog: str, splits: Splits, *, n: int = 6, seed: int = 0) -> list[Example]:
    """Examples of a finished run from its test split, the classes in turn."""
    model, recipe = bundle.loads(directory.read_model(), own_networks=True)
    predictions = directory.read("predictions.json")
    chosen = in_turn(predictions["image_ids"], predictions["labels"], n)
    rows = read_catalog(catalog, splits=list(splits.test)).filter(expr=col("image_id").is_in(chosen)).take_all()
    batch = collate({name: _column([row[name] for row in rows]) for name in rows[0]})
    reader = PatchReader(recipe.patch_size)
    request = ask(model, reader, batch, Augmentation(), Generator().manual_seed(seed))
    output = model(request.views, request.draw, request.patches(model))
    pixels = request.future.result()[0].numpy()
    probabilities = output.logits.softmax(-1)
    made = []
    for i, row in enumerate(rows):
        weights, winner = request.draw.weights[i].numpy(), int(probabilities[i].argmax())
        heaviest = np.argsort(-weights, kind="stable")
        made.append(
            Example(
                image_id=row["image_id"],
                label=recipe.classes[row["label"]],
                prediction=recipe.classes[winner],
                probability=float(probabilities[i, winner]),
                size=(row["height"], row["width"]),
                view=batch.views[i].numpy(),
                attention=output.attention[i].reshape(model.grid.size).numpy(),
                grid=model.grid,
                centres=request.centres[i].numpy()[heaviest],
                weights=weights[heaviest],
                patches=pixels[i][heaviest],
                boxes=batch.boxes[i].numpy(),
            )
        )
    return sorted(made, key=lambda example: chosen.index(example.image_id))


def in_turn(image_ids: Sequence[str], labels: Sequence[int], n: int) -> list[str]:
    """The first n images, taking the classes in turn."""
    seen: dict[int, int] = {}
    order = []
    for image_id, label in zip(image_ids, labels, strict=True):
        seen[label] = seen.get(label, 0) + 1
        order.append((seen[label], label, image_id))
    return [image_id for *_, image_id in sorted(order)[:n]]


def _column(values: list[Any]) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column if isinstance(values[0], bytes | list | str) else np.array(values)


def summary_table(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Runs side by side, a row a measure, in units."""
    measures = [
        ("test error", "test_error", ".3f"),
        ("test AUROC", "test_auroc", ".3f"),
        ("test loss", "test_loss", ".3f"),
        ("train loss", "train_loss", ".3f"),
        *((f"recall {name[7:]}", name, ".3f") for name in summaries[0] if name.startswith("recall_")),
        ("drawn patches on a box", "patches_on_box", ".3f"),
        ("  if drawn uniformly", "patches_on_box_uniform", ".3f"),
        ("test images", "n_test", "d"),
        ("training, images/s", "images_per_second", ".1f"),
        ("  ms/image of a worker", "ms_per_sample", ".0f"),
        ("requests/image", "requests_per_image", ".2f"),
        ("read, MB/image", "mb_per_image", ".2f"),
        ("  decoded tiles/image", "tiles_per_image", ".1f"),
        ("  decoding, ms/image", "decode_ms_per_image", ".1f"),
        ("  storage, ms/request", "storage_ms_per_request", ".1f"),
        ("  repeated requests", "retries", "d"),
        ("  images left out", "images_left_out", "d"),
        ("peak memory, MB", "peak_memory_mb", ".0f"),
        ("wall, s", "wall_s", ".0f"),
    ]
    names = [f"{s['task']} {s['model']}-{s['n_patches']}" for s in summaries]
    lines = [f"{'':<24}" + "".join(f"{name:>24}" for name in names)]
    for title, key, form in measures:
        if any(key in s for s in summaries):
            cells = (format(s[key], form) if key in s else "-" for s in summaries)
            lines.append(f"{title:<24}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)
