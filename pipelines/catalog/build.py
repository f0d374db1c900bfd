"""Entries -> catalog: what is to be known of each image, written as Parquet; and read back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import ray
from ray.data import DataContext
from ray.data.expressions import col

from pipelines.catalog.describe import ENTRY_SCHEMA, described
from pipelines.catalog.schema import BOX_SIDES, MANIFEST_NAME, SCHEMA, Entry, Manifest, Source
from pipelines.errors import CatalogError
from pipelines.provenance import commit
from pipelines.storage import objects
from pipelines.storage.pyramid import Codec

FILE_BYTES = 64 * 2**20  # of views in one Parquet file, at most
MIN_TASKS = 64  # where there are images enough, so that every core of a small cluster has work to the end
MIN_ROWS = 8  # a task's start costs about as much as decoding some images; nothing beside converting one
LARGE = 16_000_000  # pixels, from which on an image that is stored whole is worth a warning
MARKER = "_building"  # of a catalog that is not there yet
BLOCK_ROWS = 64  # of a catalog that is read: 20 MB of views of 288 x 384


def build_catalog(
    source: Source,
    out: str,
    *,
    view_size: tuple[int, int] | None = None,
    convert: str | None = None,
    codec: Codec = "jpeg",
    checksums: bool = False,
    overwrite: bool = False,
    limit: int | None = None,
) -> Manifest:
    """Writes the catalog of a source into the directory `out`, any fsspec URI: a row an image, readable or not.

    `_catalog.json` is removed first and written last, so that a catalog half written is no catalog. Until then there
    is `_building`: what has neither of the two is not replaced.

    Args:
        source: lists the images.
        out: must be empty or new, unless `overwrite`: then the Parquet files of the catalog in it are removed.
        view_size: (height, width) of the views; the source's own when not given.
        convert: write each image as a tiled pyramid below this folder or URI first, and refer to these; those that a
            former run has written are kept.
        codec: of the pyramids; only 8-bit colour can be JPEG.
        checksums: keep a crc32c of every tile, for which every byte of the images is read.
        overwrite: replace the catalog that is there, whole or half built.
        limit: take this many images, evenly spread over the source's list.

    Raises:
        CatalogError: there is nothing to read, two images have one id, `out` is not empty, or `convert` would list
            or write what it should not.
        OSError: an image or the catalog cannot be written.
    """
    convert = convert and objects.absolute(convert)
    entries = _checked(source.entries(), source)
    if convert:
        _check_targets(entries, convert)
    entries = _spread(entries, limit)
    view_size = view_size or source.view_size
    if min(view_size) < 1:
        raise CatalogError(f"view of {view_size}", "it has no pixels", "Give --view-size a height and a width.")
    _make_room(out, overwrite)
    filesystem, path = objects.arrow_filesystem(out)
    with _in_order():
        rows = ray.data.from_arrow(_blocks(entries, view_size, 1 if convert else MIN_ROWS))
    wanted = {"view_size": view_size, "convert": convert, "codec": codec, "checksums": checksums}
    rows = rows.map_batches(described, batch_size=None, batch_format="pyarrow", fn_kwargs=wanted)
    rows.write_parquet(path, filesystem=filesystem, row_group_size=BLOCK_ROWS)  # a few rows may be read alone
    manifest = Manifest(
        source=repr(source),
        classes=source.classes,
        view_size=view_size,
        created_by=f"attention-sampling {commit()}",
        counts=_counts(out, len(entries)),
    )
    manifest.write(out)
    objects.delete([objects.join(out, MARKER)])
    return manifest


def read_catalog(uri: str, *, splits: Sequence[str] | None = None) -> ray.data.Dataset:
    """The readable images of some splits (of all by default), in the catalog's order, in small blocks.

    Raises:
        CatalogError: it is no finished catalog, or has no readable image in one of the splits.
    """
    available = Manifest.read(uri).images_by("split", status="ok")
    for split in available if splits is None else splits:
        if split not in available:
            reason = f"no readable image in split {split!r}; there are {list(available)}"
            raise CatalogError(uri, reason, "Choose one of these, or build the catalog again.")
    filesystem, path = objects.arrow_filesystem(uri)
    with _in_order():
        rows = ray.data.read_parquet(path, filesystem=filesystem, partitioning=None)  # `a=b` in a path is no column
    wanted = col("status") == "ok"
    if splits is not None:
        wanted &= col("split").is_in(list(splits))
    return rows.filter(expr=wanted).repartition(target_num_rows_per_block=BLOCK_ROWS)


def _checked(entries: Sequence[Entry], source: Source) -> Sequence[Entry]:
    if not entries:
        raise CatalogError(str(source), "it has no images", "Check --images.")
    seen: set[str] = set()
    for entry in entries:
        if entry.image_id in seen:
            raise CatalogError(str(source), f"two images are called {entry.image_id!r}", "Rename or remove one.")
        seen.add(entry.image_id)
    return entries


def _check_targets(entries: Sequence[Entry], convert: str) -> None:
    """CatalogError where pyramids would be made of pyramids, or be written outside of their folder."""
    below = objects.join(convert, "")
    for entry in entries:
        if objects.absolute(entry.uri).startswith(below):
            reason = f"it holds images of the source, as {entry.uri}"
            raise CatalogError(convert, reason, "Choose a --convert that is not among the images, and remove this one.")
        if ".." in entry.image_id.split("/"):
            reason = "its name leads out of the folder of --convert"
            raise CatalogError(entry.image_id, reason, "Name it by its whole path or URI.")


def _spread(entries: Sequence[Entry], limit: int | None) -> Sequence[Entry]:
    if limit is None or limit >= len(entries):
        return entries
    return [entries[i * len(entries) // limit] for i in range(limit)]


def _make_room(out: str, overwrite: bool) -> None:
    names = _file_names(out)
    if any("/" in name and name.endswith(".parquet") for name in names):
        raise CatalogError(out, "there are other Parquet files in folders below it", "Choose another --out.")
    if names and not {MANIFEST_NAME, MARKER} & set(names):
        raise CatalogError(out, "it is not empty, and no catalog", "Choose another --out.")
    if names and not overwrite:
        raise CatalogError(out, "it is not empty", "Choose another --out, or pass --overwrite.")
    objects.write_bytes(objects.join(out, MARKER), b"")
    objects.delete([objects.join(out, name) for name in names if name == MANIFEST_NAME])
    objects.delete([objects.join(out, name) for name in names if name.endswith(".parquet")])


def _file_names(out: str) -> list[str]:
    try:
        uris = [uri for uri in objects.list_uris(out) if not uri.endswith("/")]  # what some tools leave as a folder
        return [objects.relative(uri, objects.root(out)) for uri in uris]
    except FileNotFoundError:
        return []


def _blocks(entries: Sequence[Entry], view_size: tuple[int, int], least: int) -> list[pa.Table]:
    """The entries, a table for each task; with at least so many where there are."""
    rows = [asdict(e) | {"boxes": [dict(zip(BOX_SIDES, box, strict=True)) for box in e.boxes]} for e in entries]
    table = pa.Table.from_pylist(rows, schema=ENTRY_SCHEMA)
    fitting = FILE_BYTES // (view_size[0] * view_size[1] * 3)
    per_task = max(1, min(fitting, max(least, len(entries) // MIN_TASKS)))
    return [table.slice(start, per_task) for start in range(0, len(entries), per_task)]


@contextmanager
def _in_order() -> Iterator[None]:
    """The data sets that are made in here keep the order of their rows, and start no process that they do not need."""
    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.use_datasource_v2 = False  # which starts up to 32 processes to read footers: seconds, for a few small files
    with DataContext.current(context):
        yield


def _counts(out: str, expected: int) -> tuple[dict[str, Any], ...]:
    """What was written, counted; CatalogError unless it is a row an image."""
    keys, sums = ["split", "label", "status", "layout"], ["n_bytes", "requests", "bytes_read", "seconds"]
    rows = _parquet(out).to_table(columns=[*keys, *sums])
    if len(rows) != expected:
        remedy = "Name an --out that all nodes of the cluster share, with --overwrite."
        raise CatalogError(out, f"there are {len(rows)} rows for {expected} images", remedy)
    groups = rows.group_by(keys).aggregate([*((name, "sum") for name in sums), ([], "count_all")])
    names = {f"{name}_sum": name for name in sums} | {"n_bytes_sum": "bytes", "count_all": "images"}
    groups = groups.rename_columns(names)
    return tuple(groups.sort_by([(name, "ascending") for name in keys]).to_pylist())


def large_and_whole(out: str, pixels: int = LARGE) -> pa.Table:
    """The n_bytes, height and width of images above that many pixels of which any patch costs reading all of them."""
    size = pads.field("height").cast(pa.int64()) * pads.field("width")
    return _parquet(out).to_table(
        columns=["n_bytes", "height", "width"], filter=(pads.field("layout") == "whole") & (size > pixels)
    )


def _parquet(out: str) -> pads.Dataset:
    filesystem, path = objects.arrow_filesystem(out)
    files = [f"{path}/{name}" for name in _file_names(out) if name.endswith(".parquet")]
    return pads.dataset(files, filesystem=filesystem, schema=SCHEMA)
