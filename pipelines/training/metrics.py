"""What predictions are worth: measures of a test split, with intervals for those that papers compare.

Shape suffixes: B images, C classes.
"""

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_auroc, multiclass_recall

from pipelines.training.bootstrap import Measure, auroc_of, intervals, mean_of
from pipelines.training.evaluate import Predictions


def metrics(predictions: Predictions, classes: tuple[str, ...]) -> dict[str, float]:
    """Error, loss, AUROC and the recall of each class with their 95 % intervals, and where the model looked.

    AUROC, the mean over the classes of each against the rest, needs an image of every class; recall one of its own.
    The ends of the intervals are `test_error_low`, `test_error_high` and so on; images are resampled, or whole groups
    where the catalog has groups. Other randomness, of the training above all, is not in them. A measure that no
    resample changes, as the error of a split without one, has no interval: images alike cannot tell how far it is off.
    """
    logits_BC, labels_B = torch.tensor(predictions.logits), torch.tensor(predictions.labels)
    wrong_B = (logits_BC.argmax(-1) != labels_B).float()
    loss_B = functional.cross_entropy(logits_BC, labels_B, reduction="none")
    measures: dict[str, Measure] = {"test_error": mean_of(wrong_B), "test_loss": mean_of(loss_B)}
    found = {"test_error": wrong_B.mean().item(), "test_loss": loss_B.mean().item(), "n_test": len(labels_B)}
    counts_C = torch.bincount(labels_B, minlength=len(classes))
    recall_C = multiclass_recall(logits_BC, labels_B, len(classes), average="none")
    for c, name in enumerate(classes):
        if counts_C[c]:
            found[f"recall_{name}"] = recall_C[c].item()
            measures[f"recall_{name}"] = mean_of(1 - wrong_B, labels_B == c)
    if (counts_C > 0).all():
        found["test_auroc"] = multiclass_auroc(logits_BC.softmax(-1), labels_B, len(classes)).item()
        measures["test_auroc"] = _mean_auroc(logits_BC.softmax(-1), labels_B)
    for name, (low, high) in intervals(measures, predictions.groups).items():
        if low < high:
            found |= {f"{name}_low": low, f"{name}_high": high}
    return found | _looks(predictions)


def _mean_auroc(scores_BC: Tensor, labels_B: Tensor) -> Measure:
    of_classes = [auroc_of(scores_B, labels_B == c) for c, scores_B in enumerate(scores_BC.unbind(1))]
    return lambda counts_RB: torch.stack([of_class(counts_RB) for of_class in of_classes]).mean(0)


def _looks(predictions: Predictions) -> dict[str, float]:
    """Means over the images of what their attention and their patches are; where boxes exist, how much is on one."""
    found = {}
    if predictions.entropy:
        entropy_B = torch.tensor(predictions.entropy)
        found |= {"attention_entropy": entropy_B.mean().item(), "effective_cells": entropy_B.exp().mean().item()}
    if predictions.on_box:
        found |= {
            "patches_on_box": _mean(predictions.on_box),
            "patches_on_box_uniform": _mean(predictions.on_box_uniform),
            "images_with_a_patch_on_box": _mean([share > 0 for share in predictions.on_box]),
            "attention_on_box": _mean(predictions.attention_on_box),
            "attention_on_box_uniform": _mean(predictions.on_box_uniform),
        }
    return found


def _mean(values: list[float] | list[bool]) -> float:
    return sum(values) / len(values)
