"""Geometry is augmented on the view and the centres alone: what is read must be what the frame shows."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from ats_core.errors import GeometryError
from ats_core.geometry import extract_patches
from ats_core.recipes import Augmentation
from pipelines.training.augment import Frame

SIDE = 24


def frame_of(augmentation: Augmentation, n: int, seed: int) -> Frame:
    sizes_B2 = torch.full((n, 2), SIDE)
    return Frame.draw(augmentation, sizes_B2, (SIDE, SIDE), Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.integers(0, 10), flip=st.booleans(), patch_size=st.integers(1, 9))
def test_patches_read_from_the_image_are_those_of_the_augmented_image(
    seed: int, shift: int, flip: bool, patch_size: int
) -> None:
    """Cutting from the augmented image, and from the image at mapped centres, agrees pixel by pixel."""
    generator = Generator().manual_seed(seed)
    images_BCHW = torch.rand(4, 2, SIDE, SIDE, generator=generator) + 1
    sizes_B2 = torch.full((4, 2), SIDE)
    frame = frame_of(Augmentation(shift=shift, flip=flip), 4, seed)
    centres_BN2 = torch.randint(-2, SIDE + 2, (4, 5, 2), generator=generator)

    expected, _ = extract_patches(frame.views(images_BCHW), centres_BN2, patch_size)
    in_image_BN2 = frame.centres(centres_BN2, sizes_B2, (SIDE, SIDE), patch_size)
    read, inside = extract_patches(images_BCHW, in_image_BN2, patch_size)
    read, inside = frame.patches(read.movedim(2, -1), inside)
    read = read.movedim(-1, 2)

    shown = expected != 0  # the frame ends where the image was shifted out of it; the patch may go on
    assert torch.equal(read[shown], expected[shown])
    assert torch.equal((read != 0).all(2), inside)


def test_every_frame_of_the_square_is_drawn() -> None:
    frame = frame_of(Augmentation(flip=True), 400, 0)
    assert len({tuple(mirrors) for mirrors in frame.mirror_B3.tolist()}) == 8


def test_view_and_centres_shift_alike_when_the_view_is_smaller() -> None:
    """A shift is a whole number of view pixels, so that the patches follow to within half an image pixel."""
    sizes_B2, view_size = torch.tensor([[960, 1280]] * 64), (288, 384)
    frame = Frame.draw(Augmentation(shift=100), sizes_B2, view_size, Generator().manual_seed(0))
    centres_B12 = torch.zeros(64, 1, 2, dtype=torch.long)
    moved_B2 = -frame.centres(centres_B12, sizes_B2, view_size, 100)[:, 0]
    exact_B2 = frame.shift_B2 * torch.tensor([960 / 288, 1280 / 384])
    assert (moved_B2 - exact_B2).abs().max() <= 0.5
    assert moved_B2.abs().max() <= 102
    assert 0 < (moved_B2 == 0).all(1).float().mean() < 0.5  # some images stay where they are


def test_without_augmentation_nothing_changes() -> None:
    frame = frame_of(Augmentation(), 3, 0)
    views = torch.rand(3, 3, SIDE, SIDE)
    centres = torch.randint(0, SIDE, (3, 4, 2))
    assert torch.equal(frame.views(views), views)
    assert torch.equal(frame.centres(centres, torch.full((3, 2), SIDE), (SIDE, SIDE), 5), centres)
    assert (frame.contrast_B == 1).all()
    assert (frame.brightness_B == 0).all()


def test_colours_stay_within_their_bounds() -> None:
    frame = frame_of(Augmentation(contrast=0.2, brightness=0.1, probability=0.8), 1000, 0)
    assert 0.8 <= frame.contrast_B.min() < 0.85
    assert 1.15 < frame.contrast_B.max() <= 1.2
    assert frame.brightness_B.abs().max() <= 0.1
    assert (frame.contrast_B == 1).float().mean() == pytest.approx(0.2, abs=0.05)


def test_stains_change_where_asked_and_leave_all_else_of_a_frame_as_it_was() -> None:
    colours = Augmentation(flip=True, contrast=0.2, brightness=0.1, probability=0.8)
    plain, stained = frame_of(colours, 1000, 0), frame_of(replace(colours, stain=0.3), 1000, 0)
    assert plain.stain_B3 is None
    assert stained.stain_B3 is not None
    assert torch.equal(plain.mirror_B3, stained.mirror_B3)
    assert torch.equal(plain.contrast_B, stained.contrast_B)
    assert 0.7 <= stained.stain_B3.min() < 0.71
    assert 1.29 < stained.stain_B3.max() <= 1.3
    assert (stained.stain_B3 == 1).all(1).float().mean() == pytest.approx(0.2, abs=0.05)


def test_mirroring_along_the_diagonal_needs_squares() -> None:
    with pytest.raises(GeometryError, match="square"):
        Frame.draw(Augmentation(flip=True), torch.tensor([[10, 20]]), (5, 5), Generator())
