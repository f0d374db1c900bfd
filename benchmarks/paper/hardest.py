"""Which test images most trainings get wrong: what is left when the chance of seeds and folds is averaged out."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from benchmarks.paper.figures import Run
from pipelines.catalog.schema import Manifest
from pipelines.report.runs import catalog_images, catalog_of
from pipelines.training.run_directory import RunDirectory


def hardest(runs: Sequence[Run], at_most: float = 0.5) -> list[dict[str, Any]]:
    """A row an image to which its trainings give at most that probability of its label on average, the worst first."""
    given: dict[tuple[str, int], list[float]] = {}
    for image_id, label, probability in (said for _, run in runs for said in _said(run)):
        given.setdefault((image_id, label), []).append(probability)
    mean = {image: sum(values) / len(values) for image, values in given.items()}
    wrong = sorted((image for image in mean if mean[image] <= at_most), key=mean.__getitem__)
    if not wrong:
        return []
    catalog = catalog_of(runs[0][1])
    images, classes = catalog_images(catalog, [image_id for image_id, _ in wrong]), Manifest.read(catalog).classes
    return [
        {
            "image": image_id,
            "label": classes[label],
            "boxes": len(images[image_id].boxes),
            "probability of its label": round(mean[image_id, label], 2),
            "trainings": len(given[image_id, label]),
        }
        for image_id, label in wrong
    ]


def _said(run: str) -> Iterator[tuple[str, int, float]]:
    """Of each test image of a run: its id, its label, and the probability that the model gave to it."""
    predictions = RunDirectory(run).read("predictions.json")
    assert predictions is not None, run
    probabilities = torch.tensor(predictions["logits"]).softmax(-1).tolist()
    for image_id, label, of_classes in zip(predictions["image_ids"], predictions["labels"], probabilities, strict=True):
        yield image_id, label, of_classes[label]
