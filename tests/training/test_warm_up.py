"""Epochs before the first: they change the features alone, and afterwards these learn more slowly."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from ats_core.recipes import Augmentation, ColonCancer
from pipelines.storage.patches import ImageRef, PatchReader
from pipelines.training.batches import Batch
from pipelines.training.read_ahead import ask
from pipelines.training.warm_up import RATE, rates, warm_up

RECIPE = replace(ColonCancer(), view_size=(12, 12), features="lenet", patch_size=16, n_patches=6)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    generator = torch.Generator().manual_seed(0)
    for i in range(3):
        pixels = torch.randint(256, (60, 60, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(tmp_path / f"{i}.png")
    return Batch(
        images=[ImageRef(str(tmp_path / f"{i}.png"), 60, 60) for i in range(3)],
        views=torch.randint(256, (3, 12, 12, 3), dtype=torch.uint8, generator=generator),
        labels=torch.tensor([0, 1, 0]),
        sizes=torch.tensor([[60, 60]] * 3),
        boxes=[torch.zeros(0, 4)] * 3,
        image_ids=["0", "1", "2"],
        groups=[""] * 3,
    )


def test_it_trains_the_features_alone_and_says_so(batch: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    model, reader, generator = RECIPE.build(), PatchReader(RECIPE.patch_size), torch.Generator().manual_seed(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    epochs = [[ask(model, reader, batch, Augmentation(), generator)] * 2 for _ in range(3)]
    warm_up(model, epochs, generator, nullcontext(), n_workers=1, quiet=False)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("features.")}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["warm-up 1", "warm-up 2", "warm-up 3"]
    assert all(line.endswith("over 2 updates") for line in lines)


def test_afterwards_the_features_learn_at_a_tenth_of_the_rate_and_every_weight_is_in_one_group() -> None:
    model = RECIPE.build()
    for warmed_up, expected in ((False, (1.0,)), (True, (1.0, RATE))):
        found, groups = rates(model, warmed_up=warmed_up)
        assert found == expected
        assert sorted(id(p) for group in groups for p in group["params"]) == sorted(id(p) for p in model.parameters())
    assert [id(p) for p in groups[1]["params"]] == [id(p) for p in model.features.parameters()]
