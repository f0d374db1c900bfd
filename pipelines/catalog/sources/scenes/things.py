"""What stands beside and on the road: trees, houses, cars, lamps, fences. Each is `thing(pen, rng, x, z)`, metres."""

from collections.abc import Callable

import numpy as np

from pipelines.catalog.sources.scenes.world import Colour, Metres, Pen, jitter, mix, shade

Thing = Callable[[Pen, np.random.Generator, float, float], None]

_WALLS: tuple[Colour, ...] = (
    (150, 52, 44),
    (216, 196, 150),
    (226, 226, 222),
    (178, 182, 186),
    (196, 150, 84),
    (120, 132, 142),
)
_ROOFS: tuple[Colour, ...] = ((112, 60, 48), (70, 68, 70), (92, 84, 78))
_PAINTS: tuple[Colour, ...] = (
    (168, 24, 28),
    (30, 60, 130),
    (232, 232, 230),
    (28, 28, 30),
    (150, 154, 158),
    (60, 92, 70),
    (214, 170, 40),
)
_POSTERS: tuple[Colour, ...] = ((232, 190, 40), (190, 28, 34), (36, 84, 160), (236, 236, 230))
_GLASS: Colour = (52, 62, 72)
_STEEL: Colour = (132, 136, 138)


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return jitter(rng, colours[rng.integers(len(colours))], 0.08)


def tree(pen: Pen, rng: np.random.Generator, x: float, z: float) -> None:
    """A broad-leaved tree: a trunk and a crown of overlapping blobs, lit from above."""
    height, leaf = rng.uniform(5, 11), jitter(rng, (86, 112, 52), 0.3)
    pen.bar((x, 0, z), (x, 0.5 * height, z), 0.3, (74, 60, 48))
    n = int(np.clip(700 / z, 8, 34))
    for i in range(n):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        up = 0.62 * height + 0.3 * height * reach * np.sin(angle)
        tone = shade(leaf, 0.6 + 0.45 * (up / height) * rng.uniform(0.8, 1.2) + 0.15 * i / n)
        size = height * rng.uniform(0.08, 0.17)
        pen.blob(x + 0.3 * height * reach * np.cos(angle), up, z, (size, 0.85 * size), tone)


def conifer(pen: Pen, rng: np.random.Generator, x: float, z: float) -> None:
    """A spruce: tiers of drooping triangles."""
    height, needle = rng.uniform(7, 16), jitter(rng, (46, 72, 50), 0.25)
    pen.bar((x, 0, z), (x, 0.3 * height, z), 0.28, (70, 58, 50))
    tiers = int(np.clip(160 / z, 4, 9))
    for tier in range(tiers):
        low, share = height * (0.1 + 0.8 * tier / tiers), 1 - tier / tiers
        half = 0.2 * height * share + 0.3
        tip, droop = low + height * 0.34 * (0.5 + 0.5 * share), rng.uniform(-0.25, 0.25, 2)
        corners = [(x - half, low + droop[0], z), (x, low + 0.25, z), (x + half, low + droop[1], z), (x, tip, z)]
        pen.face(corners, shade(needle, 0.75 + 0.5 * tier / tiers))


def bush(pen: Pen, rng: np.random.Generator, x: float, z: float) -> None:
    """A low bush of a few blobs."""
    leaf = jitter(rng, (96, 116, 58), 0.3)
    for i in range(9):
        size = rng.uniform(0.3, 0.65)
        pen.blob(x + rng.normal(0, 0.7), rng.uniform(0.2, 0.9), z, (size, size), shade(leaf, 0.7 + 0.05 * i))


def _windows(pen: Pen, rng: np.random.Generator, low: Metres, high: Metres) -> None:
    """Windows on the front and on the road side of a block, some of them lit when it is dark."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    dark = pen.world.light.lamps
    side = pen.near_side(x0, x1, z0, z1)
    for y in np.arange(y0 + 0.9, y1 - 1.2, 2.9):
        for z in np.arange(z0 + 0.8, z1 - 1.2, 2.6):
            glass = (250, 214, 140) if dark and rng.random() < 0.5 else jitter(rng, _GLASS, 0.3)
            pen.face([(side, y, z), (side, y, z + 1.1), (side, y + 1.3, z + 1.1), (side, y + 1.3, z)], glass)
        for x in np.arange(x0 + 0.8, x1 - 1.2, 2.4):
            glass = (250, 214, 140) if dark and rng.random() < 0.5 else jitter(rng, _GLASS, 0.3)
            pen.front(x, y, x + 1.1, y + 1.3, z0, glass)


def house(pen: Pen, rng: np.random.Generator, x: float, z: float) -> None:
    """A house with a gable roof, its gable to the camera."""
    width, length, eaves = rng.uniform(6, 9), rng.uniform(8, 13), rng.uniform(3, 5.4)
    wall, roof = _pick(rng, _WALLS), _pick(rng, _ROOFS)
    x0, x1, ridge, far = x - width / 2, x + width / 2, eaves + rng.uniform(2, 3.4), z + length
    pen.box((x0, 0, z), (x1, eaves, far), wall)
    pen.face([(x0, eaves, z), (x1, eaves, z), (x, ridge, z)], wall)
    side = pen.near_side(x0 - 0.3, x1 + 0.3, z, far)
    pen.face([(side, eaves - 0.2, z - 0.3), (side, eaves - 0.2, far), (x, ridge, far), (x, ridge, z - 0.3)], roof)
    _windows(pen, rng, (x0, 0.2, z), (x1, eaves, far))


def block(pen: Pen, rng: np.random.Generator, x: float, z: float) -> None:
    """A block of flats or offices with rows of windows."""
    width, length, height = rng.uniform(9, 14), rng.uniform(12, 26), rng.uniform(7, 20)
    low, high = (x - width / 2, 0.0, z), (x + width / 2, height, z + length)
    pen.box(low, high, _pick(rng, _WALLS))
    _windows(pen, rng, low, high)


def lamp(pen: Pen, rng: np.random.Generator, x: float, z: float) -> None:
    """A street lamp that reaches over the road."""
    height, arm = rng.uniform(6, 9), -np.sign(x) * rng.uniform(0.8, 2)
    pen.bar((x, 0, z), (x, height, z), 0.14, _STEEL)
    pen.bar((x, height, z), (x + arm, height + 0.2, z), 0.1, _STEEL)
    pen.blob(x + arm, height + 0.15, z, (0.35, 0.12), (255, 240, 190) if pen.world.light.lamps else (190, 192, 192))


def wires(pen: Pen, rng: np.random.Generator, x: float, z: float) -> None:
    """A row of wooden poles with their wires, from z metres on."""
    height, apart = rng.uniform(7, 9), 32.0
    for i in range(3, -1, -1):
        near, far = z + apart * i, z + apart * (i + 1)
        for y in (height - 0.3, height - 0.9):
            middle = (x, y - 0.7, (near + far) / 2)
            pen.bar((x, y, near), middle, 0.02, (60, 60, 62))
            pen.bar(middle, (x, y, far), 0.02, (60, 60, 62))
        pen.bar((x, 0, near), (x, height, near), 0.24, (92, 78, 64))
        pen.bar((x - 0.8, height - 0.3, near), (x + 0.8, height - 0.3, near), 0.12, (92, 78, 64))


def rail(pen: Pen, rng: np.random.Generator, x: float, z: float) -> None:
    """A guard rail along the road from z metres on, or a fence of thin boards."""
    high, colour = (0.75, _STEEL) if rng.random() < 0.6 else (1.1, (198, 190, 176))
    for post in np.arange(z + 36, z, -2.0):
        pen.bar((x, 0, post), (x, high, post), 0.1, shade(colour, 0.7))
        ends = [(x, high - 0.32, post), (x, high - 0.32, post + 2), (x, high, post + 2), (x, high, post)]
        pen.face(ends, colour)


def car(pen: Pen, rng: np.random.Generator, x: float, z: float) -> None:
    """A car from behind where it drives away (x > 0), from the front where it comes (x < 0)."""
    paint, half, roof = _pick(rng, _PAINTS), rng.uniform(0.82, 0.95), rng.uniform(1.35, 1.75)
    away, dark = x > 0, pen.world.light.lamps
    pen.blob(x, 0.02, z, (half + 0.2, 0.12), (44, 44, 46))
    for side in (-1, 1):
        wheel = x + side * (half - 0.2)
        pen.front(wheel - 0.12, 0, wheel + 0.12, 0.4, z, (22, 22, 24))
    pen.box((x - half, 0.25, z), (x + half, 0.85, z + 4.2), paint)
    near = pen.near_side(x - half, x + half, z, z + 4)
    top = x + 0.74 * (near - x)
    flank = [(near, 0.85, z), (near, 0.85, z + 3.4), (top, roof, z + 2.6), (top, roof, z + 0.6)]
    pen.face(flank, shade(paint, 0.7))
    glass, back, rim = mix(_GLASS, pen.world.light.low, 0.25), z + 0.6, roof - 0.1
    low, high = half, 0.74 * half
    pen.face(
        [(x - low, 0.85, z), (x + low, 0.85, z), (x + high, roof, back), (x - high, roof, back)], shade(paint, 0.95)
    )
    low, high = 0.8 * half, 0.64 * half
    pen.face([(x - low, 0.92, z), (x + low, 0.92, z), (x + high, rim, z), (x - high, rim, z)], glass)
    pen.front(x - 0.26, 0.45, x + 0.26, 0.57, z, (228, 226, 216))
    glow = (216, 26, 28) if away else ((255, 250, 225) if dark else (214, 218, 220))
    for side in (-1, 1):
        pen.blob(x + side * (half - 0.16), 0.68, z, (0.14, 0.1), glow)


def billboard(pen: Pen, rng: np.random.Generator, x: float, z: float) -> None:
    """A poster on two legs: bands and a disc in a sign's colours, but no sign."""
    width, low, high = rng.uniform(2.5, 4.5), rng.uniform(1.5, 2.5), rng.uniform(3.5, 5)
    field, band = (jitter(rng, colour) for colour in rng.permutation(_POSTERS)[:2])
    for leg in (x - 0.35 * width, x + 0.35 * width):
        pen.bar((leg, 0, z), (leg, low, z), 0.14, _STEEL)
    pen.front(x - width / 2, low, x + width / 2, high, z, field)
    pen.front(x - 0.42 * width, low + 0.2, x + 0.42 * width, low + 0.3 * (high - low), z, band)
    pen.blob(x - 0.2 * width, low + 0.65 * (high - low), z, (0.5, 0.5), band)


def post(pen: Pen, x: float, top: float, z: float) -> None:
    """The post that carries a sign up to `top` metres."""
    pen.bar((x, 0, z), (x, top, z), 0.08, _STEEL)


def gantry(pen: Pen, height: float, z: float) -> None:
    """A frame over the whole road that carries signs at `height` metres."""
    reach = pen.world.half_road + 1.6
    for y in (height - 0.25, height + 0.25):
        pen.bar((-reach, y, z), (reach, y, z), 0.14, shade(_STEEL, 0.8))
    for x in np.arange(-reach, reach, 0.8):
        pen.bar((x, height - 0.25, z), (x + 0.4, height + 0.25, z), 0.05, _STEEL)
    for side in (-reach, reach):
        pen.bar((side, 0, z), (side, height + 0.3, z), 0.24, _STEEL)
