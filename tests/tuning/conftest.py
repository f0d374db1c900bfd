"""A catalog without pixels, which is all that a plan needs."""

from pathlib import Path

import pytest

from pipelines.catalog.schema import Manifest


def write_manifest(folder: Path, *splits: str, source: str = "ColonCancer(images='x')") -> str:
    """A catalog of 10 images a class and split, with views of 100 x 100; its URI."""
    counts = [
        {"split": split, "label": label, "images": 10, "status": "ok", "layout": ""}
        for split in splits
        for label in (0, 1)
    ]
    classes = ("negative", "positive")
    manifest = Manifest(source=source, classes=classes, view_size=(100, 100), created_by="a test", counts=tuple(counts))
    manifest.write(str(folder))
    return str(folder)


@pytest.fixture
def catalog(tmp_path: Path) -> str:
    return write_manifest(tmp_path / "catalog", *(f"fold{i}" for i in range(5)))
