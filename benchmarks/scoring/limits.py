"""The least that an image can take: the networks, and reading, each alone, by plain processes as many as cores."""

from collections.abc import Sequence

import numpy as np
import torch

from ats_core import bundle
from ats_core.features import features_of_patches
from ats_core.models import AttentionSampling
from ats_core.precision import has_bfloat16
from pipelines.storage.layouts import ImageRef
from pipelines.storage.patches import PatchReader


class NetworksAlone:
    """Attention over one view and features of its patches, of so many images at once. Nothing is read."""

    def __init__(self, model: str, at_once: int) -> None:
        self.model, recipe = bundle.load(model)
        self.views = torch.zeros(at_once, 3, *recipe.view_size)
        self.patches = torch.zeros(at_once, recipe.n_patches, 3, recipe.patch_size, recipe.patch_size)
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu")))

    @torch.no_grad()
    def __call__(self, images: Sequence[int]) -> dict[str, list[float]]:
        """Nothing is said of as many images as there are batches."""
        assert isinstance(self.model, AttentionSampling)
        with self.autocast:
            for _ in images:
                self.model.attend(self.views)
                features_of_patches(self.model.features, self.patches)
        return {}


class ReadingAlone:
    """Patches at random places, by a reader that keeps nothing."""

    def __init__(self, n_patches: int, patch_size: int) -> None:
        self.reader, self.shape = PatchReader(patch_size, cache_mb=0, threads=1), (n_patches, 2)
        self.patch_size, self.rng = patch_size, np.random.default_rng(0)

    def __call__(self, images: Sequence[ImageRef]) -> dict[str, list[float]]:
        """Nothing is said of them."""
        low, high = self.patch_size, images[0].height - self.patch_size if images else 0
        self.reader.read(images, self.rng.integers(low, high, (len(images), *self.shape)))
        return {}
