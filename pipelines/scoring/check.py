"""What scoring would find, from the headers alone: images that it cannot read, and those that it reads slowly."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

from pipelines.catalog.build import LARGE
from pipelines.catalog.schema import Entry
from pipelines.errors import ImageError
from pipelines.lost import LOST, surviving
from pipelines.storage import objects
from pipelines.storage.headers import Header, read_header
from pipelines.storage.images import image_error
from pipelines.storage.layouts import SLIDE_TILE
from pipelines.storage.stats import Counters
from pipelines.storage.views import VIEW_MARGIN, level_of_view

FILE_NAME = "check.parquet"
BREAK_EVEN = 2_000_000  # pixels, from which on tiles are cheaper than the whole image
AT_ONCE = 32  # images of a task: each waits for the network, three times or so
MIN_TASKS, MIN_ROWS, MAX_ROWS = 64, 32, 1024  # images of a task: a start costs as much as some tens of headers

CHECKS = pa.schema(
    [
        ("image_id", pa.string()),
        ("uri", pa.string()),
        ("status", pa.string()),  # "ok" or a code of pipelines.storage.images.STATUSES
        ("reason", pa.string()),  # "" when ok; what follows is "" and 0 when not, but for what the check itself read
        ("height", pa.int32()),  # of the full image, upright
        ("width", pa.int32()),
        ("layout", pa.string()),  # "tiles" | "strips" | "whole" | "slide", as in a catalog
        ("format", pa.string()),  # by Pillow's names, or "SLIDE"
        ("n_bytes", pa.int64()),  # of the object
        ("findings", pa.list_(pa.string())),  # keys of FINDINGS
        ("patch_bytes", pa.int64()),  # that one patch costs, on average; 0 of a slide, where OpenSlide alone knows
        ("patch_pixels", pa.int64()),  # that are decoded for it
        ("view_pixels", pa.int64()),  # that are decoded for the view
        ("requests", pa.int32()),  # of the check itself
        ("bytes_read", pa.int64()),
    ]
)
_NUMBERED = CHECKS.append(pa.field("number", pa.int64()))
_UNREAD = {"layout": "", "format": "", "findings": []} | dict.fromkeys(
    ("height", "width", "n_bytes", "patch_bytes", "patch_pixels", "view_pixels"), 0
)
_CONVERT = "`jobs/build_catalog.py --source labels_csv --images URI --convert URI` makes tiled pyramids: score these."

FINDINGS = {
    "untiled": ("a patch costs reading {patch_bytes} and decoding {patch_pixels}, on average", _CONVERT),
    "progressive": (
        "JPEG that decodes at half the speed",
        "Write it as baseline JPEG (`jpegtran -copy all` loses nothing), or convert it as the untiled.",
    ),
    "no_levels": ("no level is small enough: the view costs decoding {view_pixels}, on average", _CONVERT),
    "too_small": (
        "smaller than a patch, which is mostly padding then, or than the view",
        "Leave it out, or score it with a model of smaller patches.",
    ),
}
"""What an image may be scored in spite of, what that means, and what to do about it."""

log = logging.getLogger(__name__)

_UNITS = {"patch_bytes": "MB", "patch_pixels": "MP", "view_pixels": "MP"}


@dataclass(frozen=True, slots=True)
class Checked:
    """What the headers say of all images."""

    rows: pa.Table
    """Of CHECKS, in the order of the images."""

    def table(self) -> str:
        """Statuses and findings with their images, an example, and what to do; what the check took."""
        groups = self._groups()
        fine = sum(not found for found in self._found())
        lines = [f"{len(self.rows):,} images, {fine:,} of them with nothing to be said against"]
        for code in sorted(groups, key=lambda code: (code in FINDINGS, -len(groups[code]))):
            meaning, remedy = self._told(code, groups[code])
            example = self.rows["uri"][groups[code][0]].as_py()
            lines += [f"{code:14}{len(groups[code]):9,}  {meaning}", *(f"{'':25}{line}" for line in (example, remedy))]
        requests, read = (pc.mean(self.rows[name]).as_py() for name in ("requests", "bytes_read"))
        return "\n".join([*lines, f"a header took {requests:.1f} requests and {read / 1e3:.1f} kB"])

    def _found(self) -> list[list[str]]:
        """Of each image its findings, or its status."""
        pairs = zip(self.rows["status"].to_pylist(), self.rows["findings"].to_pylist(), strict=True)
        return [findings if status == "ok" else [status] for status, findings in pairs]

    def _groups(self) -> dict[str, list[int]]:
        """The rows of each status and finding."""
        groups: dict[str, list[int]] = {}
        for row, codes in enumerate(self._found()):
            for code in codes:
                groups.setdefault(code, []).append(row)
        return groups

    def _told(self, code: str, rows: list[int]) -> tuple[str, str]:
        """What a code means for these rows, and what to do."""
        if code in FINDINGS:
            meaning, remedy = FINDINGS[code]
            means = {name: pc.mean(self.rows[name].take(rows)).as_py() / 1e6 for name in _UNITS}
            return meaning.format(**{name: f"{means[name]:.1f} {unit}" for name, unit in _UNITS.items()}), remedy
        reason = self.rows["reason"][rows[0]].as_py()
        return f"cannot be scored: {reason}", image_error("", code, reason).remedy


def check(entries: Sequence[Entry], *, patch_size: int, view_size: tuple[int, int], out: str) -> Checked:
    """Reads the header of every image, some KB, and writes what it says to OUT/check.parquet; needs a connected Ray.

    Args:
        entries: the images, at least one.
        patch_size: of the model, pixels of the full image.
        view_size: (height, width) of the model's view.
        out: folder, any fsspec URI; a former check in it is replaced.
    """
    wanted = {"patch_size": patch_size, "view_size": view_size}
    found = ray.data.from_arrow(_blocks(entries)).map_batches(
        _checked, batch_size=None, batch_format="pyarrow", fn_kwargs=wanted
    )
    tables = list(found.iter_batches(batch_size=None, batch_format="pyarrow"))
    rows = pa.concat_tables(tables).sort_by("number").select(CHECKS.names)
    pq.write_table(rows, sink := pa.BufferOutputStream())
    objects.write_bytes(objects.join(out, FILE_NAME), sink.getvalue().to_pybytes())
    return Checked(rows)


def _blocks(entries: Sequence[Entry]) -> list[pa.Table]:
    """A table for each task. The images are numbered: blocks come back in any order."""
    rows = [(number, entry.image_id, entry.uri) for number, entry in enumerate(entries)]
    table = pa.table(list(zip(*rows, strict=True)), names=["number", "image_id", "uri"])
    per_task = min(MAX_ROWS, max(MIN_ROWS, len(entries) // MIN_TASKS))
    return [table.slice(start, per_task) for start in range(0, len(entries), per_task)]


def _checked(images: pa.Table, **wanted: Any) -> pa.Table:
    return surviving(partial(_check_block, **wanted), images, _lost)


def _lost(images: pa.Table) -> pa.Table:
    said = {**_UNREAD, "status": "unreadable", "reason": LOST, "requests": 0, "bytes_read": 0}
    return pa.Table.from_pylist([{**image, **said} for image in images.to_pylist()], schema=_NUMBERED)


def _check_block(images: pa.Table, patch_size: int, view_size: tuple[int, int]) -> pa.Table:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows = pool.map(lambda image: _row(image, patch_size, view_size), images.to_pylist())
        return pa.Table.from_pylist(list(rows), schema=_NUMBERED)


def _row(image: Mapping[str, Any], patch_size: int, view_size: tuple[int, int]) -> dict[str, Any]:
    counters = Counters()
    try:
        header = read_header(image["uri"], counters)
        said = {"status": "ok", "reason": "", **_said(header, patch_size, view_size)}
    except ImageError as error:
        said = {**_UNREAD, "status": error.status, "reason": error.reason}
    except MemoryError as error:
        said = {**_UNREAD, "status": "too_large", "reason": f"out of memory: {error}"}
    except Exception as error:  # which nobody foresaw
        log.warning("%s is unreadable", image["uri"], exc_info=error)
        said = {**_UNREAD, "status": "unreadable", "reason": f"{type(error).__name__}: {error}"}
    stats = counters.snapshot()
    return {**image, **said, "requests": stats.requests, "bytes_read": stats.bytes_read}


def _said(header: Header, patch_size: int, view_size: tuple[int, int]) -> dict[str, Any]:
    patch_bytes, patch_pixels = _patch_cost(header, patch_size)
    said = {
        **dict(zip(("height", "width"), header.sizes[0], strict=True)),
        "layout": header.layout,
        "format": header.format,
        "n_bytes": header.stat.size,
        "patch_bytes": patch_bytes,
        "patch_pixels": patch_pixels,
        "view_pixels": _view_pixels(header, view_size),
    }
    return said | {"findings": _findings(header, patch_size, view_size)}


def _findings(header: Header, patch_size: int, view_size: tuple[int, int]) -> list[str]:
    (height, width), least = header.sizes[0], [max(patch_size, side) for side in view_size]
    in_pieces = header.layout in ("tiles", "slide")
    found = {
        "untiled": not in_pieces and height * width > BREAK_EVEN,
        "progressive": header.progressive,
        "no_levels": in_pieces and _view_pixels(header, view_size) > max(LARGE, 2 * _least_pixels(header, view_size)),
        "too_small": height < least[0] or width < least[1],
    }
    return [code for code, is_so in found.items() if is_so]


def _view_pixels(header: Header, view_size: tuple[int, int]) -> int:
    """Of the level that a view is made from."""
    height, width = header.sizes[level_of_view(header.sizes, view_size)]
    return height * width


def _least_pixels(header: Header, view_size: tuple[int, int]) -> int:
    """The same of a pyramid in which each level is half as high and wide as the one before."""
    height, width = header.sizes[0]
    while height >= 2 * VIEW_MARGIN * view_size[0] and width >= 2 * VIEW_MARGIN * view_size[1]:
        height, width = (height + 1) // 2, (width + 1) // 2
    return height * width


def _patch_cost(header: Header, patch_size: int) -> tuple[int, int]:
    """Bytes and pixels of the tiles that a patch touches, on average over its places."""
    tile, n_bytes = _tile(header)
    touched = 1.0
    for side, of_tile in zip(header.sizes[0], tile, strict=True):
        touched *= min(1 + (patch_size - 1) / of_tile, -(-side // of_tile))
    return round(touched * n_bytes), round(touched * tile[0] * tile[1])


def _tile(header: Header) -> tuple[tuple[int, int], float]:
    """Height and width of a tile, a strip or the whole, and its bytes on average."""
    if header.index is not None:
        level = header.index.levels[0]
        return level.tile, level.planes * float(np.mean(level.counts))
    return ((SLIDE_TILE, SLIDE_TILE), 0) if header.layout == "slide" else (header.sizes[0], header.stat.size)
