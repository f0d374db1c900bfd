"""Cells, pixels and patches, against plain formulas, plain loops and the networks' own receptive fields."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from ats_core.attention import DenseAttention, PooledAttention
from ats_core.errors import GeometryError
from ats_core.geometry import CellGrid, crop, extract_patches, holds_a_box, strip, valid_convolution_grid

examples = settings(deadline=None, derandomize=True, max_examples=60)
image_sides = st.integers(1, 100_000)


@st.composite
def grids(draw: st.DrawFn) -> CellGrid:
    lost, pool = draw(st.integers(0, 12)), draw(st.integers(1, 9))
    rows, columns = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    rest_y, rest_x = draw(st.tuples(st.integers(0, pool - 1), st.integers(0, pool - 1)))
    return valid_convolution_grid((lost + rows * pool + rest_y, lost + columns * pool + rest_x), lost, pool)


def all_positions(grid: CellGrid, image_size: tuple[int, int]) -> Tensor:
    return grid.positions(torch.arange(grid.n_cells)[None], torch.tensor([image_size]))[0]


def all_centres(grid: CellGrid, image_size: tuple[int, int], patch_size: int) -> Tensor:
    return grid.centres(torch.arange(grid.n_cells)[None], torch.tensor([image_size]), patch_size)[0]


def plain_position(grid: CellGrid, cell: int, axis: int, image_side: int) -> Fraction:
    """The centre of a cell along one axis, in exact arithmetic."""
    index = divmod(cell, grid.size[1])[axis]
    in_view = Fraction(grid.margin) + (index + Fraction(1, 2)) * Fraction(grid.stride)
    return in_view * image_side / grid.view_size[axis]


class TestPositions:
    @examples
    @given(grids(), image_sides, image_sides)
    def test_are_the_plain_formula(self, grid: CellGrid, height: int, width: int) -> None:
        positions = all_positions(grid, (height, width)).tolist()
        for cell, position in enumerate(positions):
            expected = [float(plain_position(grid, cell, axis, (height, width)[axis])) for axis in (0, 1)]
            assert position == pytest.approx(expected, rel=1e-12)

    def test_of_a_grid_without_margin_are_cell_middles(self) -> None:
        positions = all_positions(CellGrid((3, 2), (3, 2)), (300, 100))
        assert positions.tolist() == [[50, 25], [50, 75], [150, 25], [150, 75], [250, 25], [250, 75]]

    @examples
    @given(grids(), image_sides, image_sides)
    def test_are_symmetric_about_the_middle_of_the_image(self, grid: CellGrid, height: int, width: int) -> None:
        covered = [int(2 * grid.margin + n * grid.stride) for n in grid.size]
        whole = CellGrid((covered[0], covered[1]), grid.size, grid.stride, grid.margin)  # nothing floored away
        positions = all_positions(whole, (height, width))
        mirrored = torch.tensor([height, width]) - positions.flip(0)
        torch.testing.assert_close(positions, mirrored, rtol=1e-12, atol=1e-9)

    @examples
    @given(grids(), image_sides, image_sides, image_sides)
    def test_have_a_scale_of_their_own_on_each_axis(self, grid: CellGrid, height: int, width: int, other: int) -> None:
        one, two = all_positions(grid, (height, width)), all_positions(grid, (height, other))
        assert torch.equal(one[:, 0], two[:, 0])
        torch.testing.assert_close(one[:, 1] / width, two[:, 1] / other, rtol=1e-12, atol=0)

    def test_of_a_batch_use_the_size_of_each_image(self) -> None:
        grid, sizes = CellGrid((4, 5), (4, 5)), [(40, 50), (80, 50), (7, 1000)]
        cells = torch.tensor([[0, 19, 7], [3, 3, 3], [19, 0, 11]])
        batch = grid.positions(cells, torch.tensor(sizes))
        for positions, drawn, size in zip(batch, cells, sizes, strict=True):
            assert torch.equal(positions, all_positions(grid, size)[drawn])


class TestCentres:
    @examples
    @given(grids(), image_sides, st.integers(1, 200))
    def test_put_the_patch_at_the_nearest_pixel(self, grid: CellGrid, side: int, patch_size: int) -> None:
        centres = all_centres(grid, (side, side), patch_size).tolist()
        for cell, centre in enumerate(centres):
            for axis in (0, 1):
                start = centre[axis] - patch_size // 2
                middle = plain_position(grid, cell, axis, side)
                assert abs(start + Fraction(patch_size, 2) - middle) <= 0.5 + 1e-9 * side

    @examples
    @given(grids(), st.integers(20, 3000))
    def test_leave_no_hole_between_patches_of_a_cell_and_a_pixel(self, grid: CellGrid, side: int) -> None:
        patch_size = math.ceil(grid.stride * side / min(grid.view_size)) + 1
        rows = all_centres(grid, (side, side), patch_size)[:: grid.size[1], 0]
        columns = all_centres(grid, (side, side), patch_size)[: grid.size[1], 1]
        assert rows.diff().le(patch_size).all()
        assert columns.diff().le(patch_size).all()

    @pytest.mark.parametrize(("patch_size", "start"), [(4, 8), (5, 8), (1, 10), (2, 9)])
    def test_round_half_up(self, patch_size: int, start: int) -> None:
        centre = all_centres(CellGrid((1, 1), (1, 1)), (20, 20), patch_size)[0, 0]  # at 10.0
        assert centre - patch_size // 2 == start


class TestValidConvolutionGrid:
    @pytest.mark.parametrize(("view_size", "size"), [((288, 384), (35, 47)), ((16, 16), (1, 1)), ((23, 24), (1, 2))])
    def test_has_the_cells_that_fit(self, view_size: tuple[int, int], size: tuple[int, int]) -> None:
        assert valid_convolution_grid(view_size, lost=8, pool=8) == CellGrid(view_size, size, stride=8.0, margin=4.0)

    @pytest.mark.parametrize("view_size", [(15, 400), (400, 15), (4, 4)])
    def test_refuses_a_view_that_leaves_no_cell(self, view_size: tuple[int, int]) -> None:
        with pytest.raises(GeometryError, match="Use a view of at least 16 x 16"):
            valid_convolution_grid(view_size, lost=8, pool=8)


def receptive_field(layers: nn.Module, pool: int, view_size: tuple[int, int], cell: int) -> Tensor:
    """Rows and columns of all view pixels that a cell's logit depends on, by autograd."""
    for parameter in layers.parameters():
        nn.init.constant_(parameter, 0.01)  # positive and small: no ReLU cuts the field short, no tanh saturates
    view = torch.zeros(1, 3, *view_size, requires_grad=True)
    logits = functional.avg_pool2d(layers(view), pool).flatten()  # a mean where the network has a max: all its pixels
    (gradient,) = torch.autograd.grad(logits[cell], view)
    return gradient[0, 0].nonzero()


class TestReceptiveField:
    """The centre of what a cell sees is where the grid says that the cell lies."""

    @pytest.mark.parametrize("view_size", [(40, 56), (45, 63)])  # exact, and with five and seven pixels floored away
    def test_of_pooled_attention(self, view_size: tuple[int, int]) -> None:
        network = PooledAttention()
        grid = network.grid(view_size)
        positions = all_positions(grid, view_size)
        for cell in range(grid.n_cells):
            field = receptive_field(network.layers, network.POOL, view_size, cell)
            pixel_middles = field.double().mean(0) + 0.5
            assert torch.equal(pixel_middles, positions[cell])

    def test_of_dense_attention(self) -> None:
        network, view_size = DenseAttention(channels=3), (9, 11)
        grid = network.grid(view_size)
        for row, column in [(3, 3), (5, 7), (4, 4)]:  # zero padding cuts the field of cells nearer to the border
            cell = row * grid.size[1] + column
            field = receptive_field(network.layers, 1, view_size, cell)
            assert torch.equal(field.double().mean(0) + 0.5, all_positions(grid, view_size)[cell])


class SpotDetector(PooledAttention):
    """Pooled attention whose convolutions pass the view on unchanged: a cell answers with its brightest pixel."""

    def __init__(self) -> None:
        super().__init__(channels=1)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.zeros_(layer.bias)
                nn.init.zeros_(layer.weight)
                layer.weight.data[0, 0, 1, 1] = 1


class TestSpot:
    """A bright spot in the full image lies in the patch of the cell that answers to it in the view."""

    scale, view_size = 3, (48, 64)

    def respond(self, y: int, x: int) -> tuple[CellGrid, Tensor, Tensor]:
        height, width = self.view_size[0] * self.scale, self.view_size[1] * self.scale
        image = torch.zeros(1, 1, height, width)
        image[..., y, x] = 1
        network = SpotDetector()
        logits = network(functional.avg_pool2d(image, self.scale))[0]
        return network.grid(self.view_size), logits, image

    @examples
    @example(12, 12)
    @example(12, 64 * 3 - 13)
    @example(48 * 3 - 13, 12)
    @example(48 * 3 - 13, 64 * 3 - 13)
    @given(st.integers(12, 48 * 3 - 13), st.integers(12, 64 * 3 - 13))
    def test_anywhere_in_what_the_cells_see(self, y: int, x: int) -> None:
        grid, logits, image = self.respond(y, x)
        assert (logits > 0).sum() == 1
        cell = logits.argmax()[None, None]
        patch_size = int(grid.stride) * self.scale  # patches that tile what the cells see, so any shift is seen
        centres = grid.centres(cell, torch.tensor([image.shape[2:]]), patch_size)
        patches, inside = extract_patches(image, centres, patch_size)
        assert patches.sum() == 1
        assert inside.all()

    def test_at_the_papers_sizes(self) -> None:
        """960 x 1280 seen at 288 x 384: the scale is 10/3, and a spot may fall on four view pixels."""
        spots = torch.tensor([[14, 14], [14, 1265], [945, 14], [945, 1265], [500, 640], [333, 777]])
        images = torch.zeros(len(spots), 1, 960, 1280)
        images[torch.arange(len(spots)), 0, spots[:, 0], spots[:, 1]] = 1
        network = SpotDetector()
        logits = network(functional.adaptive_avg_pool2d(images, (288, 384)))
        cells, sizes = logits.argmax(1, keepdim=True), torch.tensor([[960, 1280]]).expand(len(spots), 2)
        positions = network.grid((288, 384)).positions(cells, sizes)[:, 0]
        furthest = (network.POOL / 2 + 1) * 10 / 3  # half a cell, and a view pixel that the spot shares
        assert ((positions - (spots + 0.5)).abs() <= furthest).all()

    @pytest.mark.parametrize(("y", "x"), [(11, 50), (50, 11), (48 * 3 - 12, 50), (50, 64 * 3 - 12)])
    def test_in_the_margin_is_seen_by_no_centre(self, y: int, x: int) -> None:
        assert self.respond(y, x)[1].eq(0).all()


def plain_windows(image: Tensor, starts: list[list[int]], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Windows of one image [C, H, W], a pixel at a time."""
    channels, height, width = image.shape
    windows = torch.zeros(len(starts), channels, *size, dtype=image.dtype)
    inside = torch.zeros(len(starts), *size, dtype=torch.bool)
    for n, i, j in product(range(len(starts)), range(size[0]), range(size[1])):
        y, x = starts[n][0] + i, starts[n][1] + j
        if 0 <= y < height and 0 <= x < width:
            windows[n, :, i, j], inside[n, i, j] = image[:, y, x], True
    return windows, inside


def numbered(dtype: torch.dtype, *shape: int) -> Tensor:
    """An image batch with no zero and, in small images, no two equal pixels."""
    return (torch.arange(math.prod(shape)) % 255 + 1).view(shape).to(dtype)


@examples
@given(st.data())
def test_a_strip_has_the_windows_side_by_side(data: st.DataObject) -> None:
    side, n = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    height, width = data.draw(st.tuples(st.integers(side, 7), st.integers(side, 7)))
    start = st.tuples(st.integers(0, height - side), st.integers(0, width - side))
    starts = torch.tensor([data.draw(st.lists(start, min_size=n, max_size=n)) for _ in range(2)])
    images = numbered(torch.uint8, 2, 3, height, width)
    found = strip(images, starts, side)
    assert found.shape == (2, 3, side, n * side)
    windows, _ = crop(images, starts, (side, side))
    assert torch.equal(found, torch.cat(windows.unbind(1), dim=3))


class TestExtractPatches:
    @examples
    @given(st.data())
    def test_is_the_plain_loop(self, data: st.DataObject) -> None:
        height, width = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
        patch_size = data.draw(st.integers(1, 9))
        axis = st.integers(-6, 12)  # inside, across every border, and wholly outside
        n = data.draw(st.integers(1, 3))
        centres = torch.tensor([data.draw(st.lists(st.tuples(axis, axis), min_size=n, max_size=n)) for _ in range(2)])
        images = numbered(torch.uint8, 2, 3, height, width)
        patches, inside = extract_patches(images, centres, patch_size)
        for b in range(2):
            starts = (centres[b] - patch_size // 2).tolist()
            expected, expected_inside = plain_windows(images[b], starts, (patch_size, patch_size))
            assert torch.equal(patches[b], expected)
            assert torch.equal(inside[b], expected_inside)

    @pytest.mark.parametrize(
        "dtype", [torch.uint8, torch.uint16, torch.int32, torch.float16, torch.float32, torch.bool]
    )
    def test_keeps_the_dtype(self, dtype: torch.dtype) -> None:
        patches, inside = extract_patches(numbered(dtype, 1, 2, 4, 4), torch.tensor([[[0, 0]]]), 3)
        assert patches.dtype == dtype
        assert torch.equal(patches[0, 0] != 0, inside[0].expand(2, -1, -1))

    @pytest.mark.parametrize(
        "strided",
        [
            lambda x: x.contiguous(memory_format=torch.channels_last),
            lambda x: x.flip(-1).flip(-1),
            lambda x: functional.pad(x, (3, 2, 1, 4))[..., 1:-4, 3:-2],
            lambda x: x.repeat_interleave(2, dim=-1)[..., ::2],
            lambda x: x[:, :1].expand(-1, 3, -1, -1),
        ],
        ids=["channels last", "flipped twice", "a window", "every second column", "expanded"],
    )
    def test_takes_any_strides(self, strided: Callable[[Tensor], Tensor]) -> None:
        images, centres = strided(numbered(torch.float32, 2, 3, 5, 6)), torch.tensor([[[0, 5], [2, 2]]] * 2)
        patches, inside = extract_patches(images, centres, 4)
        same, same_inside = extract_patches(images.contiguous(), centres, 4)
        assert torch.equal(patches, same)
        assert torch.equal(inside, same_inside)

    def test_windows_need_not_be_square(self) -> None:
        images, starts = numbered(torch.uint8, 1, 2, 5, 6), [[-1, 3], [4, -2]]
        windows, inside = crop(images, torch.tensor([starts]), (2, 5))
        expected, expected_inside = plain_windows(images[0], starts, (2, 5))
        assert torch.equal(windows[0], expected)
        assert torch.equal(inside[0], expected_inside)


class TestHoldsABox:
    @examples
    @given(st.data())
    def test_is_the_plain_rule(self, data: st.DataObject) -> None:
        axis, patch_size = st.integers(-5, 15), data.draw(st.integers(1, 8))
        centres = data.draw(st.lists(st.tuples(axis, axis), min_size=1, max_size=4))
        boxes = data.draw(st.lists(st.tuples(axis, axis, axis, axis), max_size=3))
        holds = holds_a_box(torch.tensor(centres), patch_size, torch.tensor(boxes, dtype=torch.float32).view(-1, 4))
        for (y, x), held in zip(centres, holds.tolist(), strict=True):
            top, left = y - patch_size // 2, x - patch_size // 2
            middles = [((y0 + y1) / 2, (x0 + x1) / 2) for y0, x0, y1, x1 in boxes]
            assert held == any(top <= v < top + patch_size and left <= h < left + patch_size for v, h in middles)

    @pytest.mark.parametrize("patch_size", [4, 5])
    def test_holds_its_first_edge_and_not_its_last(self, patch_size: int) -> None:
        start = 10 - patch_size // 2
        middles = torch.tensor([start - 0.5, start, start + patch_size - 0.5, start + patch_size])
        for axis in (0, 1):
            for middle, held in zip(middles, (False, True, True, False), strict=True):
                point = torch.full((2,), 10.0)
                point[axis] = middle
                box = torch.cat((point - 1, point + 1))[None]
                assert holds_a_box(torch.tensor([[10, 10]]), patch_size, box).item() == held
