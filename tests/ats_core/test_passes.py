"""Without gradient a network sees a few images at a time, and says the same."""

import pytest
import torch

from ats_core import passes
from ats_core.recipes import MegapixelMNIST, SpeedLimits


@pytest.mark.parametrize(("side", "of_passes"), [(16, [5]), (32, [2, 2, 1]), (64, [1] * 5)])
def test_a_pass_has_so_many_images_as_its_pixels_allow(monkeypatch, side: int, of_passes: list[int]) -> None:
    monkeypatch.setattr(passes, "ON_CPU", 2 * 32**2)
    seen, inputs = [], torch.rand(5, 3, side, side)
    said = passes.in_passes(lambda some: seen.append(len(some)) or some.mean((1, 2, 3)), inputs)
    assert seen == of_passes
    torch.testing.assert_close(said, inputs.mean((1, 2, 3)))


@pytest.mark.parametrize("recipe", [SpeedLimits(view_size=(64, 80)), MegapixelMNIST(view_size=(30, 40))])
def test_attention_is_cut_into_passes_in_evaluation_alone(monkeypatch, recipe) -> None:
    torch.manual_seed(0)
    model, sizes = recipe.build().double(), []
    model.attention.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    views = torch.rand(3, recipe.channels, *recipe.view_size, dtype=torch.float64)
    monkeypatch.setattr(passes, "ON_CPU", 1)
    with torch.no_grad():
        trained = model.train().attend(views)
        cut = model.eval().attend(views)
    assert sizes == [3, 1, 1, 1]
    torch.testing.assert_close(cut, trained, rtol=1e-12, atol=0)
