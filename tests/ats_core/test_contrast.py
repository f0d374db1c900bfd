"""Features without labels: the loss against its definition, looks against their patches, and that it learns."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ats_core import contrast
from ats_core.contrast import TEMPERATURE, Contrast, contrastive_loss, random_look
from ats_core.features import LeNet


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_definition(one: Tensor, other: Tensor, image: list[int]) -> Tensor:
    looks, images, m = torch.cat([one, other]), image * 2, len(one)
    losses = []
    for i in range(2 * m):
        partner = (i + m) % (2 * m)
        cosines = functional.cosine_similarity(looks[i : i + 1], looks) / TEMPERATURE
        others = [cosines[j].exp() for j in range(2 * m) if j == partner or images[j] != images[i]]
        losses.append(-torch.log(cosines[partner].exp() / sum(others)))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("image", [[0, 1, 2, 3, 4], [0, 0, 1, 1, 1], [0, 1, 1, 0, 2]])
def test_the_loss_contrasts_a_patch_with_those_of_other_images(image: list[int]) -> None:
    one, other = torch.randn(2, 5, 7, dtype=torch.float64, generator=seeded())
    torch.testing.assert_close(contrastive_loss(one, other, torch.tensor(image)), by_definition(one, other, image))


def test_patches_of_one_image_alone_teach_nothing() -> None:
    one, other = torch.randn(2, 4, 7, generator=seeded())
    assert contrastive_loss(one, other, torch.zeros(4, dtype=torch.long)) == 0


@pytest.mark.parametrize("side", [16, 27])
def test_a_look_is_the_patch_moved_and_mirrored(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    monkeypatch.setattr(contrast, "CONTRAST", 0.0)
    monkeypatch.setattr(contrast, "BRIGHTNESS", 0.0)
    patches, reach = torch.rand(40, 3, side, side, generator=seeded()), int(side * contrast.SHIFT)
    seen = set()
    for patch, look in zip(patches, random_look(patches, seeded(1)), strict=True):
        wide = functional.pad(patch[None], (reach,) * 4, mode="reflect")[0]
        starts = [(y, x) for y in range(2 * reach + 1) for x in range(2 * reach + 1)]
        windows = {(y, x, 0): wide[:, y : y + side, x : x + side] for y, x in starts}
        windows |= {(y, x, 1): window.flip(-1) for (y, x, _), window in windows.items()}
        (found,) = [how for how, window in windows.items() if torch.equal(window, look)]
        seen.add(found)
    assert len(seen) > 20
    assert {mirrored for *_, mirrored in seen} == {0, 1}


def test_colours_change_by_one_scale_and_one_offset_a_patch() -> None:
    even = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(50, 2, 16, 16)
    looks = random_look(even, seeded())
    assert (looks.amax((2, 3)) == looks.amin((2, 3))).all()
    scale, offset = (looks[:, 0] - looks[:, 1])[:, 0, 0] / 2, looks.sum(1)[:, 0, 0] / 2
    assert 1 - contrast.CONTRAST <= scale.min() < 0.8 < 1.2 < scale.max() <= 1 + contrast.CONTRAST
    assert -contrast.BRIGHTNESS <= offset.min() < -0.3 < 0.3 < offset.max() <= contrast.BRIGHTNESS


def test_looks_follow_their_generator_alone() -> None:
    patches, state = torch.rand(5, 3, 16, 16), torch.get_rng_state()
    assert torch.equal(random_look(patches, seeded(3)), random_look(patches, seeded(3)))
    assert torch.equal(torch.get_rng_state(), state)


def test_features_learn_to_tell_patches_apart() -> None:
    """Of four textures, one an image: two looks at one become more alike, and less like those of the others."""
    torch.manual_seed(0)
    network, textures = LeNet(channels=1, patch_size=16), torch.randn(4, 1, 1, 16, 16, generator=seeded())
    patches = (textures + 0.3 * torch.randn(4, 3, 1, 16, 16, generator=seeded(1))).contiguous()
    learner, losses = Contrast(network, lr=2e-3), []
    for step in range(30):
        loss = learner.loss(patches, seeded(step), nullcontext())
        assert len(learner.backward(loss)) == len(learner.parameters)
        learner.update()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
