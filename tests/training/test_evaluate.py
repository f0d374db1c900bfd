"""Evaluation of real models: where they look, by hand on a grid of 2 x 3; and reading that is left alone or ahead."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ats_core.attention import entropy
from ats_core.models import Model
from ats_core.recipes import Augmentation, Recipe
from ats_core.sampling import Sampling
from pipelines.storage.patches import ImageRef, PatchReader
from pipelines.training.batches import Batch
from pipelines.training.evaluate import Predictions, predict
from pipelines.training.read_ahead import ask, read_ahead
from pipelines.training.train import in_turn

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
BOXES = torch.tensor([[2.0, 22.0, 8.0, 26.0], [30.0, 41.0, 44.0, 55.0], [36.0, 58.0, 38.0, 62.0]])
HELD = [1, 5]  # of six patches side by side, those with a box's centre: (5, 24) and (37, 48); (37, 60) is outside


def images(folder: Path, n: int = 2) -> Batch:
    """Noise of 40 x 60, so that the patches of all cells lie side by side; the first has boxes."""
    generator = torch.Generator().manual_seed(0)
    for i in range(n):
        pixels = torch.randint(256, (40, 60, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(folder / f"{i}.png")
    return batch_of(folder, n)


def batch_of(folder: Path, n: int = 2) -> Batch:
    names = [f"{i}.png" for i in range(n)]
    return Batch(
        images=[ImageRef(str(folder / name), 40, 60) for name in names],
        views=torch.randint(256, (n, 2, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)),
        labels=torch.arange(n) % 2,
        sizes=torch.tensor([[40, 60]] * n),
        boxes=[BOXES] + [torch.zeros(0, 4)] * (n - 1),
        image_ids=names,
        groups=["p", *[""] * (n - 1)],
    )


def built(model: str) -> Model:
    torch.manual_seed(0)
    return replace(RECIPE, model=model).build().eval()


def predicted(model: Model, batch: Batch, sampling: Sampling = "drawn", seed: int = 0) -> Predictions:
    reader, shown = PatchReader(RECIPE.patch_size), {"1.png"}
    return predict(model, reader, [batch], seed=seed, depth=1, sampling=sampling, shown=shown)


@pytest.mark.parametrize("name", ["ats", "uniform", "deep_mil", "ips"])
@torch.no_grad()
def test_mass_of_attention_and_share_of_patches_on_boxes(name: str, tmp_path: Path) -> None:
    model, batch = built(name), images(tmp_path)
    request = ask(model, PatchReader(20), batch, Augmentation(), torch.Generator().manual_seed(0))
    attention_BK = model(request.views, request.draw, request.patches(model)).attention
    found = predicted(model, batch)
    assert found.attention_on_box == pytest.approx([attention_BK[0, HELD].sum().item()])
    counted = [cell for cell in request.draw.cells[0].tolist() if attention_BK[0, cell] > 0]
    assert len(counted) == (6 if name == "deep_mil" else 2)  # of all cells, those drawn or selected
    assert found.on_box == pytest.approx([sum(cell in HELD for cell in counted) / len(counted)])
    assert found.on_box_uniform == pytest.approx([2 / 6])
    assert found.entropy == pytest.approx(entropy(attention_BK).tolist())
    assert found.groups == ["p", ""]
    assert set(found.maps) == {"1.png"}
    assert torch.equal(found.maps["1.png"], attention_BK[1].view(2, 3))


def test_uniform_attention_has_its_share_on_boxes(tmp_path: Path) -> None:
    found = predicted(built("uniform"), images(tmp_path))
    assert found.attention_on_box == pytest.approx(found.on_box_uniform)
    assert torch.tensor(found.entropy).exp().tolist() == pytest.approx([6, 6])


@torch.no_grad()
def test_exactly_is_the_expectation_over_all_cells(tmp_path: Path) -> None:
    model, batch = built("ats"), images(tmp_path)
    view = model.standardise(batch.views)
    cells_BK = torch.arange(6).repeat(2, 1)
    pixels, inside = PatchReader(20).read(batch.images, model.grid.centres(cells_BK, batch.sizes, 20))
    f_BKD = model.features(model.standardise(pixels, inside).flatten(0, 1)).view(2, 6, -1)
    expected = model.classifier((model.attend(view)[..., None] * f_BKD).sum(1))
    exact = predicted(model, batch, "exact")
    torch.testing.assert_close(torch.tensor(exact.logits), expected)
    assert exact.on_box == exact.on_box_uniform
    one_by_one = sum((predicted(model, batch.select([row]), "exact") for row in (0, 1)), start=Predictions())
    torch.testing.assert_close(torch.tensor(one_by_one.logits), expected)


def test_only_drawn_patches_depend_on_the_seed(tmp_path: Path) -> None:
    model, batch = built("ats"), images(tmp_path)
    for sampling, alike in (("drawn", False), ("topk", True), ("exact", True)):
        logits = [predicted(model, batch, sampling, seed).logits for seed in (0, 1)]
        assert (logits[0] == logits[1]) is alike


def test_a_model_that_wants_no_patch_reads_none(tmp_path: Path) -> None:
    """The images do not exist."""
    reader, model, batch = PatchReader(20), built("cnn"), batch_of(tmp_path / "nowhere")
    found = predict(model, reader, [batch], seed=0, depth=1, shown=batch.image_ids)
    assert found.image_ids == batch.image_ids
    assert found.labels == batch.labels.tolist()
    for looks in (found.on_box, found.on_box_uniform, found.attention_on_box, found.entropy, found.maps):
        assert not looks
    assert (reader.stats.requests, reader.stats.tiles) == (0, 0)
    request = ask(model, reader, batch, Augmentation(flip=False, shift=9), torch.Generator().manual_seed(0))
    assert request.read().tolist() == [True, True]
    assert request.labels().tolist() == batch.labels.tolist()
    assert request.patches(model).shape == (2, 0, 3, 1, 1)


@given(n=st.integers(0, 8), depth=st.integers(0, 10))
def test_a_request_is_made_depth_batches_before_it_is_used(n: int, depth: int) -> None:
    asked: list[int] = []
    used = []
    for request in read_ahead(range(n), lambda batch: asked.append(batch) or batch, depth):
        used.append(request)
        assert len(asked) == min(n, len(used) + depth)
    assert used == asked == list(range(n))


def test_examples_take_the_classes_in_turn() -> None:
    assert in_turn(list("abcdef"), [0, 0, 0, 1, 1, 2], 4) == ["a", "d", "f", "b"]
