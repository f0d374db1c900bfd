"""What the model looked at: a few test images with attention, drawn patches and prediction.

Built from the view and the drawn patches alone; no full image is held beyond what the reader needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ray.data.expressions import col
from torch import Generator

from ats_core import bundle
from ats_core.geometry import CellGrid
from ats_core.models import Model
from ats_core.recipes import Augmentation
from ats_core.sampling import Sampling
from pipelines.catalog.build import read_catalog
from pipelines.storage.patches import PatchReader
from pipelines.training.batches import collate
from pipelines.training.read_ahead import Request, ask
from pipelines.training.run_directory import RunDirectory
from pipelines.training.train import Splits, in_turn


@dataclass(frozen=True, slots=True)
class Example:
    """One image as a model sees it. Shapes: N patches that count, P patch side, C classes."""

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
    """float [N], the share of each patch in the estimate, above zero."""
    patches: np.ndarray
    """uint8 [N, P, P, 3]."""
    boxes: np.ndarray
    """float [M, 4] as (y0, x0, y1, x1)."""


@torch.no_grad()
def examples(
    directory: RunDirectory,
    catalog: str,
    splits: Splits,
    *,
    sampling: Sampling = "drawn",
    n: int = 6,
    seed: int = 0,
) -> list[Example]:
    """Examples of a finished run from its test split, the classes in turn; `sampling` is that of its evaluation."""
    model, recipe = bundle.loads(directory.read_model(), own_networks=True)
    predictions = directory.read("predictions.json")
    chosen = in_turn(predictions["image_ids"], predictions["labels"], n)
    rows = read_catalog(catalog, splits=list(splits.test)).filter(expr=col("image_id").is_in(chosen)).take_all()
    batch = collate({name: _column([row[name] for row in rows]) for name in rows[0]})
    reader, generator = PatchReader(recipe.patch_size), Generator().manual_seed(seed)
    made = (
        example_of(ask(model, reader, batch.select([i]), Augmentation(), generator, sampling), model, recipe.classes)
        for i in range(len(batch))
    )
    return sorted(made, key=lambda example: chosen.index(example.image_id))


def example_of(request: Request, model: Model, classes: Sequence[str]) -> Example:
    """What a model in evaluation mode sees and says of a batch of one image; patches without weight are left out."""
    batch, draw = request.batch, request.draw
    output = model(request.views, draw, request.patches(model))
    probabilities_C = output.logits[0].softmax(-1)
    winner = int(probabilities_C.argmax())
    weights_N = (draw.weights / draw.proposal * output.attention.gather(1, draw.cells))[0].numpy()
    heaviest = np.argsort(-weights_N, kind="stable")[: np.count_nonzero(weights_N > 0)]
    height, width = batch.sizes[0].tolist()
    return Example(
        image_id=batch.image_ids[0],
        label=classes[batch.labels[0]],
        prediction=classes[winner],
        probability=float(probabilities_C[winner]),
        size=(height, width),
        view=batch.views[0].numpy(),
        attention=output.attention[0].view(model.grid.size).numpy(),
        grid=model.grid,
        centres=request.centres[0].numpy()[heaviest],
        weights=weights_N[heaviest],
        patches=request.future.result()[0][0].numpy()[heaviest],
        boxes=batch.boxes[0].numpy(),
    )


def _column(values: list[Any]) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column if isinstance(values[0], bytes | list | str) else np.array(values)
