"""German Traffic Sign Detection Benchmark (Houben et al. 2013): road frames, 1360 x 800, and where their signs are.

Layout: `NNNNN.ppm` (or .jpg, or any image) in `images` or below it, and `gt.txt` among them or one folder above, with
lines `NNNNN.ppm;left;top;right;bottom;class`, all inclusive pixels. Folders 00 to 42 hold cut-out signs, no frames.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pipelines.catalog.schema import Box, Entry
from pipelines.catalog.sources.listing import list_source, stratified_folds, stratified_split
from pipelines.errors import CatalogError
from pipelines.storage import images as images_
from pipelines.storage import objects

FIRST_TEST_FRAME = 600  # 00600-00899 are the official test frames

TASKS: dict[str, dict[str, tuple[int, ...]]] = {
    "prohibitory": {"none": (), "prohibitory": (*range(6), *range(7, 11), 15, 16)},
    "speed_limit": {"none": (), "50": (2,), "70": (4,), "80": (5,)},
}
"""For each task its classes, in the order of their labels, and the sign types that make each."""

Sign = tuple[int, Box]
"""The type of a sign, and where it is."""

_FRAME = re.compile(r"(?:(?:.*/)?(?!\d\d/)[^/]+/)?(\d{5})\.\w+")


@dataclass(frozen=True)
class Gtsdb:
    """German traffic sign frames: is there a prohibitory sign, or which speed limit is there?"""

    images: str
    """Directory or URI prefix of the frames."""
    task: Literal["prohibitory", "speed_limit"] = "prohibitory"
    """A sign of any prohibitory type against none; or a limit of 50, 70, 80 against none of them."""
    seed: int = 0
    """Of the stratified split, one frame in five to test, that stands in where the official test frames are missing."""
    folds: int = 0
    """Split the training frames into fold0, fold1... instead, for cross-validation."""

    view_size: ClassVar[tuple[int, int]] = (240, 408)

    @property
    def classes(self) -> tuple[str, ...]:
        """The task's classes."""
        return tuple(TASKS[self.task])

    def entries(self) -> list[Entry]:
        """One entry a frame, by number. CatalogError when frames or their gt.txt are missing."""
        frames = frame_uris(list_source(self.images), self.images)
        signs = parse_signs(_read_gt(self.images))
        numbers = sorted(frames)
        tests = [n for n in numbers if n >= FIRST_TEST_FRAME]
        if tests and max(signs, default=0) < FIRST_TEST_FRAME:
            raise CatalogError(self.images, "gt.txt has no line of a test frame", "Take the gt.txt of all 900 frames.")
        choices = [choose_label(signs.get(n, []), self.task) for n in numbers]
        splits = self._splits(numbers, [label for label, _ in choices])
        return [
            Entry(image_id=f"{number:05d}", uri=frames[number], label=label, split=split, boxes=boxes)
            for number, (label, boxes), split in zip(numbers, choices, splits, strict=True)
        ]

    def _splits(self, numbers: Sequence[int], labels: Sequence[int]) -> list[str]:
        """The split of each frame."""
        if self.folds:
            train = [label for n, label in zip(numbers, labels, strict=True) if n < FIRST_TEST_FRAME]
            folds = [f"fold{fold}" for fold in stratified_folds(train, self.folds, self.seed)]
            return folds + ["test"] * (len(numbers) - len(train))
        if numbers[-1] >= FIRST_TEST_FRAME:
            return ["test" if n >= FIRST_TEST_FRAME else "train" for n in numbers]
        return stratified_split(labels, self.seed)


def frame_uris(uris: Sequence[str], images: str) -> dict[int, str]:
    """Frame number to URI; CatalogError when there is no frame."""
    folder, pictures = objects.root(images), [uri for uri in uris if images_.is_image(uri)]
    found = {int(m.group(1)): uri for uri in pictures if (m := _FRAME.fullmatch(objects.relative(uri, folder)))}
    if not found:
        raise CatalogError(images, "there is no frame NNNNN.ppm or .jpg", "Name the folder that holds the frames.")
    return found


def _read_gt(images: str) -> str:
    folder = objects.root(images)
    for candidate in (folder, objects.join(folder, "images"), folder.rsplit("/", 1)[0]):
        if objects.exists(uri := objects.join(candidate, "gt.txt")):
            return objects.read_bytes(uri).decode()
    raise CatalogError(images, "there is no gt.txt beside or above the frames", "Put it there; it holds the labels.")


def parse_signs(text: str) -> dict[int, list[Sign]]:
    """Frame number to its signs, from the text of gt.txt; CatalogError names a line that cannot be read."""
    signs: dict[int, list[Sign]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            frame, left, top, right, bottom, kind = line.split(";")
            box = (float(top), float(left), float(bottom) + 1, float(right) + 1)
            signs.setdefault(int(frame.split(".")[0]), []).append((int(kind), box))
        except ValueError as error:
            raise CatalogError(f"gt.txt, line {number}", f"not a sign: {line!r}", "Restore the original.") from error
    return signs


def choose_label(signs: Sequence[Sign], task: str) -> tuple[int, tuple[Box, ...]]:
    """The frame's label, that of its largest sign of the task, and the boxes of all signs of that label."""
    label_of = {kind: label for label, kinds in enumerate(TASKS[task].values()) for kind in kinds}
    matching = [(label_of[kind], box) for kind, box in signs if kind in label_of]
    if not matching:
        return 0, ()
    label, _ = max(matching, key=lambda sign: (sign[1][2] - sign[1][0]) * (sign[1][3] - sign[1][1]))
    return label, tuple(box for other, box in matching if other == label)
