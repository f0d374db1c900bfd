"""Traffic signs, and things that only look like signs, as vector shapes with an alpha channel.

A sprite is drawn once at `SPRITE` pixels, its shapes in coordinates of -1..1 (x right, y down), and is then turned,
seen in perspective and reduced to the few pixels that a scene needs.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SPRITE = 512
YELLOW, RED, BLUE, WHITE, BLACK, GREEN = "#f6c81c", "#c8141e", "#1c50a8", "#f4f4f0", "#141414", "#1d7a4a"
N_LOGOS = 24

Points = list[tuple[float, float]]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # the file in matplotlib's own data: its font manager would scan the whole system for fonts first
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf", size)


class _Sheet:
    """A transparent drawing sheet, 2 * `aspect` units wide and 2 high."""

    def __init__(self, aspect: float = 1.0) -> None:
        self.aspect = aspect
        self.image = Image.new("RGBA", (round(SPRITE * aspect), SPRITE))
        self._draw = ImageDraw.Draw(self.image)

    def _px(self, x: float, y: float) -> tuple[float, float]:
        return (x + self.aspect) * SPRITE / 2, (y + 1) * SPRITE / 2

    def disc(self, radius: float, colour: str, x: float = 0.0, y: float = 0.0) -> None:
        self._draw.ellipse((*self._px(x - radius, y - radius), *self._px(x + radius, y + radius)), fill=colour)

    def shape(self, points: Points, colour: str) -> None:
        self._draw.polygon([self._px(x, y) for x, y in points], fill=colour)

    def bar(self, points: Points, width: float, colour: str) -> None:
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


def _ngon(n: int, radius: float, first_degrees: float) -> Points:
    angles = np.radians(first_degrees) + 2 * np.pi * np.arange(n) / n
    return [(radius * float(np.sin(a)), -radius * float(np.cos(a))) for a in angles]


def _speed(number: str) -> _Sheet:
    sheet = _Sheet()
    for radius, colour in ((1.0, YELLOW), (0.96, RED), (0.73, YELLOW)):
        sheet.disc(radius, colour)
    sheet.text(number, 1.16, 0.74 if len(number) == 2 else 0.6, BLACK)
    return sheet


def _no_parking(strokes: int) -> _Sheet:
    sheet = _Sheet()
    for radius, colour in ((1.0, YELLOW), (0.96, RED), (0.74, BLUE)):
        sheet.disc(radius, colour)
    for x in (0.6, -0.6)[:strokes]:
        sheet.bar([(-x, -0.6), (x, 0.6)], 0.2, RED)
    return sheet


def _no_entry() -> _Sheet:
    sheet = _Sheet()
    sheet.disc(1.0, YELLOW)
    sheet.disc(0.96, RED)
    sheet.shape([(-0.7, -0.18), (0.7, -0.18), (0.7, 0.18), (-0.7, 0.18)], YELLOW)
    return sheet


def _pass_side(side: int) -> _Sheet:
    sheet = _Sheet()
    sheet.disc(1.0, WHITE)
    sheet.disc(0.94, BLUE)
    sheet.bar([(-0.5 * side, -0.5), (0.3 * side, 0.3)], 0.24, WHITE)
    sheet.shape([(0.6 * side, 0.6), (0.6 * side, -0.1), (-0.1 * side, 0.6)], WHITE)
    return sheet


def _priority_road() -> _Sheet:
    sheet = _Sheet()
    sheet.shape(_ngon(4, 1.0, 0), WHITE)
    sheet.shape(_ngon(4, 0.74, 0), YELLOW)
    return sheet


def _triangle(first_degrees: float, text: str) -> _Sheet:
    sheet = _Sheet()
    sheet.shape(_ngon(3, 1.0, first_degrees), RED)
    sheet.shape(_ngon(3, 0.6, first_degrees), YELLOW)
    if text:
        sheet.text(text, 0.16, 0.55, BLACK)
    return sheet


def _stop() -> _Sheet:
    sheet = _Sheet()
    sheet.shape(_ngon(8, 1.0, 22.5), WHITE)
    sheet.shape(_ngon(8, 0.93, 22.5), RED)
    sheet.text("STOP", 1.4, 0.5, WHITE)
    return sheet


def _crossing() -> _Sheet:
    sheet = _Sheet()
    sheet.shape([(-1, -1), (1, -1), (1, 1), (-1, 1)], BLUE)
    sheet.shape(_ngon(3, 0.85, 0), WHITE)
    sheet.bar([(0.0, -0.3), (0.1, 0.05), (-0.2, 0.38)], 0.16, BLACK)
    sheet.disc(0.11, BLACK, 0, -0.4)
    return sheet


def _direction(colour: str) -> _Sheet:
    sheet = _Sheet(aspect=2.0)
    sheet.shape([(-2, -1), (2, -1), (2, 1), (-2, 1)], WHITE)
    sheet.shape([(-1.92, -0.92), (1.92, -0.92), (1.92, 0.92), (-1.92, 0.92)], colour)
    for row, (word, distance) in enumerate((("SKARA", "14"), ("GRENNA", "37"))):
        sheet.text(word, 2.0, 0.5, WHITE, -0.7, 0.8 * row - 0.4)
        sheet.text(distance, 0.7, 0.5, WHITE, 1.3, 0.8 * row - 0.4)
    return sheet


def _logo(variant: int) -> _Sheet:
    """A shop's round logo: rings and a letter, in the colours of speed signs as often as in others; never a number."""
    rng = np.random.default_rng(variant)
    sheet = _Sheet()
    warm = variant % 2 == 0
    colours = rng.permutation([YELLOW, RED, "#e8741a"] if warm else [WHITE, BLUE, GREEN, "#7a2a80", "#e0e0e0"])
    for radius, colour in zip((1.0, rng.uniform(0.6, 0.85)), colours, strict=False):
        sheet.disc(radius, str(colour))
    if rng.random() < 0.7:
        ink = BLACK if warm else WHITE
        sheet.text(str(rng.choice(["K", "M", "ICA", "A", "W", "XY", "&", "E"])), rng.uniform(0.6, 1.0), 0.7, ink)
    return sheet


def _traffic_light(lit: int) -> _Sheet:
    sheet = _Sheet(aspect=0.5)
    sheet.shape([(-0.42, -1), (0.42, -1), (0.42, 1), (-0.42, 1)], "#1c1f20")
    for lamp, (on, off) in enumerate(((RED, "#3a1416"), ("#ffb020", "#3c3010"), ("#30d080", "#123a28"))):
        sheet.disc(0.27, on if lamp == lit else off, 0.0, 0.62 * (lamp - 1))
    return sheet


SPEED_SIGNS = ("50_SIGN", "70_SIGN", "80_SIGN")
MISC = "MISC_SIGNS"
_SPEEDS = {f"{v}_SIGN": ("PROHIBITORY", partial(_speed, str(v))) for v in (30, 50, 60, 70, 80, 90, 100, 110)}
_SIGNS: dict[str, tuple[str, Callable[[], _Sheet]]] = _SPEEDS | {
    "NO_PARKING": ("PROHIBITORY", partial(_no_parking, 1)),
    "NO_STOPPING_NO_STANDING": ("PROHIBITORY", partial(_no_parking, 2)),
    "NO_ENTRY": ("PROHIBITORY", _no_entry),
    "STOP": ("PROHIBITORY", _stop),
    "PASS_RIGHT_SIDE": ("MANDATORY", partial(_pass_side, 1)),
    "PASS_LEFT_SIDE": ("MANDATORY", partial(_pass_side, -1)),
    "PRIORITY_ROAD": ("WARNING", _priority_road),
    "GIVE_WAY": ("WARNING", partial(_triangle, 180, "")),
    "OTHER": ("WARNING", partial(_triangle, 0, "!")),
    "PEDESTRIAN_CROSSING": ("INFORMATION", _crossing),
    "DIRECTION_BLUE": (MISC, partial(_direction, BLUE)),
    "DIRECTION_GREEN": (MISC, partial(_direction, GREEN)),
}
TYPES = {name: kind for name, (kind, _) in _SIGNS.items()}
OTHER_SIGNS = tuple(name for name in _SIGNS if name not in SPEED_SIGNS)
_LOOKALIKES = {f"LOGO_{v}": partial(_logo, v) for v in range(N_LOGOS)} | {
    f"TRAFFIC_LIGHT_{lit}": partial(_traffic_light, lit) for lit in range(3)
}
LOOKALIKES = tuple(_LOOKALIKES)


@cache
def sprite(name: str) -> Image.Image:
    """The sign or lookalike `name`, `SPRITE` / 2 pixels high; RGBa: alpha multiplied in, so it resizes cleanly."""
    paint = _SIGNS[name][1] if name in _SIGNS else _LOOKALIKES[name]
    return paint().image.reduce(2).convert("RGBa")


def _projective(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The 8 coefficients that take the four (x, y) points `target` to `source`, as Image.transform wants them."""
    rows = []
    for (u, v), (x, y) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.linalg.solve(np.array(rows), source.reshape(-1))


def turned(name: str, height: float, yaw: float, roll: float) -> Image.Image:
    """The sprite `height` pixels high, turned by `yaw` about its post and by `roll` in its plane (degrees); RGBA."""
    flat = sprite(name)
    size = max(2, round(2 * height))  # twice the size, reduced at the end
    flat = flat.resize((max(2, round(size * flat.width / flat.height)), size), Image.Resampling.BOX)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (flat.width / flat.height, 1.0)
    y, r = np.radians((yaw, roll))
    near = 1 + 0.12 * corners[:, 0] * np.sin(y)  # the edge turned to the camera is larger
    x, v = corners[:, 0] * np.cos(y) / near, corners[:, 1] / near
    seen = np.stack((x * np.cos(r) - v * np.sin(r), x * np.sin(r) + v * np.cos(r)), axis=1) * height
    seen -= seen.min(axis=0)
    width, high = (2 * int(np.ceil(s / 2)) for s in seen.max(axis=0))
    source = np.array([(0, 0), (flat.width, 0), (flat.width, flat.height), (0, flat.height)], dtype=float)
    coefficients = _projective(source, seen).tolist()
    transform, bilinear = Image.Transform.PERSPECTIVE, Image.Resampling.BILINEAR
    return flat.transform((max(2, width), max(2, high)), transform, coefficients, bilinear).reduce(2).convert("RGBA")
