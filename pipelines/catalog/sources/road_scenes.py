"""Generated road scenes with Swedish speed signs: the data set that needs no network.

Each scene is 960 x 1280 pixels: sky, land, a road with cars, trees, houses, and, unless its class is EMPTY, a 50, 70 or
80 sign, among other traffic signs. Round shop logos and traffic lights stand in scenes of every class. The images are
written in the layout that `speed_limits` reads, beside a marker of the settings:

    IMAGES/road_scenes.json    IMAGES/Set1/annotations.txt, 00000.jpg, ... (train)    IMAGES/Set2/... (test)

Difficulties, measured on 300 scenes with a sign each (a patch of 100 x 100 touches a sign when it holds its centre):

    default   signs of 20-28 px, one or two. Readable in a patch, not in the view of 288 x 384 by eye. As in the paper,
              half of the images are EMPTY. Ten uniform draws touch a sign of the image's class in 13 % of the scenes
              that have one: attention has to be found before anything is learned, which takes hours on a CPU.
    easy      for a demo of minutes: signs of 104-120 px, which fill a patch, up to ten of the image's class, balanced
              classes. Ten uniform draws touch one in 46 % of the scenes that have one. Its numbers can be read in the
              view: it shows that all works, not what the method can do.

Painting and writing take 70-100 ms of one core an image.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from pipelines.catalog.schema import Box, Entry
from pipelines.catalog.sources.generated import GeneratedFolder, write_jpeg
from pipelines.catalog.sources.scenes.painter import render_scene
from pipelines.catalog.sources.scenes.placement import DIFFICULTIES
from pipelines.catalog.sources.scenes.world import HEIGHT, WIDTH
from pipelines.catalog.sources.speed_limits import SpeedLimits
from pipelines.errors import CatalogError
from pipelines.storage import objects

MARKER = "road_scenes.json"
VERSION = 2  # raised when the same settings paint other pixels
PARTS = ("Set1", "Set2")  # train, test


@dataclass(frozen=True)
class RoadScenes:
    """Road scenes, generated into `images` at the first use; later uses must ask for the same settings."""

    images: str
    """Directory or URI prefix: empty, or generated before."""
    n_train: int = 600
    n_test: int = 300
    difficulty: str = "default"
    """Name of a level in DIFFICULTIES."""
    seed: int = 0

    classes: ClassVar[tuple[str, ...]] = SpeedLimits.classes
    view_size: ClassVar[tuple[int, int]] = SpeedLimits.view_size

    def __post_init__(self) -> None:
        if self.difficulty not in DIFFICULTIES:
            known = ", ".join(DIFFICULTIES)
            raise CatalogError("difficulty", f"there is no {self.difficulty!r}", f"Take one of: {known}")
        if min(self.n_train, self.n_test, self.seed) < 0:
            raise CatalogError("road scenes", "a number of images or the seed is negative", "Give 0 or more")

    def entries(self) -> list[Entry]:
        """The generated images as the loader of the Swedish signs reads them.

        CatalogError when the folder holds anything else, scenes of other settings included.
        """
        folder = GeneratedFolder(self.images, MARKER, self._settings, last=f"{PARTS[-1]}/annotations.txt")
        if not folder.is_complete():
            parts = dict(zip(PARTS, (self.n_train, self.n_test), strict=True))
            folder.fill(parts, self._write_scene, "road scenes")
        return SpeedLimits(images=self.images).entries()

    @property
    def _settings(self) -> dict[str, Any]:
        settings = asdict(self) | {"version": VERSION, "level": asdict(DIFFICULTIES[self.difficulty])}
        settings.pop("images")
        return settings

    def _write_scene(self, part: int, index: int) -> str:
        """Paints and writes one image; its line of annotations.txt."""
        level, name = DIFFICULTIES[self.difficulty], f"{index:05d}.jpg"
        label = label_of(self.seed, part, index, level.cycle)
        image, signs = render_scene(np.random.default_rng((self.seed, part, index)), label, level)
        write_jpeg(objects.join(self.images, PARTS[part], name), image)
        return f"{name}:{';'.join(sign.annotation() for sign in signs)}\n"


def label_of(seed: int, part: int, index: int, cycle: Sequence[int]) -> int:
    """The class of an image: every run of len(cycle) images holds the cycle's labels, in an order of its own."""
    run, place = divmod(index, len(cycle))
    return int(np.random.default_rng((seed, part, run, 1)).permutation(cycle)[place])


def touch_probability(
    boxes: Iterable[Box], *, n_draws: int = 10, patch_size: int = 100, cells: tuple[int, int] = (35, 47)
) -> float:
    """Chance that of `n_draws` uniformly drawn patches at least one holds the centre of a box.

    Patches are centred on the cells of a grid of rows x columns over the scene; draws are independent: 1 - (1 - p)^n.
    """
    y, x = ((np.arange(n) + 0.5) * size / n for n, size in zip(cells, (HEIGHT, WIDTH), strict=True))
    touches = np.zeros(cells, dtype=bool)
    for y0, x0, y1, x1 in boxes:
        rows, columns = np.abs(y - (y0 + y1) / 2) < patch_size / 2, np.abs(x - (x0 + x1) / 2) < patch_size / 2
        touches |= rows[:, None] & columns[None, :]
    return float(1 - (1 - touches.mean()) ** n_draws)
