"""The least that an image can take: the networks, and reading, each alone on one thread of a process of its own."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ats_core import bundle
from ats_core.features import features_of_patches
from ats_core.models import AttentionSampling
from ats_core.precision import has_bfloat16
from pipelines.storage.layouts import ImageRef
from pipelines.storage.patches import PatchReader

REPEATED = 8
BATCH = 8  # images


@torch.no_grad()
def network_cpu_s(model_uri: str) -> float:
    """Attention over one view and features of its patches: CPU of an image."""
    torch.set_num_threads(1)
    model, recipe = bundle.load(model_uri)
    assert isinstance(model, AttentionSampling)
    views = torch.zeros(BATCH, 3, *recipe.view_size)
    patches = torch.zeros(BATCH, recipe.n_patches, 3, recipe.patch_size, recipe.patch_size)

    def once() -> None:
        model.attend(views)
        features_of_patches(model.features, patches)

    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu"))):
        return _cpu_s(once) / BATCH


def reading_cpu_s(images: Sequence[ImageRef], n_patches: int, patch_size: int) -> float:
    """Patches at random places, by a reader that keeps nothing: CPU of an image."""
    reader, rng = PatchReader(patch_size, cache_mb=0, threads=1), np.random.default_rng(0)
    side = images[0].height

    def once() -> None:
        reader.read(images, rng.integers(patch_size, side - patch_size, (len(images), n_patches, 2)))

    return _cpu_s(once) / len(images)


def _cpu_s(do: Callable[[], None]) -> float:
    """Of doing it once, the first time left out."""
    do()
    began = time.process_time()
    for _ in range(REPEATED):
        do()
    return (time.process_time() - began) / REPEATED
