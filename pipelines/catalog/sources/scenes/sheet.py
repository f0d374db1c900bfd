"""A transparent sheet to draw a sign on, once and large: shapes in coordinates of -1..1, x right, y down."""

from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SPRITE = 512
YELLOW, RED, BLUE, WHITE, BLACK, GREEN = "#f6c81c", "#c8141e", "#1c50a8", "#f4f4f0", "#141414", "#1d7a4a"

Points = list[tuple[float, float]]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # the file in matplotlib's own data: its font manager would scan the whole system for fonts first
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf", size)


class Sheet:
    """A transparent drawing sheet, 2 * `aspect` units wide and 2 high."""

    def __init__(self, aspect: float = 1.0) -> None:
        self.aspect = aspect
        self.image = Image.new("RGBA", (round(SPRITE * aspect), SPRITE))
        self._draw = ImageDraw.Draw(self.image)

    def _px(self, x: float, y: float) -> tuple[float, float]:
        return (x + self.aspect) * SPRITE / 2, (y + 1) * SPRITE / 2

    def disc(self, radius: float, colour: str, x: float = 0.0, y: float = 0.0) -> None:
        """A disc around (x, y)."""
        self._draw.ellipse((*self._px(x - radius, y - radius), *self._px(x + radius, y + radius)), fill=colour)

    def shape(self, points: Points, colour: str) -> None:
        """A polygon."""
        self._draw.polygon([self._px(x, y) for x, y in points], fill=colour)

    def bar(self, points: Points, width: float, colour: str) -> None:
        """A line through the points, `width` units wide."""
        self._draw.line([self._px(x, y) for x, y in points], fill=colour, width=round(width * SPRITE / 2))

    def text(self, text: str, width: float, height: float, colour: str, x: float = 0.0, y: float = 0.0) -> None:
        """`text` stretched to exactly `width` x `height` units around (x, y)."""
        font = _font(SPRITE)
        left, top, right, bottom = (round(v) for v in font.getbbox(text))
        glyphs = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(glyphs).text((-left, -top), text, fill=255, font=font)
        glyphs = glyphs.resize((round(width * SPRITE / 2), round(height * SPRITE / 2)))
        corner = self._px(x - width / 2, y - height / 2)
        self.image.paste(colour, (round(corner[0]), round(corner[1])), glyphs)


def ngon(n: int, radius: float, first_degrees: float) -> Points:
    """Corners of a regular polygon, the first so many degrees from the top, clockwise."""
    angles = np.radians(first_degrees) + 2 * np.pi * np.arange(n) / n
    return [(radius * float(np.sin(a)), -radius * float(np.cos(a))) for a in angles]
