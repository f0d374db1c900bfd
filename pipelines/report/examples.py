"""What the model looked at: a few test images with attention, drawn patches and prediction.

Built from the view and the drawn patches alone; no full image is held beyond what the reader needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from ats_core import bundle
from ats_core.geometry import CellGrid
from ats_core.models import Model
from ats_core.recipes import Augmentation
from ats_core.sampling import Sampling
from pipelines.report.runs import catalog_rows
from pipelines.storage.patches import PatchReader
from pipelines.training.batches import collate
from pipelines.training.read_ahead import Request, ask
from pipelines.training.run_directory import RunDirectory

PATCHES_KEPT = 100  # a model that reads all of a grid has thousands
PATCHES_SHOWN = 10  # beside an image; the others are boxes on it


@dataclass(frozen=True, slots=True)
class Example:
    """One image as a model sees it. Shapes: N heaviest patches, at most `PATCHES_KEPT`, of side P."""

    image_id: str
    label: str
    """"" where it is not known."""
    prediction: str
    probability: float
    """Of the predicted class."""
    standard_error: float
    """Of the probability, from the draw alone; see `error_of_winner`. Not finite where one draw cannot tell it."""
    size: tuple[int, int]
    view: np.ndarray
    """uint8 [h, w, 3]."""
    attention: np.ndarray
    """float [rows, columns] over the grid's cells."""
    grid: CellGrid
    n_patches: int
    """All that count."""
    centres: np.ndarray
    """int [N, 2] in image pixels, the heaviest patch first."""
    weights: np.ndarray
    """float [N], the share of each patch in the estimate, above zero."""
    patches: np.ndarray
    """uint8 [N, P, P, 3]."""
    boxes: np.ndarray
    """float [M, 4] as (y0, x0, y1, x1)."""

    @property
    def right(self) -> bool | None:
        """Whether the prediction is the label; None where that is not known."""
        return self.prediction == self.label if self.label else None

    @property
    def corners(self) -> np.ndarray:
        """int [N, 2]: where the patches begin, in image pixels."""
        return self.centres - self.patches.shape[1] // 2


@torch.no_grad()
def examples(
    directory: RunDirectory, catalog: str, image_ids: Sequence[str], *, sampling: Sampling = "drawn", seed: int = 0
) -> list[Example]:
    """Some images of a catalog as a finished run's model sees them, in the order given; Ray is not needed.

    Args:
        directory: of the run.
        catalog: one with the view size of the run's model.
        image_ids: which.
        sampling: how the model chooses its cells, in general that of the run's evaluation.
        seed: of the draws. An evaluation has draws of its own: what it said of an image may differ.
    """
    model, recipe = bundle.loads(directory.read_model(), own_networks=True)
    rows = catalog_rows(catalog, image_ids)
    batch = collate({name: rows[name].to_numpy(zero_copy_only=False) for name in rows.column_names})
    reader, generator = PatchReader(recipe.patch_size), Generator().manual_seed(seed)
    made = [
        example_of(ask(model, reader, batch.select([i]), Augmentation(), generator, sampling), model, recipe.classes)
        for i in range(len(batch))
    ]
    return sorted(made, key=lambda example: image_ids.index(example.image_id))


def example_of(request: Request, model: Model, classes: Sequence[str]) -> Example:
    """What a model in evaluation mode sees and says of a batch of one image; patches without weight are left out."""
    batch, draw = request.batch, request.draw
    output = model(request.views, draw, request.patches(model))
    probabilities_C = output.logits[0].softmax(-1)
    winner = int(probabilities_C.argmax())
    weights_N = (draw.weights / draw.proposal * output.attention.gather(1, draw.cells))[0].numpy()
    n_patches = np.count_nonzero(weights_N > 0)
    heaviest = np.argsort(-weights_N, kind="stable")[: min(n_patches, PATCHES_KEPT)]
    height, width = batch.sizes[0].tolist()
    return Example(
        image_id=batch.image_ids[0],
        label=classes[batch.labels[0]],
        prediction=classes[winner],
        probability=float(probabilities_C[winner]),
        standard_error=error_of_winner(probabilities_C, output.standard_error[0]),
        size=(height, width),
        view=batch.views[0].numpy(),
        attention=output.attention[0].view(model.grid.size).numpy(),
        grid=model.grid,
        n_patches=n_patches,
        centres=request.centres[0].numpy()[heaviest],
        weights=weights_N[heaviest],
        patches=request.future.result()[0][0].numpy()[heaviest],
        boxes=batch.boxes[0].numpy(),
    )


def error_of_winner(probabilities_C: Tensor, logit_errors_C: Tensor) -> float:
    """At most so large is the standard error of the largest probability, given those of the logits, to first order.

    With dp_w / dz_c = p_w ([c = w] - p_c), it is the sum of |dp_w / dz_c| times the error of z_c: how the errors of the
    logits go together is not known, and two classes, whose errors are opposite, reach it.
    """
    if torch.isinf(logit_errors_C).any():
        return float("inf")
    winner = int(probabilities_C.argmax())
    slopes_C = -probabilities_C[winner] * probabilities_C
    slopes_C[winner] += probabilities_C[winner]
    return float((slopes_C.abs() * logit_errors_C).sum())
