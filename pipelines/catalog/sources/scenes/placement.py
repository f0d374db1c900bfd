"""Which signs a scene has, and where they stand: at random, readable, never one over another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from pipelines.catalog.sources.scenes.signs import (
    LOOKALIKES,
    MISC,
    N_LOGOS,
    TYPES,
    Vocabulary,
    sprite,
    turned,
)
from pipelines.catalog.sources.scenes.world import FOCAL, HEIGHT, WIDTH, World

Box = tuple[float, float, float, float]
_TRIES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Difficulty:
    """How hard a set of scenes is. Ranges are (least, greatest), both included."""

    cycle: tuple[int, ...]
    """Labels of consecutive images, shuffled within each cycle."""
    sign_px: tuple[float, float]
    """Height of a sign, pixels."""
    n_signs: tuple[int, int]
    """Readable signs of the image's own class, unless it is EMPTY; fewer where there is no room."""
    gantries: tuple[int, int]
    """Frames over the road that may carry signs."""
    flagged: float
    """Chance of one more speed sign that is BLURRED, OCCLUDED or of a SIDE_ROAD (which may have another limit)."""
    n_others: tuple[int, int]
    """Other traffic signs; of the Swedish vocabulary unless it is EMPTY."""
    n_lookalikes: tuple[int, int]
    """Round shop logos and traffic lights, in every scene."""
    blur: tuple[float, float]
    """Defocus, standard deviation in pixels, at most 0.7."""
    light: float
    """Chance of haze, dusk or glare, 0..1."""


DIFFICULTIES = {
    "default": Difficulty(
        cycle=(0, 0, 0, 1, 2, 3),
        sign_px=(20, 28),
        n_signs=(1, 2),
        gantries=(0, 1),
        flagged=0.25,
        n_others=(0, 3),
        n_lookalikes=(0, 3),
        blur=(0.0, 0.5),
        light=0.4,
    ),
    "easy": Difficulty(
        cycle=(0, 1, 2, 3),
        sign_px=(104, 120),
        n_signs=(7, 10),
        gantries=(1, 2),
        flagged=0.1,
        n_others=(0, 1),
        n_lookalikes=(0, 2),
        blur=(0.0, 0.4),
        light=0.2,
    ),
}


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a sign hangs: its middle and its height in metres, and whether on a gantry or on a post of its own."""

    x: float
    y: float
    z: float
    size: float
    on_gantry: bool = False


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign or lookalike as it appears in the picture."""

    name: str
    visibility: str
    image: Image.Image
    """RGBA, cut to the outline."""
    left: int
    top: int
    stand: Stand

    @property
    def box(self) -> Box:
        """(y0, x0, y1, x1), half-open, pixels."""
        return (self.top, self.left, self.top + self.image.height, self.left + self.image.width)

    def annotation(self) -> str:
        """The sign as one field of annotations.txt."""
        if TYPES[self.name] == MISC:
            return MISC
        y0, x0, y1, x1 = self.box
        return f"{self.visibility}, {x1:.1f}, {y1:.1f}, {x0:.1f}, {y0:.1f}, {TYPES[self.name]}, {self.name}"


def place_gantries(rng: np.random.Generator, world: World, difficulty: Difficulty) -> list[Stand]:
    """Gantries whose signs have the wanted size and that cross the upper part of the picture."""
    gantries = []
    for _ in range(_count(rng, difficulty.gantries)):
        size = rng.uniform(0.7, 1.1)
        z = FOCAL * size / rng.uniform(*difficulty.sign_px)
        row = rng.uniform(0.15, 0.55) * world.horizon
        gantries.append(Stand(0.0, world.camera_y + (world.horizon - row) * z / FOCAL, z, size, on_gantry=True))
    return gantries


def place_signs(
    rng: np.random.Generator,
    world: World,
    difficulty: Difficulty,
    label: int,
    signs: Vocabulary,
    gantries: Sequence[Stand],
    *,
    backlit: bool,
) -> list[Sign]:
    """The signs and lookalikes of a scene of class `label`; one for which there is no room is left out.

    Where signs are backlit, some have less light than the scene, and less colour.
    """
    placed: list[Sign] = []
    for name, visibility in _wanted(rng, label, difficulty, signs):
        tries = 0
        while tries < _TRIES or (label and not placed):  # the sign that makes the class is never left out
            tries += 1
            stand = _stand(rng, world, difficulty, gantries, name, visibility)
            room = _room(world, stand, name)
            if _inside(room) and not any(_touch(room, other.box) for other in placed):
                placed.append(_sign(rng, world, stand, name, visibility, backlit=backlit))
                break
    return placed


def _count(rng: np.random.Generator, ends: tuple[int, int]) -> int:
    return int(rng.integers(ends[0], ends[1] + 1))


def _wanted(rng: np.random.Generator, label: int, difficulty: Difficulty, signs: Vocabulary) -> list[tuple[str, str]]:
    """Names and visibilities of what is to be placed, the most important first."""
    wanted = []
    if label:
        own = signs.deciding[label - 1]
        wanted = [(_one_of(rng, own), "VISIBLE") for _ in range(_count(rng, difficulty.n_signs))]
        if rng.random() < difficulty.flagged:
            flag = str(rng.choice(["BLURRED", "OCCLUDED", "SIDE_ROAD"]))
            names = [name for of_label in signs.deciding for name in of_label] if flag == "SIDE_ROAD" else own
            wanted.append((_one_of(rng, names), flag))
    if label or signs.others_alone:
        wanted += [(str(rng.choice(signs.others)), "VISIBLE") for _ in range(_count(rng, difficulty.n_others))]
    for _ in range(_count(rng, difficulty.n_lookalikes)):
        kinds = LOOKALIKES[:N_LOGOS] if rng.random() < 0.7 else LOOKALIKES[N_LOGOS:]
        wanted.append((str(rng.choice(kinds)), "VISIBLE"))
    return wanted


def _one_of(rng: np.random.Generator, names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else str(rng.choice(names))


def _stand(
    rng: np.random.Generator,
    world: World,
    difficulty: Difficulty,
    gantries: Sequence[Stand],
    name: str,
    visibility: str,
) -> Stand:
    """A random place for a sign: on a gantry, where no logo hangs, or on a post beside the road."""
    if gantries and visibility == "VISIBLE" and not name.startswith("LOGO") and rng.random() < 0.5:
        frame, reach = gantries[int(rng.integers(len(gantries)))], world.half_road + 1.2
        return Stand(rng.uniform(-reach, reach), frame.y, frame.z, frame.size, on_gantry=True)
    size = rng.uniform(0.6, 1.0)
    away = rng.uniform(4, 9) if visibility == "SIDE_ROAD" else rng.uniform(0.7, 3.2)
    side = 1 if rng.random() < 0.6 else -1
    z = FOCAL * size / rng.uniform(*difficulty.sign_px)
    return Stand(side * (world.half_road + away), rng.uniform(1.7, 3.6), z, size)


def _sign(rng: np.random.Generator, world: World, stand: Stand, name: str, visibility: str, *, backlit: bool) -> Sign:
    """The sign as the camera sees it at that place."""
    aside = visibility == "SIDE_ROAD"
    yaw = rng.choice([-1, 1]) * rng.uniform(55, 68) if aside else np.clip(rng.normal(0, 13), -35, 35)
    image = turned(name, FOCAL * stand.size / stand.z, float(yaw), rng.normal(0, 3))
    if backlit:
        image = _shaded(rng, image)
    if visibility == "BLURRED":
        image = _blurred(image, 0.08 * image.height)
    alpha = image.getchannel("A")
    air = Image.new("RGB", image.size, world.light.low)
    image = Image.blend(image.convert("RGB"), air, world.haze(stand.z))
    image.putalpha(alpha)
    image = image.crop(alpha.getbbox())
    column, row = world.at(stand.x, stand.y, stand.z)
    return Sign(name, visibility, image, round(column - image.width / 2), round(row - image.height / 2), stand)


def _shaded(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """The sign with .12 to 1.05 times its light, of a tint of its own, .4 to 1 of its colour; one in two unsharp."""
    pixels = np.asarray(image).astype(np.float32)
    grey = pixels[..., :3].mean(-1, keepdims=True)
    colours = grey + (pixels[..., :3] - grey) * rng.uniform(0.4, 1.0)
    pixels[..., :3] = np.clip(colours * rng.uniform(0.12, 1.05) * rng.uniform(0.88, 1.12, 3), 0, 255)
    image = Image.fromarray(pixels.astype(np.uint8), "RGBA")
    if rng.random() < 0.5:
        image = image.convert("RGBa").filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.3))).convert("RGBA")
    return image


def _blurred(image: Image.Image, sigma: float) -> Image.Image:
    """The sign out of focus, with room for what the blur spreads over its edge."""
    edge = round(3 * sigma)
    roomy = Image.new("RGBA", (image.width + 2 * edge, image.height + 2 * edge))
    roomy.paste(image, (edge, edge))
    return roomy.convert("RGBa").filter(ImageFilter.GaussianBlur(sigma)).convert("RGBA")


def _room(world: World, stand: Stand, name: str) -> Box:
    """The box that a sign needs at most, before it is turned and painted."""
    (column, row), flat = world.at(stand.x, stand.y, stand.z), sprite(name)
    height = 1.1 * FOCAL * stand.size / stand.z
    width = height * flat.width / flat.height
    return row - height / 2, column - width / 2, row + height / 2, column + width / 2


def _inside(box: Box, margin: int = 4) -> bool:
    y0, x0, y1, x1 = box
    return y0 >= margin and x0 >= margin and y1 <= HEIGHT - margin and x1 <= WIDTH - margin


def _touch(one: Box, other: Box, gap: int = 8) -> bool:
    rows = one[0] < other[2] + gap and other[0] < one[2] + gap
    return rows and one[1] < other[3] + gap and other[1] < one[3] + gap
