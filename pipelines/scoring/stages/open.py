"""A block of the listing -> the view of each image, and where its tiles lie."""

import logging
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.catalog.describe import ENTRY_SCHEMA, describe
from pipelines.catalog.opened import TIFF_SUFFIXES
from pipelines.scoring.patience import PATIENT, patiently
from pipelines.scoring.stages.block import BLANK, Row, attempt, give_up, table
from pipelines.scoring.store import PASSING
from pipelines.storage import objects

AT_ONCE = 8  # images of a block whose headers and views are waited for
LARGE = 4 * 10**6  # bytes, above which what is decoded whole is opened alone: pixels may be a hundred times as many
KNOWN = ("status", "height", "width", "channels", "n_bytes", "index", "view")

log = logging.getLogger(__name__)


def open_images(listed: pa.Table, view_size: tuple[int, int], catalog: str | None) -> pa.Table:
    """A block, from images of LISTING.

    Args:
        listed: some images, of one group of rows where they are of a catalog.
        view_size: of the model.
        catalog: where views and indexes are at hand; None where each image is opened here. One of which the catalog
            says that it could not be had, or that it is another object, is opened all the same.
    """
    rows = [BLANK | image for image in listed.to_pylist()]
    to_open = _look_up(rows, catalog) if catalog else rows
    light = [row for row in to_open if _is_light(row)]
    heavy = [row for row in to_open if not _is_light(row)]
    for some, at_once in ((light, AT_ONCE), (heavy, 1)):
        attempt(lambda rows, at_once=at_once: _open(rows, view_size, at_once), some)
    return table(rows)


def _is_light(row: Row) -> bool:
    """Whether opening it holds little: a small object, or a TIFF, of which a small level or bands are read."""
    return 0 < row["n_bytes"] <= LARGE or row["uri"].lower().endswith(TIFF_SUFFIXES)


def _open(rows: Sequence[Row], view_size: tuple[int, int], at_once: int) -> None:
    entries = [{name: row[name] for name in ("image_id", "uri")} for row in rows]
    found = describe(pa.Table.from_pylist(entries, schema=ENTRY_SCHEMA), view_size, at_once=at_once, network=PATIENT)
    for row, opened in zip(rows, found.to_pylist(), strict=True):
        _tell(row, opened)
        row |= {name: opened[name] for name in ("requests", "bytes_read")}


def _look_up(rows: Sequence[Row], catalog: str) -> list[Row]:
    """Tell the rows what the catalog knows; those of which it knows nothing that counts.

    All are given up where it cannot be read.
    """
    (place,) = {(row["file"], row["group"]) for row in rows}
    try:
        known = patiently(lambda: _from_catalog(catalog, *place), catalog)
    except Exception as error:
        log.warning("%s cannot be read", catalog, exc_info=error)
        for row in rows:
            give_up(row, f"its catalog cannot be read: {type(error).__name__}: {error}")
        return []
    unknown = []
    for row in rows:
        found = known.get(row["image_id"])
        if found is None or found["status"] in PASSING or found["etag"] != row["etag"]:
            unknown.append(row)
        else:
            _tell(row, found)
    return unknown


def _from_catalog(catalog: str, file: str, group: int) -> dict[str, Row]:
    filesystem, path = objects.arrow_filesystem(catalog)
    with pq.ParquetFile(f"{path}/{file}", filesystem=filesystem) as parquet:
        found = parquet.read_row_group(group, columns=["image_id", "reason", "etag", *KNOWN]).to_pylist()
    return {row["image_id"]: row for row in found}


def _tell(row: Row, known: Mapping[str, object]) -> None:
    row |= {name: known[name] for name in KNOWN} | {"error": known["reason"], "object_etag": known["etag"]}
