"""The world of a road scene: a camera above a road, the air between, the light, and a pen that draws in metres.

Coordinates in the world are metres: x to the right of the road's middle, y up from the ground, z ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

HEIGHT, WIDTH = 960, 1280
FOCAL = 1100.0  # pixels; 60 degrees across
FINE = 2  # everything is drawn at this many times the size and then reduced: smooth edges

Colour = tuple[int, int, int]
Metres = tuple[float, float, float]


def mix(first: Sequence[float], second: Sequence[float], share: float) -> Colour:
    """`first` with a `share` (0..1) of `second`."""
    r, g, b = (round(f + (s - f) * share) for f, s in zip(first, second, strict=True))
    return r, g, b


def shade(colour: Sequence[float], gain: float) -> Colour:
    """`colour` made brighter or darker."""
    r, g, b = (min(255, round(c * gain)) for c in colour)
    return r, g, b


def jitter(rng: np.random.Generator, colour: Sequence[float], spread: float = 0.12) -> Colour:
    """`colour` of a random brightness and a slightly random hue."""
    gains = rng.uniform(1 - spread, 1 + spread) * rng.uniform(0.97, 1.03, 3)
    r, g, b = (min(255, round(c * k)) for c, k in zip(colour, gains, strict=True))
    return r, g, b


@dataclass(frozen=True, slots=True)
class Light:
    """What the sky looks like and what its light does to the scene."""

    zenith: Colour
    low: Colour
    """The sky just above the horizon; also the colour of haze."""
    clouds: float
    """Share of the sky that clouds cover, 0..1."""
    gain: tuple[float, float, float]
    """What the light leaves of red, green and blue, 0..1."""
    visibility: float
    """Metres at which 63 % of an object's colour is lost to haze."""
    glare: float
    """Strength of the low sun's glare, 0..1; 0 is no sun in the picture."""
    lamps: bool
    """Whether windows and lamps are lit."""


Range = tuple[float, float]

# zenith, horizon, tint of the light, range of its strength, range of the visibility in metres
_LIGHTS: dict[str, tuple[Colour, Colour, tuple[float, float, float], Range, Range]] = {
    "clear": ((84, 146, 220), (204, 222, 236), (1.0, 1.0, 1.0), (0.9, 1.0), (300, 900)),
    "overcast": ((176, 184, 192), (216, 220, 222), (1.0, 1.0, 1.0), (0.9, 1.0), (300, 900)),
    "haze": ((190, 196, 202), (212, 214, 214), (0.97, 0.99, 1.0), (0.8, 1.0), (70, 160)),
    "dusk": ((74, 90, 150), (250, 178, 132), (0.92, 0.88, 1.0), (0.55, 0.7), (250, 600)),
    "glare": ((120, 160, 210), (250, 232, 190), (1.0, 0.95, 0.87), (0.75, 0.95), (200, 500)),
}


def draw_light(rng: np.random.Generator, variation: float) -> Light:
    """A light: clear or overcast day, and with a chance of `variation` (0..1) haze, dusk or glare instead."""
    names = ["clear", "overcast"] if rng.random() > variation else ["haze", "dusk", "glare"]
    zenith, low, tint, gain, visibility = _LIGHTS[name := str(rng.choice(names))]
    strength = rng.uniform(*gain)
    return Light(
        zenith=jitter(rng, zenith),
        low=jitter(rng, low, 0.06),
        clouds=rng.random(),
        gain=(strength * tint[0], strength * tint[1], strength * tint[2]),
        visibility=rng.uniform(*visibility),
        glare=rng.uniform(0.4, 0.8) if name == "glare" else 0.0,
        lamps=name == "dusk",
    )


@dataclass(frozen=True, slots=True)
class World:
    """A camera and its road."""

    light: Light
    horizon: float
    """Row of the horizon, final pixels."""
    vanishing: float
    """Column that the road points at, final pixels."""
    half_road: float
    """Half of the road's width, metres."""
    curve: float
    """Curvature, 1 / m; positive bends to the right."""
    camera_x: float
    camera_y: float

    def at(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Column and row, final pixels, of a point in the world."""
        column = self.vanishing + FOCAL * (x - self.camera_x + self.curve * z * z / 2) / z
        return column, self.horizon - FOCAL * (y - self.camera_y) / z

    def haze(self, z: float) -> float:
        """Share of an object's colour, 0..1, that is lost over z metres."""
        return 1 - float(np.exp(-z / self.light.visibility))

    def seen(self, colour: Sequence[float], z: float) -> Colour:
        """`colour` through z metres of air."""
        return mix(colour, self.light.low, self.haze(z))


def draw_world(rng: np.random.Generator, light_variation: float, road: tuple[float, float]) -> World:
    """A camera in the right lane of a road, `road` the least and greatest of its half width in metres."""
    half_road = rng.uniform(*road)
    return World(
        light=draw_light(rng, light_variation),
        horizon=rng.uniform(430, 540),
        vanishing=rng.uniform(520, 760),
        half_road=half_road,
        curve=rng.normal(0, 1 / 900),
        camera_x=half_road * rng.uniform(0.3, 0.55),
        camera_y=rng.uniform(1.3, 1.9),
    )


class Pen:
    """Draws on an image of `FINE` times the final size: points in final pixels or in metres."""

    def __init__(self, image: Image.Image, world: World) -> None:
        self.world = world
        self._draw = ImageDraw.Draw(image)

    def flat(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """A polygon of (column, row), final pixels."""
        self._draw.polygon([(FINE * x, FINE * y) for x, y in points], fill=colour)

    def face(self, corners: Sequence[Metres], colour: Colour) -> None:
        """A polygon in the world, seen through the air as far as its nearest corner."""
        colour = self.world.seen(colour, min(z for _, _, z in corners))
        self.flat([self.world.at(*corner) for corner in corners], colour)

    def front(self, x0: float, y0: float, x1: float, y1: float, z: float, colour: Colour) -> None:
        """A rectangle that faces the camera."""
        self.face([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], colour)

    def near_side(self, x0: float, x1: float, z0: float, z1: float) -> float:
        """Which side of a block between x0 and x1, from z0 to z1, the camera sees."""
        return x0 if self.world.at(x0, 0, z0)[0] > self.world.at(x0, 0, z1)[0] else x1

    def box(self, low: Metres, high: Metres, colour: Colour) -> None:
        """A block: the side that looks to the road, then the front."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        side = self.near_side(x0, x1, z0, z1)
        self.face([(side, y0, z0), (side, y0, z1), (side, y1, z1), (side, y1, z0)], shade(colour, 0.78))
        self.front(x0, y0, x1, y1, z0, colour)

    def blob(self, x: float, y: float, z: float, radius: tuple[float, float], colour: Colour) -> None:
        """An ellipse of half axes `radius` (across, up), metres."""
        (column, row), pixels = self.world.at(x, y, z), FOCAL / z
        rx, ry, colour = pixels * radius[0], pixels * radius[1], self.world.seen(colour, z)
        self._draw.ellipse([FINE * v for v in (column - rx, row - ry, column + rx, row + ry)], fill=colour)

    def bar(self, start: Metres, end: Metres, width: float, colour: Colour) -> None:
        """A straight bar of `width` metres, at least one final pixel wide."""
        points = [(FINE * c, FINE * r) for c, r in (self.world.at(*start), self.world.at(*end))]
        pixels = round(FINE * max(1.0, FOCAL * width / start[2]))
        self._draw.line(points, fill=self.world.seen(colour, start[2]), width=pixels)

    def strip(self, x0: float, x1: float, ahead: Sequence[float] | np.ndarray, colour: Colour) -> None:
        """A stripe on the ground between x0 and x1 that follows the road through the distances `ahead`."""
        edge = [self.world.at(x0, 0, z) for z in ahead] + [self.world.at(x1, 0, z) for z in ahead[::-1]]
        self.flat(edge, self.world.seen(colour, float(ahead[0])))
