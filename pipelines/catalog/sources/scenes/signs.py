"""Traffic signs, and things that only look like signs, as vector shapes with an alpha channel.

A sprite is drawn once, and is then turned, seen in perspective and reduced to the few pixels that a scene needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from PIL import Image

from pipelines.catalog.sources.scenes.german import GERMAN
from pipelines.catalog.sources.scenes.sheet import BLACK, BLUE, GREEN, RED, WHITE, YELLOW, Sheet, ngon

N_LOGOS = 24


def _speed(number: str) -> Sheet:
    sheet = Sheet()
    for radius, colour in ((1.0, YELLOW), (0.96, RED), (0.73, YELLOW)):
        sheet.disc(radius, colour)
    sheet.text(number, 1.16, 0.74 if len(number) == 2 else 0.6, BLACK)
    return sheet


def _no_parking(strokes: int) -> Sheet:
    sheet = Sheet()
    for radius, colour in ((1.0, YELLOW), (0.96, RED), (0.74, BLUE)):
        sheet.disc(radius, colour)
    for x in (0.6, -0.6)[:strokes]:
        sheet.bar([(-x, -0.6), (x, 0.6)], 0.2, RED)
    return sheet


def _no_entry() -> Sheet:
    sheet = Sheet()
    sheet.disc(1.0, YELLOW)
    sheet.disc(0.96, RED)
    sheet.shape([(-0.7, -0.18), (0.7, -0.18), (0.7, 0.18), (-0.7, 0.18)], YELLOW)
    return sheet


def _pass_side(side: int) -> Sheet:
    sheet = Sheet()
    sheet.disc(1.0, WHITE)
    sheet.disc(0.94, BLUE)
    sheet.bar([(-0.5 * side, -0.5), (0.3 * side, 0.3)], 0.24, WHITE)
    sheet.shape([(0.6 * side, 0.6), (0.6 * side, -0.1), (-0.1 * side, 0.6)], WHITE)
    return sheet


def _priority_road() -> Sheet:
    sheet = Sheet()
    sheet.shape(ngon(4, 1.0, 0), WHITE)
    sheet.shape(ngon(4, 0.74, 0), YELLOW)
    return sheet


def _triangle(first_degrees: float, text: str) -> Sheet:
    sheet = Sheet()
    sheet.shape(ngon(3, 1.0, first_degrees), RED)
    sheet.shape(ngon(3, 0.6, first_degrees), YELLOW)
    if text:
        sheet.text(text, 0.16, 0.55, BLACK)
    return sheet


def _stop() -> Sheet:
    sheet = Sheet()
    sheet.shape(ngon(8, 1.0, 22.5), WHITE)
    sheet.shape(ngon(8, 0.93, 22.5), RED)
    sheet.text("STOP", 1.4, 0.5, WHITE)
    return sheet


def _crossing() -> Sheet:
    sheet = Sheet()
    sheet.shape([(-1, -1), (1, -1), (1, 1), (-1, 1)], BLUE)
    sheet.shape(ngon(3, 0.85, 0), WHITE)
    sheet.bar([(0.0, -0.3), (0.1, 0.05), (-0.2, 0.38)], 0.16, BLACK)
    sheet.disc(0.11, BLACK, 0, -0.4)
    return sheet


def _direction(colour: str) -> Sheet:
    sheet = Sheet(aspect=2.0)
    sheet.shape([(-2, -1), (2, -1), (2, 1), (-2, 1)], WHITE)
    sheet.shape([(-1.92, -0.92), (1.92, -0.92), (1.92, 0.92), (-1.92, 0.92)], colour)
    for row, (word, distance) in enumerate((("SKARA", "14"), ("GRENNA", "37"))):
        sheet.text(word, 2.0, 0.5, WHITE, -0.7, 0.8 * row - 0.4)
        sheet.text(distance, 0.7, 0.5, WHITE, 1.3, 0.8 * row - 0.4)
    return sheet


def _logo(variant: int) -> Sheet:
    """A shop's round logo: rings and a letter, in the colours of speed signs as often as in others; never a number."""
    rng = np.random.default_rng(variant)
    sheet = Sheet()
    warm = variant % 2 == 0
    colours = rng.permutation([YELLOW, RED, "#e8741a"] if warm else [WHITE, BLUE, GREEN, "#7a2a80", "#e0e0e0"])
    for radius, colour in zip((1.0, rng.uniform(0.6, 0.85)), colours, strict=False):
        sheet.disc(radius, str(colour))
    if rng.random() < 0.7:
        ink = BLACK if warm else WHITE
        sheet.text(str(rng.choice(["K", "M", "ICA", "A", "W", "XY", "&", "E"])), rng.uniform(0.6, 1.0), 0.7, ink)
    return sheet


def _traffic_light(lit: int) -> Sheet:
    sheet = Sheet(aspect=0.5)
    sheet.shape([(-0.42, -1), (0.42, -1), (0.42, 1), (-0.42, 1)], "#1c1f20")
    for lamp, (on, off) in enumerate(((RED, "#3a1416"), ("#ffb020", "#3c3010"), ("#30d080", "#123a28"))):
        sheet.disc(0.27, on if lamp == lit else off, 0.0, 0.62 * (lamp - 1))
    return sheet


SPEED_SIGNS = ("50_SIGN", "70_SIGN", "80_SIGN")
MISC = "MISC_SIGNS"
_SPEEDS = {f"{v}_SIGN": ("PROHIBITORY", partial(_speed, str(v))) for v in (30, 50, 60, 70, 80, 90, 100, 110)}
_SIGNS: dict[str, tuple[str, Callable[[], Sheet]]] = _SPEEDS | {
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
_PAINTERS = {name: paint for name, (_, paint) in _SIGNS.items()} | GERMAN | _LOOKALIKES


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The signs of a data set, by what they make of a scene."""

    deciding: tuple[tuple[str, ...], ...]
    """For each label from 1 on, the signs of which one makes a scene of it."""
    others: tuple[str, ...]
    """Those that decide nothing."""
    others_alone: bool
    """Whether these stand in scenes of label 0, too."""


SWEDISH = Vocabulary(tuple((name,) for name in SPEED_SIGNS), OTHER_SIGNS, others_alone=False)


@cache
def sprite(name: str) -> Image.Image:
    """The sign or lookalike `name`, `SPRITE` / 2 pixels high; RGBa: alpha multiplied in, so it resizes cleanly."""
    return _PAINTERS[name]().image.reduce(2).convert("RGBa")


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
