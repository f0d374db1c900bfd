"""What a figure shows of an image: the patches that were scored, the heaviest first."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ats_core.recipes import Augmentation, Recipe
from ats_core.sampling import Sampling
from pipelines.report import examples
from pipelines.report.examples import Example, example_of
from pipelines.report.figure import attention_figure
from pipelines.storage.patches import ImageRef, PatchReader
from pipelines.training.batches import Batch
from pipelines.training.read_ahead import ask

RECIPE = Recipe(
    task="toy",
    classes=("a", "b"),
    view_size=(2, 3),
    patch_size=20,
    attention="dense",
    features="lenet",
    n_patches=2,
    mil_grid=(2, 3),
)
CENTRES = [(10, 10), (10, 30), (10, 50), (30, 10), (30, 30), (30, 50)]


def example(folder: Path, model_name: str, sampling: Sampling) -> Example:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (40, 60, 3), dtype=torch.uint8, generator=generator)
    Image.fromarray(pixels.numpy()).save(folder / "image.png")
    batch = Batch(
        images=[ImageRef(str(folder / "image.png"), 40, 60)],
        views=torch.randint(256, (1, 2, 3, 3), dtype=torch.uint8, generator=generator),
        labels=torch.tensor([1]),
        sizes=torch.tensor([[40, 60]]),
        boxes=[torch.tensor([[2.0, 22.0, 8.0, 26.0]])],
        image_ids=["image"],
        groups=[""],
    )
    torch.manual_seed(0)
    model = replace(RECIPE, model=model_name).build().eval()
    with torch.no_grad():
        return example_of(ask(model, PatchReader(20), batch, Augmentation(), generator, sampling), model, ("a", "b"))


@pytest.mark.parametrize(
    ("model", "sampling", "n"), [("ats", "topk", 2), ("ats", "exact", 6), ("deep_mil", "drawn", 6), ("ips", "drawn", 2)]
)
def test_the_patches_are_those_of_most_attention(model: str, sampling: Sampling, n: int, tmp_path: Path) -> None:
    seen = example(tmp_path, model, sampling)
    a_K = torch.from_numpy(seen.attention).flatten()
    heaviest = a_K.argsort(descending=True)[:n]
    assert [tuple(centre) for centre in seen.centres.tolist()] == [CENTRES[k] for k in heaviest]
    expected = a_K[heaviest] / (a_K[heaviest].sum() if sampling == "topk" else 1)
    torch.testing.assert_close(torch.from_numpy(seen.weights).float(), expected)
    pixels = torch.from_numpy(np.array(Image.open(tmp_path / "image.png")))
    for patch, (y, x) in zip(seen.patches, seen.centres.tolist(), strict=True):
        assert torch.equal(torch.from_numpy(patch), pixels[y - 10 : y + 10, x - 10 : x + 10])
    assert (seen.label, seen.size) == ("b", (40, 60))


def test_of_thousands_the_heaviest_are_kept_and_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = example(tmp_path, "deep_mil", "drawn")
    monkeypatch.setattr(examples, "PATCHES_KEPT", 4)
    seen = example(tmp_path, "deep_mil", "drawn")
    assert (every.n_patches, seen.n_patches, len(seen.patches), len(seen.centres)) == (6, 6, 4, 4)
    np.testing.assert_array_equal(seen.weights, every.weights[:4])
    np.testing.assert_array_equal(seen.corners, every.centres[:4] - 10)


def test_a_figure_of_it(tmp_path: Path) -> None:
    seen = [example(tmp_path, model, "exact") for model in ("ats", "cnn")]
    assert len(seen[1].patches) == 0
    assert attention_figure(seen, "toy").startswith(b"\x89PNG")
