"""One road scene: the plan of what is where, everything painted from far to near, and the finished picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from pipelines.catalog.sources.scenes import land, things
from pipelines.catalog.sources.scenes.placement import Difficulty, Sign, Stand, place_gantries, place_signs
from pipelines.catalog.sources.scenes.signs import LOOKALIKES, SWEDISH, Vocabulary
from pipelines.catalog.sources.scenes.world import FINE, Colour, Pen, World, draw_world, jitter, shade


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A kind of place: its colours, its road, and the things along it."""

    land: Colour
    hills: Colour
    verge: Colour
    road: tuple[float, float]
    """Least and greatest half width of the road, metres."""
    lanes: int
    wooded: float
    """How jagged the hills are, 0..1."""
    things: dict[things.Thing, float]
    """Expected number of each."""


SURROUNDINGS = (
    Surroundings(  # forest
        (112, 136, 72), (70, 96, 70), (128, 126, 92), (3.2, 4.2), 2, 1.0,
        {things.conifer: 34, things.tree: 8, things.bush: 10, things.wires: 0.3, things.house: 0.3},
    ),
    Surroundings(  # fields
        (176, 166, 96), (98, 118, 88), (140, 138, 96), (3.2, 4.5), 2, 0.3,
        {things.tree: 9, things.bush: 8, things.house: 1.2, things.wires: 0.8, things.rail: 0.4, things.billboard: 0.3},
    ),
    Surroundings(  # village
        (120, 144, 84), (84, 104, 80), (150, 148, 142), (3.4, 4.8), 2, 0.6,
        {things.house: 7, things.tree: 9, things.bush: 9, things.conifer: 3, things.lamp: 4, things.billboard: 0.4},
    ),
    Surroundings(  # town
        (146, 144, 138), (118, 116, 112), (168, 166, 160), (4.2, 6.2), 2, 0.2,
        {things.block: 9, things.tree: 4, things.lamp: 5, things.billboard: 1, things.house: 1},
    ),
    Surroundings(  # motorway
        (124, 140, 84), (80, 104, 84), (132, 130, 110), (5.6, 7.6), 3, 0.6,
        {things.tree: 10, things.conifer: 12, things.bush: 5, things.rail: 1.6, things.lamp: 2, things.billboard: 0.8},
    ),
)  # fmt: skip

# Metres from the road's edge to where a thing may begin to stand, and how far it may stand behind that. Signs stand
# within 3.2 m of the edge: what is farther out and nearer to the camera never hides them.
_KERB: dict[things.Thing, tuple[float, float]] = {
    things.lamp: (0.5, 0.3),
    things.rail: (0.5, 0.0),
    things.house: (8.5, 16.0),
    things.block: (11.0, 8.0),
    things.wires: (4.0, 3.0),
    things.billboard: (5.5, 5.0),
}
_ELSEWHERE = (5.5, 20.0)

_Object = tuple[float, Callable[[], None]]  # metres ahead, and how to draw it


@dataclass(frozen=True, slots=True)
class Plan:
    """All that decides what a scene shows, before anything is painted."""

    surroundings: Surroundings
    world: World
    gantries: list[Stand]
    placed: list[Sign]
    """Traffic signs and lookalikes."""
    adverse: bool
    """Whether the sun is behind the signs and the camera misjudges the light."""

    @property
    def signs(self) -> list[Sign]:
        """The traffic signs."""
        return [sign for sign in self.placed if sign.name not in LOOKALIKES]


def plan_scene(
    rng: np.random.Generator,
    label: int,
    difficulty: Difficulty,
    signs: Vocabulary = SWEDISH,
    *,
    adverse: bool = False,
) -> Plan:
    """A scene of class `label`, 0 where no sign decides; of Swedish signs EMPTY, then 50, 70, 80.

    Args:
        rng: decides all; the same state is the same scene.
        label: its class.
        difficulty: how many signs, and how large.
        signs: which.
        adverse: whether light is adverse (`Plan.adverse`).
    """
    surroundings = SURROUNDINGS[rng.integers(len(SURROUNDINGS))]
    world = draw_world(rng, difficulty.light, surroundings.road)
    gantries = place_gantries(rng, world, difficulty)
    placed = place_signs(rng, world, difficulty, label, signs, gantries, backlit=adverse)
    return Plan(surroundings, world, gantries, placed, adverse)


def render_scene(
    rng: np.random.Generator,
    label: int,
    difficulty: Difficulty,
    signs: Vocabulary = SWEDISH,
    *,
    adverse: bool = False,
) -> tuple[Image.Image, list[Sign]]:
    """The picture, RGB 960 x 1280, and the traffic signs in it; the same generator state gives the same pixels."""
    plan = plan_scene(rng, label, difficulty, signs, adverse=adverse)
    image = land.sky(rng, plan.world)
    _fill(rng, image, plan)
    image = image.reduce(FINE)
    _hang(rng, image, plan.placed)
    image = land.develop(rng, image, plan.world, rng.uniform(*difficulty.blur))
    return land.misjudge(rng, image) if plan.adverse else image, plan.signs


def _fill(rng: np.random.Generator, image: Image.Image, plan: Plan) -> None:
    """Land, road and all that stands there, the farthest first, in place."""
    pen, surroundings = Pen(image, plan.world), plan.surroundings
    land.hills(rng, pen, surroundings.hills, surroundings.wooded)
    land.ground(rng, pen, surroundings.land)
    land.road(rng, pen, surroundings.verge, surroundings.lanes)
    land.roughen(rng, image, plan.world)
    objects = _scenery(rng, pen, surroundings) + _traffic(rng, pen) + _mounts(pen, plan)
    for _, draw in sorted(objects, key=lambda item: -item[0]):
        draw()


def _scenery(rng: np.random.Generator, pen: Pen, surroundings: Surroundings) -> list[_Object]:
    """What stands beside the road."""
    found: list[_Object] = []
    for thing, expected in surroundings.things.items():
        near, spread = _KERB.get(thing, _ELSEWHERE)
        for _ in range(rng.poisson(expected)):
            side = 1 if rng.random() < 0.5 else -1
            x = side * (pen.world.half_road + near + spread * rng.random() ** 2)
            z = float(np.exp(rng.uniform(np.log(9), np.log(130))))
            found.append((z, partial(thing, pen, rng, x, z)))
    return found


def _traffic(rng: np.random.Generator, pen: Pen) -> list[_Object]:
    """Cars in both directions."""
    found: list[_Object] = []
    for _ in range(rng.poisson(1.6)):
        x, z = rng.choice([-0.5, 0.5]) * pen.world.half_road + rng.normal(0, 0.2), rng.uniform(12, 70)
        found.append((z, partial(things.car, pen, rng, x, z)))
    return found


def _mounts(pen: Pen, plan: Plan) -> list[_Object]:
    """Gantries, and the posts of the signs that do not hang on one."""
    posts = [sign.stand for sign in plan.placed if not sign.stand.on_gantry]
    found: list[_Object] = [(g.z, partial(things.gantry, pen, g.y, g.z)) for g in plan.gantries]
    return found + [(s.z, partial(things.post, pen, s.x, s.y, s.z)) for s in posts]


def _hang(rng: np.random.Generator, image: Image.Image, placed: Sequence[Sign]) -> None:
    """The signs, the farthest first, in place; leaves over the OCCLUDED ones."""
    for sign in sorted(placed, key=lambda sign: -sign.stand.z):
        image.paste(sign.image, (sign.left, sign.top), sign.image)
        if sign.visibility == "OCCLUDED":
            _cover(rng, image, sign)


def _cover(rng: np.random.Generator, image: Image.Image, sign: Sign) -> None:
    """Leaves over about half of the sign, from one side, in place."""
    y0, x0, y1, x1 = (round(v) for v in sign.box)
    size, leaf = y1 - y0, jitter(rng, (78, 104, 48), 0.3)
    clump = image.crop((x0 - size, y0 - size, x1 + size, y1 + size))
    clump = clump.resize((4 * clump.width, 4 * clump.height), Image.Resampling.NEAREST)
    draw, middle = ImageDraw.Draw(clump), 1.5 + rng.choice([-0.45, 0.45])  # in sizes of the sign
    for _ in range(150):
        x, y = rng.normal(middle, 0.22), rng.normal(1.5, 0.4)
        long, high = rng.uniform(0.05, 0.1, 2)
        edges = [4 * size * v for v in (x - long, y - high, x + long, y + high)]
        draw.ellipse(edges, fill=shade(leaf, rng.uniform(0.6, 1.25)))
    image.paste(clump.reduce(4), (x0 - size, y0 - size))
