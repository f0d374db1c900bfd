"""Painted road scenes with German signs: what networks can learn of GTSDB before they see a frame of it.

600 frames with a label each teach networks from scratch nothing of signs a few pixels wide; as many painted scenes as
one likes do. Scenes of every class have other signs, logos and traffic lights. Clear ones teach first; adverse ones are
as hard to read as frames: the sun is behind some signs, the picture too dark or washed out.

Layout, beside a marker of the settings; a gt.txt is as that of GTSDB:

    IMAGES/german_scenes.json    IMAGES/train/gt.txt, 00000.jpg, ...    IMAGES/test/...
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from pipelines.catalog.schema import Entry
from pipelines.catalog.sources.generated import GeneratedFolder, write_jpeg
from pipelines.catalog.sources.gtsdb import TASKS, choose_label, parse_signs
from pipelines.catalog.sources.road_scenes import label_of
from pipelines.catalog.sources.scenes.german import GERMAN, kind_of, name_of
from pipelines.catalog.sources.scenes.painter import render_scene
from pipelines.catalog.sources.scenes.placement import Difficulty, Sign
from pipelines.catalog.sources.scenes.signs import Vocabulary
from pipelines.errors import CatalogError
from pipelines.storage import objects

MARKER = "german_scenes.json"
VERSION = 1  # raised when the same settings paint other pixels
PARTS = ("train", "test")
SIGN_PX = (18.0, 80.0)
"""Size of most signs of a scene, alike in logarithm; each has .7 to 1.4 times that."""


def scene_of(size: float, n_classes: int) -> Difficulty:
    """A scene whose signs are of about that size, pixels."""
    return Difficulty(
        cycle=tuple(range(n_classes)),
        sign_px=(0.7 * size, 1.4 * size),
        n_signs=(1, 2),
        gantries=(0, 1),
        flagged=0.0,
        n_others=(0, 3),
        n_lookalikes=(0, 2),
        blur=(0.0, 0.5),
        light=0.5,
    )


@dataclass(frozen=True)
class GermanScenes:
    """Road scenes with German signs, painted into `images` at the first use; later uses must ask for the same."""

    images: str
    """Directory or URI prefix: empty, or painted before."""
    task: Literal["prohibitory", "speed_limit"] = "prohibitory"
    """As of GTSDB: a sign of any prohibitory type against none; or a limit of 50, 70, 80 against none of them."""
    light: Literal["clear", "adverse"] = "clear"
    """Scenes to begin with, or those that are as hard to read as real ones."""
    n_train: int = 1200
    n_test: int = 200
    seed: int = 0

    view_size: ClassVar[tuple[int, int]] = (288, 384)

    def __post_init__(self) -> None:
        if min(self.n_train, self.n_test, self.seed) < 0:
            raise CatalogError("german scenes", "a number of images or the seed is negative", "Give 0 or more")

    @property
    def classes(self) -> tuple[str, ...]:
        """The task's classes."""
        return tuple(TASKS[self.task])

    def entries(self) -> list[Entry]:
        """One entry a scene; CatalogError when the folder holds anything else, scenes of other settings included."""
        folder = GeneratedFolder(self.images, MARKER, self._settings, last=f"{PARTS[-1]}/gt.txt")
        counts = dict(zip(PARTS, (self.n_train, self.n_test), strict=True))
        if not folder.is_complete():
            folder.fill(counts, self._write_scene, "german scenes")
        return [entry for part, n in counts.items() for entry in self._entries(part, n)]

    def _entries(self, part: str, n: int) -> Iterable[Entry]:
        folder = objects.join(self.images, part)
        signs = parse_signs(objects.read_bytes(objects.join(folder, "gt.txt")).decode())
        for index in range(n):
            label, boxes = choose_label(signs.get(index, []), self.task)
            uri = objects.join(folder, f"{index:05d}.jpg")
            yield Entry(image_id=f"{part}/{index:05d}", uri=uri, label=label, split=part, boxes=boxes)

    @property
    def _settings(self) -> dict[str, Any]:
        settings = asdict(self) | {"version": VERSION}
        settings.pop("images")
        return settings

    def _write_scene(self, part: int, index: int) -> str:
        """Paints and writes one image; its lines of gt.txt."""
        rng, name = np.random.default_rng((self.seed, part, index)), f"{index:05d}.jpg"
        scene = scene_of(np.exp(rng.uniform(*np.log(SIGN_PX))), len(self.classes))
        label = label_of(self.seed, part, index, scene.cycle)
        image, signs = render_scene(rng, label, scene, vocabulary_of(self.task), adverse=self.light == "adverse")
        write_jpeg(objects.join(self.images, PARTS[part], name), image)
        return "".join(_line(name, sign) for sign in signs)


def vocabulary_of(task: str) -> Vocabulary:
    """The signs that make each class of a task, and all others."""
    kinds_of_labels = list(TASKS[task].values())[1:]
    deciding = tuple(tuple(map(name_of, kinds)) for kinds in kinds_of_labels)
    others = tuple(name for name in GERMAN if not any(name in names for names in deciding))
    return Vocabulary(deciding, others, others_alone=True)


def _line(name: str, sign: Sign) -> str:
    y0, x0, y1, x1 = sign.box
    return f"{name};{x0};{y0};{x1 - 1};{y1 - 1};{kind_of(sign.name)}\n"
