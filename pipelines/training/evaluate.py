"""What a model is worth on a split: from the drawn estimate, as it would be used.

Shape suffixes: B images, C classes, K cells, N drawn cells.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_auroc, multiclass_recall

from ats_core.geometry import holds_a_box
from ats_core.models import PatchModel
from ats_core.recipes import Augmentation
from pipelines.storage.patches import PatchReader
from pipelines.training.batches import Batch
from pipelines.training.read_ahead import ask, read_ahead


@dataclass(slots=True)
class Predictions:
    """What was said of each image, in the order of evaluation; parts of several workers can be added."""

    image_ids: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    logits: list[list[float]] = field(default_factory=list)
    on_box: list[float] = field(default_factory=list)
    """Share of drawn patches that hold the centre of a box; of images that have boxes."""
    on_box_uniform: list[float] = field(default_factory=list)
    """The same for uniform draws, exactly."""

    def __add__(self, other: "Predictions") -> "Predictions":
        return Predictions(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@torch.no_grad()
def predict(model: PatchModel, reader: PatchReader, batches: Iterable[Batch], *, seed: int, depth: int) -> Predictions:
    """Predictions for every image that can be read, each from one draw; the model must be in evaluation mode."""
    predictions, generator = Predictions(), Generator().manual_seed(seed)
    for request in read_ahead(batches, lambda batch: ask(model, reader, batch, Augmentation(), generator), depth):
        output = model.forward(request.views, request.draw, request.patches(model))
        read = request.read().nonzero().flatten().tolist()
        batch = request.batch.select(read)
        predictions.image_ids += batch.image_ids
        predictions.labels += batch.labels.tolist()
        predictions.logits += output.logits[read].cpu().tolist()
        for centres_N2, size_2, boxes_M4 in zip(request.centres[read], batch.sizes, batch.boxes, strict=True):
            if len(boxes_M4):
                predictions.on_box.append(_share(centres_N2, model.patch_size, boxes_M4))
                predictions.on_box_uniform.append(_share(_all_centres(model, size_2), model.patch_size, boxes_M4))
    return predictions


def metrics(predictions: Predictions, classes: tuple[str, ...]) -> dict[str, float]:
    """Error, loss, recall a class, AUROC and, where boxes exist, the share of drawn patches on one.

    AUROC, the mean over the classes of each against the rest, needs an image of every class; recall one of its own.
    """
    logits_BC, labels_B = torch.tensor(predictions.logits), torch.tensor(predictions.labels)
    n_classes, counts_C = len(classes), torch.bincount(labels_B, minlength=len(classes))
    recall_C = multiclass_recall(logits_BC, labels_B, n_classes, average="none")
    found = {
        "test_error": (logits_BC.argmax(-1) != labels_B).float().mean().item(),
        "test_loss": functional.cross_entropy(logits_BC, labels_B).item(),
        "n_test": len(labels_B),
        **{f"recall_{classes[c]}": recall_C[c].item() for c in range(n_classes) if counts_C[c]},
    }
    if (counts_C > 0).all():
        found["test_auroc"] = multiclass_auroc(logits_BC.softmax(-1), labels_B, n_classes).item()
    if predictions.on_box:
        found["patches_on_box"] = _mean(predictions.on_box)
        found["patches_on_box_uniform"] = _mean(predictions.on_box_uniform)
        found["images_with_a_patch_on_box"] = _mean([share > 0 for share in predictions.on_box])
    return found


def _share(centres_N2: Tensor, patch_size: int, boxes_M4: Tensor) -> float:
    return holds_a_box(centres_N2, patch_size, boxes_M4).float().mean().item()


def _all_centres(model: PatchModel, size_2: Tensor) -> Tensor:
    every_cell_1K = torch.arange(model.grid.n_cells)[None]
    return model.grid.centres(every_cell_1K, size_2[None], model.patch_size)[0]


def _mean(values: list[float] | list[bool]) -> float:
    return sum(values) / len(values)
