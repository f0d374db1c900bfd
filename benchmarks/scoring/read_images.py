"""Ray Data's own pipeline: `read_images`, which opens whole files by Pillow, then one stage with the model."""

from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy

from benchmarks.scoring.plain import PROCESSES
from benchmarks.scoring.whole_images import Classifier
from pipelines.storage import objects

BATCH, BATCH_BYTES = 4, 2**30  # images, and bytes of pixels where that many are more


class Classify:
    """A process of the stage."""

    def __init__(self, model: str) -> None:
        self.classify = Classifier(model)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Probabilities by id."""
        ids = [path.rsplit("/", 1)[-1] for path in batch["path"]]
        said = [self.classify(pixels, pixels, image_id) for image_id, pixels in zip(ids, batch["image"], strict=True)]
        return {"image_id": ids, "probabilities": np.array(said)}


def score(prefix: str, model: str, side: int) -> dict[str, list[float]]:
    """Probabilities of all square images below a prefix, by id; as many processes classify as there are cores."""
    filesystem, path = objects.arrow_filesystem(prefix)
    images = ray.data.read_images(path, filesystem=filesystem, mode="RGB", include_paths=True)
    batch = max(1, min(BATCH, BATCH_BYTES // (3 * side**2)))
    said = images.map_batches(
        Classify, fn_constructor_kwargs={"model": model}, batch_size=batch,
        compute=ActorPoolStrategy(size=PROCESSES), num_cpus=0.5,  # the other half of the cores is for reading
    )  # fmt: skip
    return {row["image_id"]: list(row["probabilities"]) for row in said.iter_rows()}
