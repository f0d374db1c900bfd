"""Colon cancer histology: the original folders, labels from the annotations, folds."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from pipelines.catalog.sources.colon_cancer import ColonCancer
from pipelines.errors import CatalogError


def annotate(folder: Path, nuclei: int) -> None:
    for kind, n in (("epithelial", nuclei), ("others", 3)):
        savemat(folder / f"{folder.name}_{kind}.mat", {"detection": np.ones((n, 2)) if n else np.zeros((0, 0))})


@pytest.fixture
def original(tmp_path: Path, write_images: Callable[..., None]) -> Path:
    """Twelve images as they are distributed: 4, 8, 12 are negative; the Detection folders hold the same pictures."""
    for i in range(1, 13):
        for kind in ("Classification", "Detection"):
            write_images(tmp_path / kind / f"img{i}", f"img{i}.bmp" if i != 3 else "img3.webp")
        annotate(tmp_path / "Classification" / f"img{i}", 0 if i % 4 == 0 else i)
    return tmp_path


@pytest.mark.parametrize("below", ["", "Classification"])
def test_the_original_layout(original: Path, below: str) -> None:
    entries = ColonCancer(str(original / below), folds=3).entries()
    assert [e.image_id for e in entries] == [f"img{i}" for i in range(1, 13)]
    assert [e.label for e in entries] == [int(i % 4 != 0) for i in range(1, 13)]
    assert all(Path(e.uri).is_file() and Path(e.uri).parent.parent.name == "Classification" for e in entries)
    assert Counter((e.split, e.label) for e in entries) == {
        (f"fold{k}", y): n for k in range(3) for y, n in ((0, 1), (1, 3))
    }


def test_a_nucleus_is_a_box_of_12_pixels_around_the_centre_of_its_pixel(
    tmp_path: Path, write_images: Callable[..., None]
) -> None:
    """MATLAB's (x, y) = (1, 1) is the first pixel, whose centre is at (0.5, 0.5)."""
    write_images(tmp_path / "img1", "img1.bmp")
    savemat(tmp_path / "img1/img1_epithelial.mat", {"detection": np.array([[1.0, 1.0], [20.25, 10.0]])})
    savemat(tmp_path / "img1/img1_others.mat", {"detection": np.array([[5.0, 5.0]])})
    (entry,) = ColonCancer(str(tmp_path)).entries()
    assert entry.boxes == ((-5.5, -5.5, 6.5, 6.5), (3.5, 13.75, 15.5, 25.75))


def test_the_seed_chooses_the_folds(original: Path) -> None:
    def folds(seed: int) -> list[str]:
        return [e.split for e in ColonCancer(str(original), folds=3, seed=seed).entries()]

    assert folds(0) == folds(0)
    assert len({tuple(folds(seed)) for seed in range(4)}) > 1


def test_a_missing_picture_and_a_broken_annotation(original: Path) -> None:
    (original / "Classification/img5/img5.bmp").unlink()
    (entry,) = (e for e in ColonCancer(str(original)).entries() if e.image_id == "img5")
    assert entry.uri == str(original / "Classification/img5/img5.bmp")
    (original / "Classification/img5/img5_epithelial.mat").write_bytes(b"no matrix")
    with pytest.raises(CatalogError, match=r"img5_epithelial\.mat: not an annotation"):
        ColonCancer(str(original)).entries()


def test_another_folder_is_named(tmp_path: Path, write_images: Callable[..., None]) -> None:
    write_images(tmp_path, "img1.bmp")
    with pytest.raises(CatalogError, match="epithelial"):
        ColonCancer(str(tmp_path)).entries()


def test_the_real_images(shared_data: Path) -> None:
    entries = ColonCancer(str(shared_data / "colon_cancer")).entries()
    assert [e.image_id for e in entries] == [f"img{i}" for i in range(1, 101)]
    assert Counter(e.label for e in entries) == {1: 51, 0: 49}
    assert all(bool(e.boxes) == e.label for e in entries)
    assert sum(len(e.boxes) for e in entries) == 7722  # epithelial nuclei, as its authors count them
    assert Counter(e.split for e in entries) == {f"fold{k}": 20 for k in range(5)}
    assert all(9 <= n <= 11 for n in Counter((e.split, e.label) for e in entries).values())
