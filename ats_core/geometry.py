"""Cells, pixels and patches: the only place that converts coordinates.

Shape suffixes: B images, K cells, N drawn cells, C channels, H and W pixels, P patch side. Coordinates are (y, x),
in level-0 pixels of the full image unless a name says `view`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from ats_core.errors import GeometryError


@dataclass(frozen=True, slots=True)
class CellGrid:
    """Where the cells of an attention map lie in the view, and so in the image."""

    view_size: tuple[int, int]
    """Height and width of the view, in view pixels."""
    size: tuple[int, int]
    """Rows and columns of cells; cell k is row k // columns, column k % columns."""
    stride: float = 1.0
    """View pixels from one cell to the next (the pooling of the attention network)."""
    margin: float = 0.0
    """View pixels that valid convolutions lose at each side: half of (receptive field - 1)."""

    @property
    def n_cells(self) -> int:
        """K, the number of cells."""
        return self.size[0] * self.size[1]

    def positions(self, cells_BN: Int[Tensor, "B N"], image_sizes_B2: Int[Tensor, "B 2"]) -> Float[Tensor, "B N 2"]:
        """Centres of cells as real (y, x) in image pixels: (margin + (i + 1/2) stride) H / h on each axis.

        The scale is per axis and from the sizes alone, so a view that does not keep the aspect ratio is exact too.
        """
        rows_columns_BN2 = torch.stack((cells_BN // self.size[1], cells_BN % self.size[1]), dim=-1)
        view_BN2 = self.margin + (rows_columns_BN2.double() + 0.5) * self.stride
        scale_B2 = image_sizes_B2.double() / view_BN2.new_tensor(self.view_size)
        return view_BN2 * scale_B2[:, None]

    def centres(
        self, cells_BN: Int[Tensor, "B N"], image_sizes_B2: Int[Tensor, "B 2"], patch_size: int
    ) -> Int[Tensor, "B N 2"]:
        """Integer centres of the patches of cells: the patch starts at round(position - P / 2).

        The patch of an integer centre c covers the pixels c - P // 2 ... c - P // 2 + P - 1, for odd and even P.
        """
        positions_BN2 = self.positions(cells_BN, image_sizes_B2)
        return torch.floor(positions_BN2 - patch_size / 2 + 0.5).long() + patch_size // 2

    def extent(self, image_size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Top, left, bottom and right of all cells together, in pixels of an image of (height, width)."""
        (top, bottom), (left, right) = (
            (self.margin * image / view, (self.margin + cells * self.stride) * image / view)
            for image, view, cells in zip(image_size, self.view_size, self.size, strict=True)
        )
        return top, left, bottom, right


def valid_convolution_grid(view_size: tuple[int, int], lost: int, pool: int) -> CellGrid:
    """The grid left by valid convolutions that lose `lost` view pixels an axis, then a max pool of side `pool`.

    Spreading the cells over the whole view instead moves patches away from its centre, at the borders by almost
    `lost / 2` view pixels.
    """
    rows, columns = ((side - lost) // pool for side in view_size)
    if rows < 1 or columns < 1:
        raise GeometryError(
            f"view of {view_size[0]} x {view_size[1]}",
            f"valid convolutions lose {lost} pixels an axis and pooling takes {pool}: no cell is left",
            f"Use a view of at least {lost + pool} x {lost + pool}.",
        )
    return CellGrid(view_size, (rows, columns), stride=float(pool), margin=lost / 2)


def crop(
    images_BCHW: Shaped[Tensor, "B C H W"], starts_BN2: Int[Tensor, "B N 2"], size: tuple[int, int]
) -> tuple[Shaped[Tensor, "B N C h w"], Bool[Tensor, "B N h w"]]:
    """Windows of one size that start at integer (y, x), and which of their pixels lie inside of the image.

    One gather for all windows, on the device of the images, for any dtype and any strides. Pixels outside are zero.
    """
    height, width = images_BCHW.shape[2:]
    y_BNh = starts_BN2[..., 0, None] + torch.arange(size[0], device=images_BCHW.device)
    x_BNw = starts_BN2[..., 1, None] + torch.arange(size[1], device=images_BCHW.device)
    inside_BNhw = ((y_BNh >= 0) & (y_BNh < height))[..., :, None] & ((x_BNw >= 0) & (x_BNw < width))[..., None, :]
    batch = torch.arange(len(images_BCHW), device=images_BCHW.device)[:, None, None, None]
    rows, columns = y_BNh.clamp(0, height - 1)[..., :, None], x_BNw.clamp(0, width - 1)[..., None, :]
    windows_BNhwC = images_BCHW[batch, :, rows, columns]
    windows_BNhwC = torch.where(inside_BNhw[..., None], windows_BNhwC, windows_BNhwC.new_zeros(()))
    return windows_BNhwC.permute(0, 1, 4, 2, 3), inside_BNhw


def strip(
    images_BCHW: Shaped[Tensor, "B C H W"], starts_BN2: Int[Tensor, "B N 2"], side: int
) -> Shaped[Tensor, "B C S M"]:
    """Square windows side by side in one image of M = N S columns; that they lie inside is not checked."""
    y_BSN = starts_BN2[:, None, :, 0] + torch.arange(side, device=images_BCHW.device)[:, None]
    x_BSN = starts_BN2[:, None, :, 1].expand_as(y_BSN)
    batch = torch.arange(len(images_BCHW), device=images_BCHW.device)[:, None, None]
    runs_BHXSC = images_BCHW.unfold(3, side, 1).permute(0, 2, 3, 4, 1)  # a view: each pixel and those right of it
    return runs_BHXSC[batch, y_BSN, x_BSN].flatten(2, 3).permute(0, 3, 1, 2)


def extract_patches(
    images_BCHW: Shaped[Tensor, "B C H W"], centres_BN2: Int[Tensor, "B N 2"], patch_size: int
) -> tuple[Shaped[Tensor, "B N C P P"], Bool[Tensor, "B N P P"]]:
    """Patches of side `patch_size` around integer centres, and which of their pixels lie inside; see `crop`."""
    return crop(images_BCHW, centres_BN2 - patch_size // 2, (patch_size, patch_size))


def holds_a_box(centres_N2: Int[Tensor, "N 2"], patch_size: int, boxes_M4: Float[Tensor, "M 4"]) -> Bool[Tensor, " N"]:
    """For each patch, whether it contains the centre of at least one box (y0, x0, y1, x1)."""
    middles_M2 = (boxes_M4[:, :2] + boxes_M4[:, 2:]) / 2
    starts_N2 = centres_N2 - patch_size // 2
    from_start_NM2 = middles_M2[None] - starts_N2[:, None]
    return ((from_start_NM2 >= 0) & (from_start_NM2 < patch_size)).all(-1).any(-1)


def cells_on_a_box(
    grid: CellGrid, size_2: Int[Tensor, "2"], patch_size: int, boxes_M4: Float[Tensor, "M 4"]
) -> Bool[Tensor, " K"]:
    """For each cell of an image of that height and width, whether its patch holds a box as in `holds_a_box`."""
    centres_1K2 = grid.centres(torch.arange(grid.n_cells)[None], size_2[None], patch_size)
    return holds_a_box(centres_1K2[0], patch_size, boxes_M4)
