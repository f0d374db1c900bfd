"""An image that cannot be read is left out of the loss and of the metrics, and nothing else changes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.optim import SGD

from ats_core.recipes import Augmentation, Recipe
from ats_core.step import train_step
from pipelines.errors import ImageError
from pipelines.storage.patches import ImageRef, PatchReader
from pipelines.training.batches import Batch
from pipelines.training.evaluate import Predictions, predict
from pipelines.training.read_ahead import Request, ask

RECIPE = Recipe(
    task="toy", classes=("a", "b"), view_size=(16, 16), patch_size=16, attention="dense", features="lenet", n_patches=3
)
SIDE = 64


def batch_of(folder: Path, *, gone: int) -> Batch:
    """Four images, of which one is not there; each seen as its own view."""
    names = [f"{i}.png" for i in range(4)]
    for i, name in enumerate(names):
        if i != gone:
            Image.new("RGB", (SIDE, SIDE), (40 * i, 200, 90)).save(folder / name)
    return Batch(
        images=[ImageRef(str(folder / name), SIDE, SIDE) for name in names],
        views=torch.randint(256, (4, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
        labels=torch.tensor([0, 1, 0, 1]),
        sizes=torch.full((4, 2), SIDE),
        boxes=[torch.zeros(0, 4)] * 4,
        image_ids=names,
        groups=[""] * 4,
    )


def asked(batch: Batch, reader: PatchReader) -> tuple[torch.nn.Module, Request]:
    torch.manual_seed(0)
    model = RECIPE.build().eval()  # batch statistics would depend on who is in the batch
    return model, ask(model, reader, batch, Augmentation(), torch.Generator().manual_seed(0))


def step(model: torch.nn.Module, request: Request, patches: Tensor, lr: float) -> float:
    optimizer = SGD(model.parameters(), lr=lr)
    views, draw, labels_B = request.views, request.draw, request.labels()
    return train_step(model, optimizer, views, draw, patches, labels_B, entropy_weight=0.01, clip_norm=1.0)


def test_a_step_is_that_of_the_others(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, gone=2)
    model, request = asked(batch, PatchReader(16, on_error="skip"))
    assert request.labels().tolist() == [0, 1, -1, 1]
    patches, rows = request.patches(model), [0, 1, 3]
    loss = step(model, request, patches, lr=0.0)
    draw = {name: getattr(request.draw, name)[rows] for name in ("cells", "proposal", "weights", "undrawn")}
    read = PatchReader(16).submit(batch.select(rows).images, request.centres[rows])
    alone = replace(request, batch=batch.select(rows), views=request.views[rows], future=read)
    alone = replace(alone, draw=replace(request.draw, **draw))
    assert step(model, alone, patches[rows], lr=0.0) == pytest.approx(loss)


def test_a_batch_of_which_nothing_is_read_moves_nothing(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, gone=0).select([0])
    model, request = asked(batch, PatchReader(16, on_error="skip"))
    before = [parameter.clone() for parameter in model.parameters()]
    patches = request.patches(model)
    assert step(model, request, patches, lr=1.0) == 0
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_an_image_of_which_a_shifted_frame_asks_no_pixel_is_not_left_out(tmp_path: Path) -> None:
    """Only a file that cannot be read is: where the draws fall decides nothing."""
    batch, reader = batch_of(tmp_path, gone=1), PatchReader(16, on_error="skip")
    _, request = asked(batch, reader)
    beyond_BN2 = torch.full_like(request.centres, 2 * SIDE)
    request = replace(request, centres=beyond_BN2, future=reader.submit(batch.images, beyond_BN2))
    assert not request.future.result()[1].any()
    assert request.read().all()


def test_predictions_are_of_the_images_that_were_read(tmp_path: Path) -> None:
    batch, reader = batch_of(tmp_path, gone=1), PatchReader(16, on_error="skip")
    model = RECIPE.build().eval()
    predictions = predict(model, reader, [batch], seed=0, depth=1)
    assert predictions.image_ids == ["0.png", "2.png", "3.png"]
    assert (predictions.labels, len(predictions.logits)) == ([0, 0, 1], 3)
    assert reader.stats.bad == 1
    nothing = predict(model, reader, [batch.select([1])], seed=0, depth=1)
    assert nothing.to_json() == Predictions().to_json()
    with pytest.raises(ImageError, match=r"1\.png"):
        predict(model, PatchReader(16), [batch], seed=0, depth=1)
