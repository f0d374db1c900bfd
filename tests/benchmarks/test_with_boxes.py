"""What with_boxes trains: it must learn what it is told, and be tested on patches that it was not trained on."""

import pytest
import torch
from torch import Tensor

from benchmarks.with_boxes import Maxima, PatchClassifier, Patches, Supervision, fitted, scored

GREY, BRIGHT = 120, 250


def frames(n: int, seed: int, bright: int = 1) -> Patches:
    """Every other frame has a bright square of 8 x 8 in some of its 30 patches; all are noise besides."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(GREY - 30, GREY + 30, (n, 30, 16, 16, 3), generator=generator, dtype=torch.uint8)
    labels = torch.arange(n) % 2
    on_sign = torch.zeros(n, 30, dtype=torch.bool)
    on_sign[labels == 1] = torch.rand(int(labels.sum()), 30, generator=generator).argsort(1) < bright
    pixels[:, :, 4:12, 4:12][on_sign] = BRIGHT
    return Patches(pixels, torch.ones(n, 30, 16, 16, dtype=torch.bool), on_sign, labels)


def measured(by: Supervision, bright: int) -> dict[str, float | None]:
    torch.manual_seed(0)
    model = PatchClassifier(Maxima(), by)
    fitted(model, frames(96, seed=1, bright=bright), epochs=4, seed=0)
    return scored(model, frames(40, seed=2, bright=bright))


def test_boxes_tell_patches_and_their_frames() -> None:
    found = measured("boxes", bright=1)
    assert found == pytest.approx({"AUROC": 1, "AUROC of patches": 1})


def test_labels_tell_frames_alone() -> None:
    found = measured("labels", bright=10)
    assert found["AUROC"] is not None
    assert found["AUROC"] > 0.9
    assert found["AUROC of patches"] is None


def test_drawn_patches_are_those_of_their_frames() -> None:
    patches = frames(6, seed=3)
    chosen: Tensor = torch.tensor([[29, 0], [3, 3]])
    some = patches.select(torch.tensor([5, 2]), chosen)
    assert torch.equal(some.pixels[0, 0], patches.pixels[5, 29])
    assert torch.equal(some.on_sign[1], patches.on_sign[2, chosen[1]])
    assert some.labels.tolist() == [1, 0]
