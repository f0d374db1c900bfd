"""Your own images: a folder, a bucket prefix or a glob, and a CSV of labels.

The CSV is UTF-8, comma-separated, with a header of `image,label` and, if wanted, `split` and `group`. An image is named
by its path below `images`, by its full URI, or by its bare file name where only one image has it. Without a CSV all
images are unlabelled. What does not match is a row all the same: an image without a label is unlabelled, a label
without an image is a row of status `missing`.
"""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from pipelines.catalog.schema import Entry
from pipelines.catalog.sources.listing import list_stats, stratified_split
from pipelines.errors import CatalogError
from pipelines.storage import images as images_
from pipelines.storage import objects
from pipelines.storage.objects import ObjectStat

COLUMNS = ("image", "label", "split", "group")  # the last two may be left out

_REMEDY = "Write UTF-8 with a header image,label[,split,group] and a comma between."


@dataclass(frozen=True)
class LabelsCsv:
    """Your own images, with a CSV of labels."""

    images: str
    """Folder, URI prefix or glob."""
    labels: str | None = None
    """The CSV; without it the images are unlabelled."""
    seed: int = 0
    """Of the split, where the CSV has none: one image in five to test, stratified, groups kept together."""

    view_size: ClassVar[tuple[int, int]] = (256, 256)

    @cached_property
    def _rows(self) -> list[dict[str, str]]:
        return [] if self.labels is None else read_labels(self.labels)

    @cached_property
    def content(self) -> str:
        """A digest of what the CSV says; CatalogError when it is none."""
        return hashlib.sha256(json.dumps(self._rows).encode()).hexdigest() if self.labels else ""

    @cached_property
    def stats(self) -> dict[str, ObjectStat]:
        """Sizes and etags of all files that are there, as far as the listing has them."""
        return list_stats(self.images)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted; as numbers when all are whole numbers."""
        names = {row["label"] for row in self._rows} - {""}
        return tuple(sorted(names, key=int if all(name.isdecimal() for name in names) else None))

    def entries(self) -> list[Entry]:
        """One entry an image, sorted by URI, then those that only the CSV knows.

        Raises:
            CatalogError: there are no images; the CSV cannot be read, names an image twice, or is ambiguous.
        """
        folder = objects.root(self.images)
        known = {objects.relative(uri, folder): uri for uri in self.stats if images_.is_image(uri)}
        rows = self._match(known)
        names = {uri: name for name, uri in known.items()}
        names |= {uri: row["image"] for uri, row in rows.items() if uri not in names}
        if not names:
            raise CatalogError(self.images, "there are no images", "Check --images: a folder, a prefix or a glob.")
        blank = dict.fromkeys(COLUMNS, "")
        return self._entries(names, [rows.get(uri, blank) for uri in names])

    def _match(self, known: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """URI to the CSV's row of it."""
        find, rows = _Finder(self.images, known), {}
        for line, row in enumerate(self._rows, 2):
            uri = find(row["image"], f"{self.labels}, line {line}")
            if uri in rows:
                raise CatalogError(f"{self.labels}, line {line}", f"{row['image']!r} is there twice", "Keep one line.")
            rows[uri] = row
        return rows

    def _entries(self, names: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> list[Entry]:
        index = {name: label for label, name in enumerate(self.classes)}
        labels = [index.get(row["label"], -1) for row in rows]
        groups = [row["group"] for row in rows]
        splits = [row["split"] for row in rows]
        if not any(splits):
            splits = stratified_split(labels, self.seed, groups)
        return [
            Entry(image_id=name, uri=uri, label=label, split=split, group=group)
            for (uri, name), label, split, group in zip(names.items(), labels, splits, groups, strict=True)
        ]


class _Finder:
    """What image a name of the CSV means: a path below the root, a URI, or a bare file name."""

    def __init__(self, images: str, known: Mapping[str, str]) -> None:
        self._root, self._uris = objects.root(images), dict(known) | {uri: uri for uri in known.values()}
        self._by_name: dict[str, list[str]] = {}
        for uri in known.values():
            self._by_name.setdefault(uri.rsplit("/", 1)[-1], []).append(uri)

    def __call__(self, name: str, thing: str) -> str:
        name = name.removeprefix("./")
        if name in self._uris:
            return self._uris[name]
        candidates = self._by_name.get(name, [])
        if len(candidates) > 1:
            reason = f"{name!r} may be {candidates[0]} or {candidates[1]}"
            raise CatalogError(thing, reason, "Name images by their path below --images.")
        elsewhere = name if name.startswith("/") or "://" in name else objects.join(self._root, name)
        return candidates[0] if candidates else elsewhere


def read_labels(uri: str) -> list[dict[str, str]]:
    """The rows of a CSV of labels, with all COLUMNS; CatalogError, with the line, when it is not one."""
    try:
        text = objects.read_bytes(uri).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text), strict=True)
        header = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = header
        rows = list(reader)
    except OSError as error:
        raise CatalogError(uri, f"cannot be read ({error})", "Check --labels.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(uri, f"not a CSV ({error})", _REMEDY) from error
    if "image" not in header or "label" not in header:
        raise CatalogError(uri, f"its columns are {header}", _REMEDY)
    return [_checked(row, f"{uri}, line {line}") for line, row in enumerate(rows, 2)]


def _checked(row: Mapping[str | None, str | None], thing: str) -> dict[str, str]:
    if None in row or None in row.values():
        raise CatalogError(thing, "another number of fields than the header", _REMEDY)
    values = {column: (row.get(column) or "").strip() for column in COLUMNS}
    if not values["image"]:
        raise CatalogError(thing, "no image is named", _REMEDY)
    if "split" in row and values["label"] and not values["split"]:
        raise CatalogError(thing, "it has a label but no split", "Fill the column, or leave it out altogether.")
    return values
