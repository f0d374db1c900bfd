"""Samples as a file stores them -> uint8 RGB: one policy for all formats, stated in `images.py`.

What Pillow knows how to convert, Pillow converts, so that a tile and a whole image give the same pixels.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6  # PhotometricInterpretation of TIFF
ASSOCIATED, UNASSOCIATED = 1, 2  # ExtraSamples of TIFF: alpha that the colours are multiplied by, and alpha beside them
MAX_EXTRA = 3  # samples beside the colours; without a meaning beside grey 1: several are channels

_COLOURS = {MIN_IS_WHITE: 1, MIN_IS_BLACK: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}  # how many samples are colours
_SCALE = {1: 255, 2: 85, 4: 17, 8: 1}  # by the bits of a sample


@dataclass(frozen=True, slots=True, eq=False)
class ColourSpace:
    """What the samples of a pixel mean."""

    photometric: int
    samples: int
    """A pixel, alpha and unused ones included."""
    bits: int
    """Of a sample."""
    extra: tuple[int, ...] = ()
    """What the samples after the colours are."""
    palette: np.ndarray | None = None
    """uint16 [3, entries]."""

    @property
    def alpha(self) -> int:
        """ASSOCIATED, UNASSOCIATED, or 0 where the sample after the colours is no alpha."""
        n_extra = self.samples - _COLOURS[self.photometric]
        if n_extra < 1:
            return 0
        if not self.extra:  # a fourth sample beside RGB that nothing is said of
            return UNASSOCIATED if self.photometric == RGB and n_extra == 1 else 0
        return self.extra[0] if self.extra[0] in (ASSOCIATED, UNASSOCIATED) else 0

    def refusal(self) -> str:
        """Why these samples have no uint8 RGB meaning; empty where they have."""
        if self.photometric not in _COLOURS:
            return f"photometric interpretation {self.photometric}"
        if self.bits not in (*_SCALE, 16) or (
            self.photometric == PALETTE and (self.bits == 16 or self.palette is None)
        ):
            return f"samples of {self.bits} bits" + " in a palette" * (self.photometric == PALETTE)
        n_extra = self.samples - _COLOURS[self.photometric]
        n_bearable = 1 if _COLOURS[self.photometric] == 1 and not self.alpha else MAX_EXTRA
        if not 0 <= n_extra <= n_bearable:
            return f"{self.samples} samples a pixel of photometric interpretation {self.photometric}"
        return ""


def to_rgb(samples: np.ndarray, space: ColourSpace) -> np.ndarray:
    """Samples [H, W, S] of bool, uint8 or uint16 as uint8 [H, W, 3]."""
    n_colours = _COLOURS[space.photometric]
    values = (samples >> 8 if space.bits == 16 else samples).astype(np.uint8, copy=False)
    if space.bits < 8 and space.photometric != PALETTE:
        values = values * np.uint8(_SCALE[space.bits])
    rgb = _colours(values[..., :n_colours], space)
    if not space.alpha:
        return rgb
    rgba = np.concatenate([rgb, values[..., n_colours : n_colours + 1]], axis=2)
    return flatten(_image("RGBA", rgba, "RGBa" if space.alpha == ASSOCIATED else "RGBA"))


def _colours(values: np.ndarray, space: ColourSpace) -> np.ndarray:
    match space.photometric:
        case 0:
            return np.repeat(255 - values, 3, axis=2)
        case 1:
            return np.broadcast_to(values, (*values.shape[:2], 3))  # copied only where a window needs it
        case 3:
            assert space.palette is not None
            return (space.palette >> 8).astype(np.uint8).T[values[..., 0]]
        case 5:
            return flatten(_image("CMYK", values))
        case 6:
            return ycbcr_to_rgb(values)
        case _:
            return values


def ycbcr_to_rgb(values: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] to the same, by the full range of JPEG."""
    return flatten(_image("YCbCr", values))


def _image(mode: str, values: np.ndarray, raw_mode: str = "") -> Image.Image:
    return Image.frombytes(mode, values.shape[1::-1], values.tobytes(), "raw", raw_mode or mode)


def flatten(image: Image.Image) -> np.ndarray:
    """The uint8 RGB [H, W, 3] of a Pillow image of any 8-bit mode, what is transparent composited on white."""
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image.convert("RGB"))
