"""Entries -> rows: open each image once, and keep its sizes, its index and its view; or why there are none."""

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pyarrow as pa

from pipelines.catalog.convert import converted
from pipelines.catalog.opened import dump_index, open_image
from pipelines.catalog.schema import SCHEMA, Entry
from pipelines.errors import ImageError
from pipelines.lost import LOST, surviving
from pipelines.storage import objects
from pipelines.storage.layouts import CHANNELS
from pipelines.storage.pyramid import Codec
from pipelines.storage.ranges import DEFAULT, Network, stat
from pipelines.storage.stats import Counters

ENTRY_SCHEMA = pa.schema([SCHEMA.field(name) for name in Entry.__slots__])
log = logging.getLogger(__name__)

_NO_SIZES = dict.fromkeys(("n_bytes", "height", "width", "channels", "view_height", "view_width"), 0)
_UNREAD = {"etag": "", "dtype": "", "index": b"", "layout": "", "source_uri": "", "view": b"", **_NO_SIZES}


def describe(
    entries: pa.Table,
    view_size: tuple[int, int],
    *,
    convert: str | None = None,
    codec: Codec = "jpeg",
    checksums: bool = False,
    at_once: int = 1,
    network: Network = DEFAULT,
) -> pa.Table:
    """Catalog rows, of SCHEMA, for a table of entries, so many at once; the options are those of `build_catalog`.

    `network` is how patiently images are asked for that are not converted.
    """
    with ThreadPoolExecutor(at_once) as pool:
        rows = pool.map(lambda entry: _row(entry, view_size, convert, codec, checksums, network), entries.to_pylist())
        return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def described(entries: pa.Table, view_size: tuple[int, int], **options: Any) -> pa.Table:
    """`describe` as a task of Ray: an image that kills the process that opens it is unreadable, and no other is."""
    return surviving(partial(describe, view_size=view_size, **options), entries, lost)


def lost(entries: pa.Table) -> pa.Table:
    """The rows of images of which nobody could say more than that they kill their process."""
    said = {**_UNREAD, "status": "unreadable", "reason": LOST, "requests": 0, "bytes_read": 0, "seconds": 0.0}
    return pa.Table.from_pylist([{**entry, **said} for entry in entries.to_pylist()], schema=SCHEMA)


def _row(
    entry: Mapping[str, Any],
    view_size: tuple[int, int],
    convert: str | None,
    codec: Codec,
    checksums: bool,
    network: Network,
) -> dict[str, Any]:
    counters, began = Counters(), time.perf_counter()
    try:
        if convert is None:
            read = _read(entry["uri"], counters, view_size, checksums, network)
        else:
            target = objects.join(convert, f"{entry['image_id']}.tif")  # appended: a.png and a.jpg may both be there
            read = _convert(entry["uri"], target, codec, counters, view_size, checksums)
        read |= {"status": "ok", "reason": ""}
    except ImageError as error:
        read = {**_UNREAD, "status": error.status, "reason": error.reason}
    except MemoryError as error:  # numpy's says how much was wanted
        read = {**_UNREAD, "status": "too_large", "reason": f"out of memory: {error}"}
    except Exception as error:  # which nobody foresaw: of an image that is only read, it loses nothing else
        if convert is not None:
            raise
        log.warning("%s is unreadable", entry["uri"], exc_info=error)
        read = {**_UNREAD, "status": "unreadable", "reason": f"{type(error).__name__}: {error}"}
    stats = counters.snapshot()
    cost = {"requests": stats.requests, "bytes_read": stats.bytes_read, "seconds": time.perf_counter() - began}
    return {**entry, **read, **cost}


def _convert(
    uri: str, target: str, codec: Codec, counters: Counters, view_size: tuple[int, int], checksums: bool
) -> dict[str, Any]:
    with converted(uri, target, counters, codec=codec) as nearest:
        of_storage = counters if nearest == target else Counters()  # a temporary file costs no requests
        read = _read(nearest, of_storage, view_size, checksums)
    stored = stat(target, counters=counters)
    return {**read, "uri": target, "etag": stored.etag, "n_bytes": stored.size, "source_uri": uri}


def _read(
    uri: str, counters: Counters, view_size: tuple[int, int], checksums: bool, network: Network = DEFAULT
) -> dict[str, Any]:
    """All that a row says of an image itself. Overwritten while it is read, it is stale, never half of each."""
    image = open_image(uri, counters, network)
    view = image.view(view_size)
    return {
        "etag": image.stat.etag,
        "n_bytes": image.stat.size,
        **dict(zip(("height", "width"), image.sizes[0], strict=True)),
        "channels": CHANNELS,
        "dtype": str(view.dtype),
        "index": dump_index(image, counters, network, checksums=checksums),
        "layout": image.layout,
        "source_uri": "",
        "view": view.tobytes(),
        **dict(zip(("view_height", "view_width"), view_size, strict=True)),
    }
