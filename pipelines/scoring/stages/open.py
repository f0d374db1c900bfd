"""A block of the listing -> the view of each image, and where its tiles lie."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.catalog.build import ENTRY_SCHEMA, describe
from pipelines.scoring.stages.block import BLANK, Row, table
from pipelines.storage import objects

AT_ONCE = 8  # images of a block whose headers and views are waited for
KNOWN = ("status", "height", "width", "channels", "n_bytes", "index", "view")


def open_images(listed: pa.Table, view_size: tuple[int, int], catalog: str | None) -> pa.Table:
    """A block, from images of LISTING.

    Args:
        listed: some images, of one group of rows where they are of a catalog.
        view_size: of the model.
        catalog: where views and indexes are at hand; None where each image is opened here.
    """
    images = listed.to_pylist()
    found = _from_catalog(images, catalog) if catalog else _opened(images, view_size)
    spent = () if catalog else ("requests", "bytes_read")
    rows = [
        BLANK
        | image
        | {name: row[name] for name in (*KNOWN, *spent)}
        | {"error": row["reason"], "object_etag": row["etag"]}
        for image, row in zip(images, found, strict=True)
    ]
    return table(rows)


def _opened(images: Sequence[Row], view_size: tuple[int, int]) -> list[Row]:
    entries = [{name: image[name] for name in ("image_id", "uri")} for image in images]
    return describe(pa.Table.from_pylist(entries, schema=ENTRY_SCHEMA), view_size, at_once=AT_ONCE).to_pylist()


def _from_catalog(images: Sequence[Row], catalog: str) -> list[Row]:
    filesystem, path = objects.arrow_filesystem(catalog)
    (place,) = {(image["file"], image["group"]) for image in images}
    with pq.ParquetFile(f"{path}/{place[0]}", filesystem=filesystem) as file:
        rows = file.read_row_group(place[1], columns=["image_id", "reason", "etag", *KNOWN]).to_pylist()
    by_id = {row["image_id"]: row for row in rows}
    return [by_id[image["image_id"]] for image in images]
