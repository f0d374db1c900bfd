"""What a catalog holds: a Parquet row an image, and a sidecar that says what the rows mean."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from pipelines.errors import CatalogError
from pipelines.storage import objects

Box = tuple[float, float, float, float]
"""(y0, x0, y1, x1), half-open, in level-0 pixels."""

BOX_SIDES = ("y0", "x0", "y1", "x1")

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),  # unique in the catalog
        ("uri", pa.string()),
        ("etag", pa.string()),  # changes when the object is overwritten; "" when the image could not be read
        ("n_bytes", pa.int64()),  # of the stored object
        ("height", pa.int32()),  # of the decoded image, orientation applied
        ("width", pa.int32()),
        ("channels", pa.int32()),
        ("dtype", pa.string()),  # of the decoded pixels
        ("index", pa.binary()),  # as `layouts.ImageRef` has it: where its tiles or strips lie
        ("layout", pa.string()),  # "tiles" | "strips" | "whole" | "slide": how a part of it is had
        ("source_uri", pa.string()),  # what a converted image was made from; "" where the object is the source's
        ("label", pa.int32()),  # index into the manifest's classes, -1 unlabelled
        ("split", pa.string()),  # "train" | "test" | "fold0"... | "" unlabelled
        ("group", pa.string()),  # images of one group never lie on both sides of a generated split
        ("boxes", pa.list_(pa.struct([(side, pa.float32()) for side in BOX_SIDES]))),
        ("status", pa.string()),  # "ok" or a code of pipelines.storage.images.STATUSES
        ("reason", pa.string()),  # "" when ok
        ("view", pa.binary()),  # raw uint8 [view_height, view_width, channels], C order; empty when not ok
        ("view_height", pa.int32()),
        ("view_width", pa.int32()),
        ("requests", pa.int32()),  # to the storage, to make this row; conversion included
        ("bytes_read", pa.int64()),
        ("seconds", pa.float32()),  # of one core, about: waiting, decoding, encoding
    ]
)

MANIFEST_NAME = "_catalog.json"
FORMAT_VERSION = 2  # of the columns; 1 had no index


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a source says of an image before anyone has opened it."""

    image_id: str
    uri: str
    label: int = -1
    split: str = ""
    group: str = ""
    boxes: tuple[Box, ...] = ()


class Source(Protocol):
    """A data set: a frozen dataclass of options that lists its images."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels 0, 1, ...; empty when nothing is labelled."""

    @property
    def view_size(self) -> tuple[int, int]:
        """The (height, width) of the view that suits the data, unless the user says otherwise."""

    def entries(self) -> list[Entry]:
        """One entry an image, in a fixed order; CatalogError when the layout is not the source's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The sidecar `_catalog.json`, written last: a directory without it is no catalog."""

    source: str
    classes: tuple[str, ...]
    view_size: tuple[int, int]
    created_by: str
    counts: tuple[Mapping[str, Any], ...] = field(default=())
    """A row for each "split", "label", "status" and "layout" that occur together: their "images" and "bytes",
    and the "requests", "bytes_read" and "seconds" that it took to make their rows."""
    format_version: int = FORMAT_VERSION

    def images_by(self, key: str, **only: Any) -> dict[Any, int]:
        """Images by "split", "label", "status" or "layout"; of the rows with the given values alone: `status="ok"`."""
        totals: Counter[Any] = Counter()
        for row in self.counts:
            if all(row[name] == value for name, value in only.items()):
                totals[row[key]] += row["images"]
        return dict(sorted(totals.items()))

    def write(self, catalog: str) -> None:
        """Writes the sidecar into the catalog directory."""
        objects.write_bytes(objects.join(catalog, MANIFEST_NAME), json.dumps(asdict(self), indent=2).encode())

    @classmethod
    def read(cls, catalog: str) -> "Manifest":
        """The sidecar of a finished catalog; CatalogError for anything else."""
        try:
            values = json.loads(objects.read_bytes(objects.join(catalog, MANIFEST_NAME)))
            values["classes"], values["view_size"] = tuple(values["classes"]), tuple(values["view_size"])
            manifest = cls(**{"format_version": 1} | values | {"counts": tuple(values["counts"])})
        except FileNotFoundError as error:
            reason = f"there is no {MANIFEST_NAME}: not a catalog, or one whose building did not end"
            raise CatalogError(catalog, reason, "Build it again, with jobs/build_catalog.py --overwrite.") from error
        except (ValueError, KeyError, TypeError) as error:
            reason = f"{MANIFEST_NAME} cannot be understood ({error})"
            raise CatalogError(catalog, reason, "Build it again, with this version's jobs/build_catalog.py.") from error
        if manifest.format_version != FORMAT_VERSION:
            reason = f"it is of format {manifest.format_version}, and this version reads format {FORMAT_VERSION}"
            raise CatalogError(catalog, reason, "Build it again, with jobs/build_catalog.py --overwrite.")
        return manifest
