"""A task small enough to be trained in a test: is the square in the image red or blue?"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ats_core.recipes import Augmentation, Recipe
from pipelines.catalog.made import catalog_of
from pipelines.catalog.sources.labels_csv import LabelsCsv

TOY = Recipe(
    task="toy",
    classes=("blue", "red"),
    view_size=(16, 16),
    patch_size=16,
    attention="dense",
    features="lenet",
    n_patches=4,
    epochs=4,
    batch_size=8,
    augmentation=Augmentation(flip=True, contrast=0.1, brightness=0.1),
)


@pytest.fixture(scope="session")
def toy_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 noisy images of 64 x 64 with a square of 16, and labels.csv: two thirds train, the rest tests."""
    folder, rng = tmp_path_factory.mktemp("toy"), np.random.default_rng(0)
    lines = ["image,label,split"]
    for i in range(48):
        pixels = rng.integers(80, 120, (64, 64, 3), dtype=np.uint8)
        y, x = rng.integers(0, 48, 2)
        pixels[y : y + 16, x : x + 16, 0 if i % 2 else 2] = 255
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
        lines.append(f"{i:02d}.png,{'red' if i % 2 else 'blue'},{'test' if i % 3 == 0 else 'train'}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def toy_catalog(ray_local: None, toy_images: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of its catalog."""
    source = LabelsCsv(images=str(toy_images), labels=str(toy_images / "labels.csv"))
    return catalog_of(source, str(tmp_path_factory.mktemp("out")), view_size=TOY.view_size)
