"""Catalogs as what is to be scored: one that is given, and one that a run keeps of its images."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from pipelines.catalog.build import build_catalog
from pipelines.catalog.made import is_catalog
from pipelines.catalog.schema import Manifest
from pipelines.catalog.sources.labels_csv import LabelsCsv
from pipelines.errors import CatalogError
from pipelines.storage import objects
from pipelines.storage.objects import ObjectStat

LISTING = pa.schema(
    [
        ("image_id", pa.string()),
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("n_bytes", pa.int64()),  # of the object; 0 where nobody knows
        ("label", pa.string()),
        ("file", pa.string()),  # of the catalog, without its folder; "" without a catalog
        ("group", pa.int32()),  # of rows in that file
    ]
)
FILES_AT_ONCE = 32


def catalog_of(source: LabelsCsv, catalog: str, view_size: tuple[int, int]) -> Mapping[str, ObjectStat]:
    """Makes the catalog of a source, unless it is there and its images are as they were; what is listed, by URI.

    Raises:
        CatalogError: there is a catalog of another source, or something that is none; the source has no images.
    """
    if is_catalog(catalog) and (found := Manifest.read(catalog).source) != repr(source):
        raise CatalogError(catalog, f"it is a catalog of {found}, not of {source}", "Choose another --save-catalog.")
    if not (is_catalog(catalog) and _is_of(catalog, source)):
        build_catalog(source, catalog, view_size=view_size, overwrite=True)
    return source.stats


def _is_of(catalog: str, source: LabelsCsv) -> bool:
    """Whether it has the images that the source lists now. Of one that could not be read it does not know the etag."""
    filesystem, path = objects.arrow_filesystem(catalog)
    names = [f"{path}/{name}" for name in _files(catalog)]
    rows = pads.dataset(names, filesystem=filesystem, format="parquet").to_table(columns=["uri", "etag"])
    etags = dict(zip(*(rows[name].to_pylist() for name in ("uri", "etag")), strict=True))
    if etags.keys() != {entry.uri for entry in source.entries()}:
        return False
    listed = ((etags[uri], stat.etag) for uri, stat in source.stats.items() if uri in etags)
    return all(before == now for before, now in listed if before and now)


def rows_of(catalog: str, splits: Sequence[str], view_size: tuple[int, int]) -> pa.Table:
    """The images of a catalog, or of some of its splits, as LISTING.

    Raises:
        CatalogError: it has no image in one of the splits, or its views are of another size.
    """
    manifest = Manifest.read(catalog)
    if manifest.view_size != view_size:
        remedy = "Score the images themselves, or a catalog with views of the model's size."
        raise CatalogError(catalog, f"its views are {manifest.view_size}, and the model's {view_size}", remedy)
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        table = pa.concat_tables(pool.map(lambda name: _rows(catalog, name, manifest.classes), _files(catalog)))
    check_splits(catalog, splits, table["split"].unique().to_pylist())
    if splits:
        table = table.filter(pc.is_in(table["split"], pa.array(splits, pa.string())))
    return table.select(LISTING.names).cast(LISTING).combine_chunks()


def _files(catalog: str) -> list[str]:
    """The names of its Parquet files, sorted."""
    uris = (uri for uri in objects.list_uris(catalog) if uri.endswith(".parquet"))
    return sorted(objects.relative(uri, objects.root(catalog)) for uri in uris)


def _rows(catalog: str, name: str, classes: Sequence[str]) -> pa.Table:
    """Of a file, with the group that each row is in."""
    filesystem, path = objects.arrow_filesystem(catalog)
    (fragment,) = pads.dataset(f"{path}/{name}", filesystem=filesystem, format="parquet").get_fragments()
    table = fragment.to_table(columns=["image_id", "uri", "etag", "n_bytes", "label", "split"])
    groups = np.repeat(np.arange(fragment.num_row_groups), [group.num_rows for group in fragment.row_groups])
    label = pc.if_else(pc.less(table["label"], 0), None, table["label"])
    named = pc.fill_null(pc.take(pa.array(classes or [""], pa.string()), label), "")
    table = table.set_column(table.schema.get_field_index("label"), "label", named)
    table = table.append_column("file", pa.array([name] * len(table), pa.string()))
    return table.append_column("group", pa.array(groups, pa.int32()))


def check_splits(thing: str, splits: Sequence[str], available: Collection[str]) -> None:
    """CatalogError for a split without any image."""
    for split in splits:
        if split not in available:
            there = ", ".join(sorted(filter(None, available))) or "none"
            raise CatalogError(thing, f"no image is of split {split!r}; there are: {there}", "Check --splits.")
