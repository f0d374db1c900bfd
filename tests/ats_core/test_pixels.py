"""From 8-bit pixels to network input."""

import pytest
import torch

from ats_core.pixels import STAINS, Standardise, restain

MEAN, STD = (0.5, 0.25, 0.75), (0.2, 0.1, 0.4)


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_is_the_formula() -> None:
    stored = pixels(2, 3, 4, 5, 3)
    inside = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    contrast, brightness = torch.tensor([0.8, 1.2]), torch.tensor([-0.1, 0.05])
    network_input = Standardise(MEAN, STD)(stored, inside, contrast_B=contrast, brightness_B=brightness)
    assert network_input.shape == (2, 3, 3, 4, 5)
    for b, n, y, x, c in torch.cartesian_prod(*map(torch.arange, stored.shape)).tolist():
        intensity = stored[b, n, y, x, c].item() / 255 * contrast[b].item() + brightness[b].item()
        expected = (intensity - MEAN[c]) / STD[c] if inside[b, n, y, x] else 0.0
        assert network_input[b, n, c, y, x].item() == pytest.approx(expected, abs=1e-5)


def test_views_and_patches_get_the_same_values() -> None:
    stored, standardise = pixels(2, 6, 6, 3), Standardise(MEAN, STD)
    colour = {"contrast_B": torch.tensor([0.9, 1.1]), "brightness_B": torch.tensor([0.1, -0.1])}
    view, patch = standardise(stored, **colour), standardise(stored[:, None, 1:4, 2:5], **colour)
    assert torch.equal(patch[:, 0], view[:, :, 1:4, 2:5])


def test_outside_is_zero_whatever_the_colour_change() -> None:
    nothing_inside = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    shifted = Standardise(MEAN, STD)(pixels(1, 2, 4, 4, 3), nothing_inside, brightness_B=torch.ones(1))
    assert shifted.eq(0).all()


def test_without_a_mask_all_is_inside() -> None:
    stored, standardise = pixels(2, 4, 4, 3), Standardise(MEAN, STD)
    assert torch.equal(standardise(stored), standardise(stored, torch.ones(2, 4, 4, dtype=torch.bool)))


def test_one_channel_is_the_first_of_those_stored() -> None:
    stored, standardise = pixels(2, 4, 4, 3), Standardise(MEAN[:1], STD[:1])
    assert standardise(stored).shape == (2, 1, 4, 4)
    assert torch.equal(standardise(stored), standardise(stored[..., :1]))
    assert torch.equal(standardise(stored), Standardise(MEAN, STD)(stored)[:, :1])


def test_leaves_the_stored_pixels_alone() -> None:
    stored = pixels(1, 4, 4, 3)
    before = stored.clone()
    Standardise(MEAN, STD)(stored, contrast_B=torch.tensor([0.5]))
    assert torch.equal(stored, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("colour_dtype", [torch.float32, torch.float64])
def test_its_dtype_is_the_modules(dtype: torch.dtype, colour_dtype: torch.dtype) -> None:
    standardise = Standardise(MEAN, STD).to(dtype)
    contrast = torch.ones(1, dtype=colour_dtype)
    assert standardise(pixels(1, 4, 4, 3), contrast_B=contrast, brightness_B=contrast).dtype == dtype


def test_its_constants_travel_with_the_weights() -> None:
    other = Standardise((0.0,) * 3, (1.0,) * 3)
    other.load_state_dict(Standardise(MEAN, STD).state_dict())
    assert torch.equal(other(pixels(1, 2, 2, 3)), Standardise(MEAN, STD)(pixels(1, 2, 2, 3)))
    assert not list(other.parameters())


def test_refuses_a_mask_of_another_shape() -> None:
    with pytest.raises(TypeError):
        Standardise(MEAN, STD)(pixels(1, 2, 4, 4, 3), torch.ones(1, 4, 4, dtype=torch.bool))


@pytest.mark.parametrize("stain", range(3))
def test_a_stains_factor_changes_the_density_of_that_stain_alone(stain: int) -> None:
    """A pixel of one pure stain: its density in each colour is multiplied when that stain's is, and else it stays."""
    density_3 = 0.7 * torch.tensor(STAINS[stain])
    factors_B3 = torch.full((3, 3), 1.0).fill_diagonal_(1.3)
    changed_BHW3 = restain(torch.exp(-density_3).expand(3, 2, 2, 3), factors_B3)
    expected_B3 = torch.where(torch.arange(3)[:, None] == stain, 1.3, 1.0) * density_3
    torch.testing.assert_close(-changed_BHW3.log(), expected_B3[:, None, None].expand(3, 2, 2, 3), atol=1e-5, rtol=0)


def test_stains_of_the_same_density_leave_8_bit_pixels_as_they_are_above_black() -> None:
    stored = pixels(2, 3, 4, 4, 3).clamp_min(1)
    standardise = Standardise(MEAN, STD)
    torch.testing.assert_close(standardise(stored, stain_B3=torch.ones(2, 3)), standardise(stored), atol=1e-4, rtol=0)


def test_stains_are_changed_in_full_precision_under_autocast() -> None:
    """Views are standardised under it, their patches are not: they must not differ."""
    stored = torch.randint(256, (2, 5, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    standardise, factors_B3 = Standardise((0.5,) * 3, (0.25,) * 3), torch.tensor([[0.6, 1.4, 1.0], [1.0, 1.0, 1.2]])
    expected = standardise(stored, stain_B3=factors_B3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(standardise(stored, stain_B3=factors_B3), expected)
