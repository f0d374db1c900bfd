"""What every road scene stands on: sky, hills, ground and road; and the light over the finished picture."""

from functools import cache

import numpy as np
from PIL import Image, ImageChops
from scipy.ndimage import map_coordinates

from pipelines.catalog.sources.scenes.world import (
    FINE,
    FOCAL,
    HEIGHT,
    WIDTH,
    Colour,
    Light,
    Pen,
    World,
    jitter,
    mix,
    shade,
)

_COARSE = 8  # skies and lights are smooth: computed at an eighth of the size
_GRAIN_HEIGHT, _GRAIN_WIDTH = 600, 1900
_AHEAD = np.geomspace(2.4, 260, 48)  # metres at which the road's edges are sampled
WHITE_PAINT: Colour = (226, 226, 220)


def _noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int], octaves: int) -> np.ndarray:
    """Smooth noise [H, W] of about zero mean and unit amplitude: octaves of random grids."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        grid = rng.standard_normal((cells[0] << octave, cells[1] << octave), dtype=np.float32)
        smooth = Image.fromarray(grid).resize(shape[::-1], Image.Resampling.BICUBIC)
        total += np.asarray(smooth) * 0.55**octave
    return total


def sky(rng: np.random.Generator, world: World) -> Image.Image:
    """A picture of `FINE` times the final size with the sky down to the horizon."""
    shape, light = (int(world.horizon) // _COARSE + 2, WIDTH // _COARSE), world.light
    height = np.clip(1 - np.arange(shape[0]) * _COARSE / world.horizon, 0, 1)[:, None, None] ** 0.7
    colours = height * np.array(light.zenith) + (1 - height) * np.array(light.low)
    noise = _noise(rng, shape, (4, 3), 5)[:, :, None]
    cover = np.clip((noise + 2.2 * light.clouds - 1.2) * 1.3, 0, 0.85) * (0.3 + 0.7 * height)
    cloud = mix(light.low, (250, 250, 250), 0.55) if not light.lamps else mix(light.low, light.zenith, 0.6)
    colours = colours + (np.array(cloud) * (0.92 + 0.08 * np.tanh(noise)) - colours) * cover
    small = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    upper = small.resize((WIDTH, _COARSE * shape[0]), Image.Resampling.BILINEAR)
    picture = Image.new("RGB", (FINE * WIDTH, FINE * HEIGHT))
    picture.paste(upper.resize((FINE * upper.width, FINE * upper.height), Image.Resampling.NEAREST))
    return picture


def hills(rng: np.random.Generator, pen: Pen, colour: Colour, wooded: float) -> None:
    """Two or three ridges along the horizon, the farther the bluer; `wooded` (0..1) makes their edges jagged."""
    columns = np.linspace(0, WIDTH, 321)
    n = int(rng.integers(2, 4))
    for layer in range(n):
        near = (layer + 1) / n
        knots = rng.uniform(0, 1, 9)
        ridge = np.interp(columns, np.linspace(0, WIDTH, 9), knots) * rng.uniform(15, 75) * (1.3 - near) + 10
        ridge += wooded * near * (14 + 9 * np.abs(rng.standard_normal(columns.size)))
        edge = [(float(x), pen.world.horizon - float(y)) for x, y in zip(columns, ridge, strict=True)]
        bottom = [(float(WIDTH), pen.world.horizon + 6), (0.0, pen.world.horizon + 6)]
        distant = 0.35 + 0.5 * (1 - near) + 0.1 * (pen.world.light.visibility < 200)
        pen.flat(edge + bottom, mix(jitter(rng, colour), pen.world.light.low, distant))


def ground(rng: np.random.Generator, pen: Pen, colour: Colour) -> None:
    """The land beside the road, in bands that fade towards the horizon."""
    horizon = pen.world.horizon
    near = jitter(rng, colour)
    distances = np.geomspace(400, 2.6, 24)
    rows = np.append(horizon + FOCAL * pen.world.camera_y / distances, HEIGHT)
    for distance, top, bottom in zip(distances, rows[:-1], rows[1:], strict=True):
        tone = pen.world.seen(shade(near, rng.uniform(0.97, 1.03)), float(distance))
        pen.flat([(0, top), (WIDTH, top), (WIDTH, bottom), (0, bottom)], tone)


def road(rng: np.random.Generator, pen: Pen, verge: Colour, lanes: int) -> None:
    """Verge, asphalt with patches, edge lines and the lines between `lanes` lanes."""
    half = pen.world.half_road
    asphalt = jitter(rng, (104, 104, 106), 0.22)
    pen.strip(-half - 1.3, half + 1.3, _AHEAD, jitter(rng, verge))
    pen.strip(-half, half, _AHEAD, asphalt)
    for _ in range(rng.integers(0, 5)):
        x, z = rng.uniform(-half, half - 1.2), rng.uniform(3, 40)
        pen.strip(x, x + rng.uniform(0.5, 1.2), np.linspace(z, z * 1.35, 5), shade(asphalt, rng.uniform(0.72, 0.92)))
    worn = mix(WHITE_PAINT, asphalt, rng.uniform(0, 0.45))
    if rng.random() < 0.8:
        for x in (-half + 0.25, half - 0.25):
            pen.strip(x - 0.06, x + 0.06, _AHEAD, worn)
    for lane in range(1, lanes):
        _lane_line(rng, pen, -half + 2 * half * lane / lanes, worn)
    if rng.random() < 0.12:
        z = rng.uniform(8, 25)
        for x in np.arange(-half + 0.3, half - 0.4, 1.0):
            pen.strip(float(x), float(x) + 0.5, (z, z + 3), WHITE_PAINT)


def _lane_line(rng: np.random.Generator, pen: Pen, x: float, colour: Colour) -> None:
    if rng.random() < 0.2:
        pen.strip(x - 0.07, x + 0.07, _AHEAD, colour)
        return
    dash, period = (3, 9) if rng.random() < 0.6 else (6, 9)
    for z in np.arange(2.4 + rng.uniform(0, period), 130, period):
        pen.strip(x - 0.07, x + 0.07, np.linspace(z, z + dash, 4), colour)


@cache
def _grain() -> Image.Image:
    """Grass and gravel as the camera sees them on flat ground: noise in perspective around a mean of 128."""
    rng = np.random.default_rng(0)
    z = FOCAL * 1.5 / (np.arange(_GRAIN_HEIGHT)[:, None] + 1.0)
    x = (np.arange(_GRAIN_WIDTH)[None, :] - _GRAIN_WIDTH / 2) * z / FOCAL
    total = np.zeros((_GRAIN_HEIGHT, _GRAIN_WIDTH), np.float32)
    for metres, strength in ((0.015, 9), (0.05, 8), (0.9, 7)):
        tile = rng.standard_normal((512, 512), dtype=np.float32)
        clear = np.clip(metres * FOCAL / z / 1.5, 0.15, 1)  # finer than a pixel: averaged away
        places = np.broadcast_arrays(z / metres, x / metres)
        total += strength * clear * map_coordinates(tile, places, order=1, mode="grid-wrap")
    grey = np.clip(128 + total, 0, 255).astype(np.uint8)
    one = Image.fromarray(grey)
    return Image.merge("RGB", (one, one, one))


def roughen(rng: np.random.Generator, image: Image.Image, world: World) -> None:
    """Grain on everything below the horizon, in place; at the final size, where it costs a quarter."""
    top, left = round(world.horizon), int(rng.integers(0, _GRAIN_WIDTH - WIDTH))
    land = image.reduce(FINE, box=(0, FINE * top, image.width, image.height))
    land = ImageChops.add(land, _grain().crop((left, 0, left + land.width, land.height)), 1, -128)
    image.paste(land.resize((FINE * land.width, FINE * land.height), Image.Resampling.NEAREST), (0, FINE * top))


@cache
def _sensor_noise() -> Image.Image:
    rng = np.random.default_rng(1)
    noise = 128 + 3.5 * rng.standard_normal((HEIGHT + 128, WIDTH + 128, 3), dtype=np.float32)
    return Image.fromarray(noise.astype(np.uint8))


def _field(values: np.ndarray) -> Image.Image:
    """A smooth field [h, w, 3] of 0..1 as an image of the final size."""
    small = Image.fromarray((255 * np.clip(values, 0, 1)).astype(np.uint8))
    half = small.resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.BILINEAR)
    return half.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)  # half of the time, and as smooth to the eye


def _light_fields(rng: np.random.Generator, light: Light, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """What the light leaves of each pixel, and the glare that it adds: [h, w, 3], 0..1."""
    y, x = np.mgrid[0 : HEIGHT // _COARSE, 0 : WIDTH // _COARSE] * float(_COARSE)
    from_centre = np.hypot((x - WIDTH / 2) / WIDTH, (y - HEIGHT / 2) / HEIGHT)
    uneven = 1 - rng.uniform(0.05, 0.4) * from_centre**2 + 0.04 * _noise(rng, x.shape, (2, 3), 2)
    sun_x, sun_y = rng.uniform(0.15, 0.85) * WIDTH, horizon - rng.uniform(60, 260)
    away = np.hypot(x - sun_x, y - sun_y)[:, :, None]
    glow = (0.75 * np.exp(-away / 180) + 0.6 * np.exp(-((away / 60) ** 2))) * np.array((1.0, 0.93, 0.78))
    return uneven[:, :, None] * np.array(light.gain), light.glare * glow


def _defocus(image: Image.Image, sigma: float) -> Image.Image:
    """Blur of `sigma` pixels, at most 0.7: each axis twice with the taps (1 - w, w), whose variance is w (1 - w).

    Pillow's own filters take eight times as long; the shift wraps around, which reaches one pixel at the edges.
    """
    if sigma < 0.2:  # not to be seen
        return image
    w = (1 - np.sqrt(max(0.0, 1 - 2 * sigma**2))) / 2
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        image = Image.blend(image, ImageChops.offset(image, x, y), float(w))
    return image


def develop(rng: np.random.Generator, image: Image.Image, world: World, blur: float) -> Image.Image:
    """The finished picture as a camera would take it: light, glare, defocus of `blur` pixels, sensor noise."""
    leaves, adds = _light_fields(rng, world.light, world.horizon)
    image = ImageChops.multiply(image, _field(leaves))
    if world.light.glare:
        image = ImageChops.screen(image, _field(adds))
    image = _defocus(image, blur)
    left, top = (int(v) for v in rng.integers(0, 128, 2))
    noise = _sensor_noise().crop((left, top, left + WIDTH, top + HEIGHT))
    return ImageChops.add(image, noise, 1, -128)


def misjudge(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """The picture by a camera that has misjudged the light: darker or washed out, of other contrast and tint."""
    levels = (np.arange(256) / 255) ** np.exp(rng.uniform(-0.3, 0.9)) * np.exp(rng.uniform(np.log(0.5), np.log(2.2)))
    tinted = np.clip(255 * rng.uniform(0.93, 1.07, (3, 1)) * levels, 0, 255)
    return image.point(tinted.round().astype(int).flatten().tolist())
