"""Swedish traffic signs (Larsson & Felsberg 2011): which speed limit does the road scene show?

Layout, under `images`, a directory or a URI prefix; train is Set1, test is Set2:

    Set1/annotations.txt    or    Set1Part0/annotations.txt    or    Set1/Set1Part0/annotations.txt
    Set1/NAME.jpg           or    Set1Part0/NAME.jpg           or    Set1/Set1Part0/NAME.jpg

that is, `annotations.txt` and the images lie anywhere below a folder whose name starts with "Set1" (or "Set2"); an
image is found by its file name. A line of annotations.txt is `NAME.jpg:SIGN;SIGN;...`, with nothing after the colon
when there is no sign, and a sign is `VISIBILITY, x_max, y_max, x_min, y_min, TYPE, NAME`, for instance

    1277381670Image000008.jpg:VISIBLE, 903.5, 428.2, 877.0, 402.1, PROHIBITORY, 50_SIGN;MISC_SIGNS;

VISIBILITY is VISIBLE, BLURRED, SIDE_ROAD or OCCLUDED. The rules are those of the authors of attention sampling
(github.com/idiap/attention-sampling): 747 training and 684 test images.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipelines.catalog.schema import Box, Entry
from pipelines.catalog.sources.listing import list_source
from pipelines.errors import CatalogError
from pipelines.storage import objects

CLASSES = ("EMPTY", "50_SIGN", "70_SIGN", "80_SIGN")
VISIBILITIES = ("VISIBLE", "BLURRED", "SIDE_ROAD", "OCCLUDED")  # best first
SPLITS = {"Set1": "train", "Set2": "test"}

_NUMBER = re.compile(r"[-+]?\d*\.?\d+")


@dataclass(frozen=True, slots=True)
class Sign:
    """One annotated sign."""

    visibility: str
    box: Box
    name: str

    @property
    def area(self) -> float:
        """In square pixels."""
        y0, x0, y1, x1 = self.box
        return (y1 - y0) * (x1 - x0)


@dataclass(frozen=True)
class SpeedLimits:
    """Swedish traffic signs, in the original layout."""

    images: str
    """Directory or URI prefix that holds Set1 and Set2."""

    classes: ClassVar[tuple[str, ...]] = CLASSES
    view_size: ClassVar[tuple[int, int]] = (288, 384)

    def entries(self) -> list[Entry]:
        """The images that the rules keep, Set1 before Set2; an annotated file that is not there becomes a missing row.

        Raises:
            CatalogError: the layout is another, or a line of annotations.txt cannot be read.
        """
        uris = list_source(self.images)
        folder = objects.root(self.images)
        return [entry for part, split in SPLITS.items() for entry in _set_entries(folder, uris, part, split)]


def _set_entries(images: str, uris: Sequence[str], part: str, split: str) -> list[Entry]:
    inside = [uri for uri in uris if any(p.startswith(part) for p in objects.relative(uri, images).split("/")[:-1])]
    annotations = [uri for uri in inside if uri.endswith("/annotations.txt")]
    if len(annotations) != 1:
        reason = f"{len(annotations)} annotations.txt below {part}*/, there must be one"
        raise CatalogError(images, reason, "Name the folder that holds Set1 and Set2, or fetch it with --download.")
    by_name = {uri.rsplit("/", 1)[1]: uri for uri in inside}
    folder = annotations[0].rsplit("/", 1)[0]
    text = objects.read_bytes(annotations[0]).decode(errors="replace")
    return [
        Entry(
            image_id=f"{part}/{name}",
            uri=by_name.get(name, objects.join(folder, name)),
            label=label,
            split=split,
            boxes=boxes_of(signs, CLASSES[label]),
        )
        for name, signs in parse_annotations(text, annotations[0]).items()
        if (label := choose_label(signs)) is not None
    ]


def parse_annotations(text: str, thing: str = "annotations.txt") -> dict[str, list[Sign]]:
    """Image name to its signs, in file order, without `MISC_SIGNS`; CatalogError names a line that cannot be read."""
    images: dict[str, list[Sign]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, colon, signs = line.strip().partition(":")
        try:
            if not colon:
                raise ValueError("no colon after the image's name")
            images.setdefault(name, []).extend(parse_signs(signs))
        except ValueError as error:
            raise CatalogError(f"{thing}, line {number}", str(error), "Restore it from the original.") from error
    return images


def parse_signs(text: str) -> list[Sign]:
    """The signs of one line, after the image's name."""
    signs = (sign.strip() for sign in text.split(";"))
    return [parse_sign(sign) for sign in signs if sign and not sign.startswith("MISC_SIGNS")]


def parse_sign(text: str) -> Sign:
    """`VISIBILITY, x_max, y_max, x_min, y_min, TYPE, NAME`; numbers may have trailing junk. ValueError otherwise."""
    fields = [field.strip() for field in text.split(",")]
    if len(fields) < 7:
        raise ValueError(f"not a sign: {text!r}")
    x1, y1, x0, y0 = (_leading_number(field) for field in fields[1:5])
    return Sign(fields[0], (y0, x0, y1, x1), fields[6])


def _leading_number(text: str) -> float:
    number = _NUMBER.match(text)
    if number is None:
        raise ValueError(f"not a number: {text!r}")
    return float(number.group())


def choose_label(signs: Sequence[Sign]) -> int | None:
    """The image's class, None when the image is dropped.

    No sign: EMPTY. Otherwise the best speed limit by visibility, then by area, which must be VISIBLE.
    """
    if not signs:
        return 0
    rank = {visibility: i for i, visibility in enumerate(VISIBILITIES)}
    limits = [sign for sign in signs if sign.name in CLASSES[1:]]
    best = min(limits, key=lambda sign: (rank.get(sign.visibility, len(rank)), -sign.area), default=None)
    return CLASSES.index(best.name) if best is not None and best.visibility == "VISIBLE" else None


def boxes_of(signs: Iterable[Sign], name: str) -> tuple[Box, ...]:
    """The boxes of all the signs of one name, each once, in file order."""
    return tuple(dict.fromkeys(sign.box for sign in signs if sign.name == name))
