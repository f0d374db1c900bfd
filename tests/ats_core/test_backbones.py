"""The depth, the width and the sight of the residual networks."""

import pytest
import torch
from torch import nn

from ats_core.backbones import BACKBONES, Backbone, Halving, PreActivationBlock
from ats_core.features import ResNet8

PAPER = {  # layers with weights on the way through, the classifier's included; widths of the convolutions; sight
    "resnet8": (8, [32] * 7, 45),
    "resnet16": (16, [32] * 5 + [64] * 4 + [128] * 4 + [256] * 2, 765),
}


@pytest.fixture(params=BACKBONES)
def name(request: pytest.FixtureRequest) -> str:
    torch.manual_seed(0)
    return request.param


def convolutions(backbone: nn.Module) -> list[nn.Conv2d]:
    """Those on the way through: shortcuts are not counted (He et al. 2016)."""
    return [m for n, m in backbone.named_modules() if isinstance(m, nn.Conv2d) and not n.endswith("shortcut")]


def test_has_the_papers_layers_and_widths(name: str) -> None:
    n_layers, widths, _ = PAPER[name]
    backbone = BACKBONES[name](channels=3)
    assert isinstance(backbone, Backbone)
    assert len(convolutions(backbone)) + 1 == n_layers
    assert [conv.out_channels for conv in convolutions(backbone)] == widths
    assert all(conv.kernel_size == (3, 3) for conv in convolutions(backbone))
    assert backbone.n_features == widths[-1]


def test_the_size_halves_with_every_block(name: str) -> None:
    backbone, sizes = BACKBONES[name](channels=1), []
    for block in backbone.blocks:
        block.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[2:])))
    backbone.eval()(torch.zeros(1, 1, 640, 256))
    assert sizes == [(640 >> i, 256 >> i) for i in range(1, len(sizes) + 1)]


def test_one_place_sees_what_the_layers_reach(name: str) -> None:
    """3 of the stem, then 2 j and 4 j more a block, at j pixels from one place to the next."""
    *_, sight = PAPER[name]
    backbone = BACKBONES[name](channels=1).double().eval()
    image = torch.randn(1, 1, 2048, 8).double().requires_grad_()
    middle = backbone.blocks(backbone.stem(image))
    middle[:, :, middle.shape[2] // 2].sum().backward()
    rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == sight


@pytest.mark.parametrize("size", [(1, 1), (7, 30), (100, 100)])
def test_takes_any_size(name: str, size: tuple[int, int]) -> None:
    backbone = BACKBONES[name](channels=3).eval()
    assert backbone(torch.randn(2, 3, *size)).shape == (2, backbone.n_features)


@pytest.mark.parametrize("size", [(1, 1), (5, 1), (1, 5), (2, 2)])
def test_halving_has_its_gradient_in_bfloat16_where_no_pixel_is_left_to_skip(size: tuple[int, int]) -> None:
    """Ten times, since what unwritten memory holds is a matter of chance: other tensors were there before."""
    layer, errors = Halving(64, 64), []
    for _ in range(10):
        images = torch.randn(8, 64, *size)
        gradients = []
        for dtype in (torch.float32, torch.bfloat16):
            torch.full((10**6,), torch.nan)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
                output = layer(images)
            gradients += torch.autograd.grad(output.float().square().sum(), layer.weight)
        errors.append((gradients[1] - gradients[0]).norm() / gradients[0].norm())
    assert max(errors) < 0.02


def test_the_features_of_patches_are_those_of_the_backbone_at_length_one() -> None:
    network, patches = ResNet8(3).eval(), torch.randn(2, 3, 20, 20)
    backbone = BACKBONES["resnet8"](3).eval()
    backbone.load_state_dict(network.state_dict())
    torch.testing.assert_close(network(patches), nn.functional.normalize(backbone(patches), dim=-1))


def test_a_block_adds_what_it_learns_to_a_projection() -> None:
    block = PreActivationBlock(4, 6).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(block(x), block.shortcut(block.norm1(x).relu()))
