"""What a model says of a split: from the drawn estimate, as it would be used, unless told to look closer.

Shape suffixes: B images, K cells, N drawn cells.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Generator, Tensor

from ats_core.attention import entropy
from ats_core.geometry import cells_on_a_box
from ats_core.models import PatchModel
from ats_core.recipes import Augmentation
from ats_core.sampling import Sampling
from pipelines.storage.patches import PatchReader
from pipelines.training.batches import Batch
from pipelines.training.read_ahead import Request, ask, read_ahead


@dataclass(slots=True)
class Predictions:
    """What was said of each image, in the order of evaluation; parts of several workers can be added."""

    image_ids: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    logits: list[list[float]] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)
    """Of the attention, in nats; empty for a model without cells to choose from, as all that follow."""
    on_box: list[float] = field(default_factory=list)
    """Share of the patches that hold the centre of a box; of images that have boxes, as the next two.

    A patch without attention is not counted: a model that selects reads all and leaves most of them out.
    """
    on_box_uniform: list[float] = field(default_factory=list)
    """The same for uniform draws, exactly: the share of cells. It is also the mass that uniform attention has there."""
    attention_on_box: list[float] = field(default_factory=list)
    """Mass of the attention on cells whose patch holds the centre of a box."""
    maps: dict[str, Tensor] = field(default_factory=dict)
    """By image, the attention over all cells: float32 [rows, columns]; of the images asked for."""

    def __add__(self, other: "Predictions") -> "Predictions":
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Predictions(*(a | b if isinstance(a, dict) else a + b for a, b in pairs))

    def to_json(self) -> dict[str, Any]:
        """All but the maps: enough to compute every metric again."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "maps"}


@torch.no_grad()
def predict(
    model: PatchModel,
    reader: PatchReader,
    batches: Iterable[Batch],
    *,
    seed: int,
    depth: int,
    sampling: Sampling = "drawn",
    shown: Collection[str] = (),
) -> Predictions:
    """Predictions for every image that can be read, each from one draw; the model must be in evaluation mode.

    Args:
        model: any.
        reader: reads at the model's patch size.
        batches: of images as they are; for `exact` of one image each, since all cells are read.
        seed: of the draws.
        depth: batches read ahead.
        sampling: how the model chooses its cells.
        shown: ids of the images whose attention is kept.
    """
    generator = Generator().manual_seed(seed)

    def ask_one(batch: Batch) -> Request:
        return ask(model, reader, batch, Augmentation(), generator, sampling)

    said = (_said(model, request, shown) for request in read_ahead(batches, ask_one, depth))
    return sum(said, start=Predictions())


def _said(model: PatchModel, request: Request, shown: Collection[str]) -> Predictions:
    """Predictions for the images of a batch."""
    output = model.forward(request.views, request.draw, request.patches(model))
    read = request.read().nonzero().flatten().tolist()
    batch = request.batch.select(read)
    said = Predictions(
        image_ids=list(batch.image_ids),
        groups=list(batch.groups),
        labels=batch.labels.tolist(),
        logits=output.logits[read].cpu().tolist(),
    )
    if model.grid.n_cells > 1:
        attention_BK = output.attention.float().cpu()
        of_image = zip(request.batch.image_ids, attention_BK, strict=True)
        said.maps = {name: a_K.view(model.grid.size) for name, a_K in of_image if name in shown}
        said.entropy = entropy(attention_BK[read]).tolist()
        _score_boxes(said, model, batch, attention_BK[read], request.draw.cells[read].cpu())
    return said


def _score_boxes(said: Predictions, model: PatchModel, batch: Batch, attention_BK: Tensor, cells_BN: Tensor) -> None:
    """What the patches and the attention have of the boxes, for each image that has any."""
    for size_2, boxes_M4, a_K, cells_N in zip(batch.sizes, batch.boxes, attention_BK, cells_BN, strict=True):
        if len(boxes_M4):
            holds_K = cells_on_a_box(model.grid, size_2, model.patch_size, boxes_M4).float()
            said.on_box.append(holds_K[cells_N[a_K[cells_N] > 0]].mean().item())
            said.on_box_uniform.append(holds_K.mean().item())
            said.attention_on_box.append((a_K * holds_K).sum().item())
