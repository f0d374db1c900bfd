"""What the model looked at: a few test images with attention, drawn patches and prediction.

Built from the view and the drawn patches alone; no full image is held beyond what the reader needs.
"""

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
from pipelines.training.train import Splits, in_turn


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
    shares = request.draw.weights / request.draw.proposal * output.attention.gather(1, request.draw.cells)
    made = []
    for i, row in enumerate(rows):
        weights, winner = shares[i].numpy(), int(probabilities[i].argmax())
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


def _column(values: list[Any]) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column if isinstance(values[0], bytes | list | str) else np.array(values)
