"""The colours of a catalog, against those of its images."""

import numpy as np
import pytest
from PIL import Image

from pipelines.catalog.build import build_catalog
from pipelines.catalog.sources.labels_csv import LabelsCsv
from pipelines.catalog.statistics import LEAST, colours_of
from pipelines.errors import CatalogError


@pytest.fixture(scope="module")
def catalog(ray_local: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six images of the size of their views: four of noise that train, and two flat ones that test."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    lines = ["image,label,split"]
    for i in range(6):
        pixels = rng.integers(0, 256, (8, 8, 3)) // np.array([1, 2, 4]) if i < 4 else np.full((8, 8, 3), 51)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
        lines.append(f"{i}.png,{i % 2},{'train' if i < 4 else 'test'}")
    (folder / "labels.csv").write_text("\n".join(lines))
    source = LabelsCsv(images=str(folder), labels=str(folder / "labels.csv"))
    out = tmp_path_factory.mktemp("out")
    build_catalog(source, str(out / "catalog"), view_size=(8, 8))
    return str(out / "catalog")


def test_mean_and_deviation_are_those_of_the_pixels_of_the_split(catalog: str) -> None:
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.integers(0, 256, (8, 8, 3)) // np.array([1, 2, 4]) for _ in range(4)]) / 255
    mean, std = colours_of(catalog, ["train"])
    assert mean == pytest.approx(pixels.mean((0, 1, 2)))
    assert std == pytest.approx(pixels.std((0, 1, 2)))


def test_one_flat_colour_can_still_be_divided_by(catalog: str) -> None:
    assert colours_of(catalog, ["test"]) == (pytest.approx((0.2,) * 3), pytest.approx((LEAST,) * 3))


def test_a_split_without_images_is_refused(catalog: str) -> None:
    with pytest.raises(CatalogError, match="validation"):
        colours_of(catalog, ["validation"])
