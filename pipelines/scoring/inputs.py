"""Which images there are to score: a prefix, a glob, a list or a catalog, as one table, cut into parts and blocks.

A part is what one file of scores will hold, a block what goes through the stages together. Both are cut by where an
image stands among all images, so that a run that goes on has the same blocks, but for what is done.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from pipelines.catalog.build import build_catalog
from pipelines.catalog.made import is_catalog
from pipelines.catalog.schema import Manifest
from pipelines.catalog.sources.labels_csv import LabelsCsv
from pipelines.errors import CatalogError, ImageError
from pipelines.scoring.options import ScoreOptions
from pipelines.storage import objects
from pipelines.storage.ranges import stat

LISTING = pa.schema(
    [
        ("image_id", pa.string()),
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("label", pa.string()),
        ("file", pa.string()),  # of the catalog, without its folder; "" without a catalog
        ("group", pa.int32()),  # of rows in that file
    ]
)
PARTS = 1000  # of a large input: a thousandth of the work is lost at most
PART_ROWS = 64  # at least
SMOKE = 16
STATS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Inputs:
    """All images that are to have a row."""

    listing: pa.Table
    """LISTING, in a fixed order."""
    catalog: str | None

    def blocks(self, todo: np.ndarray, rows: int) -> Iterator[pa.Table]:
        """The images at some positions, as blocks of at most so many, with the columns `part` and `position`."""
        per_part = max(PART_ROWS, -(-len(self.listing) // PARTS))
        starts = np.flatnonzero(self._begins(rows))
        block_of = np.searchsorted(starts, todo, side="right") - 1
        chosen = self.listing.take(pa.array(todo))
        chosen = chosen.append_column("part", pa.array(starts[block_of] // per_part, pa.int32()))
        chosen = chosen.append_column("position", pa.array(todo))
        cuts = [0, *(np.flatnonzero(np.diff(block_of)) + 1), len(todo)]
        for start, stop in pairwise(cuts):
            yield chosen.slice(start, stop - start)

    def _begins(self, rows: int) -> np.ndarray:
        """bool: where a block begins: with each group of a catalog's file, and after so many images."""
        position = np.arange(len(self.listing))
        file, group = (self.listing[name].combine_chunks() for name in ("file", "group"))
        code, group = pc.dictionary_encode(file).indices.to_numpy(), group.to_numpy()
        new = (np.diff(code, prepend=-1) != 0) | (np.diff(group, prepend=-1) != 0)
        since = position - np.maximum.accumulate(np.where(new, position, 0))
        return since % rows == 0


def list_images(options: ScoreOptions, view_size: tuple[int, int]) -> Inputs:
    """The images that the options name.

    Raises:
        CatalogError: there are none, or a catalog, list or CSV of labels that cannot be used.
    """
    catalog = _catalog(options, view_size)
    if catalog:
        listing = _of_catalog(catalog, options.splits)
    elif options.images.endswith(".txt"):
        listing = _of_list(options.images)
    else:
        listing = _of_folder(options)
    if not len(listing):
        raise CatalogError(options.images, "there is no image to score", "Check --images and --splits.")
    return Inputs(listing.slice(0, SMOKE) if options.smoke else listing, catalog)


def _catalog(options: ScoreOptions, view_size: tuple[int, int]) -> str | None:
    """The catalog that is given, or that is to be made; none where images are indexed on the way."""
    if is_catalog(options.images):
        catalog = options.images
        for name in ("labels", "save_catalog"):
            if getattr(options, name):
                raise CatalogError(catalog, "it is a catalog", f"Leave --{name.replace('_', '-')} out.")
    elif options.save_catalog:
        catalog = options.save_catalog
        if not is_catalog(catalog):
            build_catalog(LabelsCsv(options.images, options.labels), catalog, view_size=view_size, overwrite=True)
    else:
        return None
    if (found := Manifest.read(catalog).view_size) != view_size:
        remedy = "Score the images themselves, or a catalog with views of the model's size."
        raise CatalogError(catalog, f"its views are {found}, and the model's {view_size}", remedy)
    return catalog


def _of_catalog(catalog: str, splits: Sequence[str]) -> pa.Table:
    filesystem, path = objects.arrow_filesystem(catalog)
    classes = Manifest.read(catalog).classes
    names = sorted(uri for uri in objects.list_uris(catalog) if uri.endswith(".parquet"))
    of_file = {objects.relative(uri, catalog): uri for uri in names}

    def rows(name: str) -> pa.Table:
        (fragment,) = pads.dataset(f"{path}/{name}", filesystem=filesystem, format="parquet").get_fragments()
        table = fragment.to_table(columns=["image_id", "uri", "etag", "label", "split"])
        groups = np.repeat(np.arange(fragment.num_row_groups), [group.num_rows for group in fragment.row_groups])
        label = pc.if_else(pc.less(table["label"], 0), None, table["label"])
        named = pc.fill_null(pc.take(pa.array(classes or [""], pa.string()), label), "")
        table = table.set_column(3, "label", named)
        table = table.append_column("file", pa.array([name] * len(table), pa.string()))
        return table.append_column("group", pa.array(groups, pa.int32()))

    with ThreadPoolExecutor(STATS_AT_ONCE) as pool:
        table = pa.concat_tables(pool.map(rows, of_file))
    if splits:
        table = table.filter(pc.is_in(table["split"], pa.array(splits, pa.string())))
    return table.select(LISTING.names).cast(LISTING).combine_chunks()


def _of_folder(options: ScoreOptions) -> pa.Table:
    source = LabelsCsv(options.images, options.labels)
    entries = [entry for entry in source.entries() if not options.splits or entry.split in options.splits]
    labels = [source.classes[entry.label] if entry.label >= 0 else "" for entry in entries]
    etags = [source.etags.get(entry.uri, "") for entry in entries]
    return _table([entry.image_id for entry in entries], [entry.uri for entry in entries], etags, labels)


def _of_list(uri: str) -> pa.Table:
    """Of a text file: a line is an image, by its URI or its path from the folder of the list, and is its id."""
    try:
        lines = [line.removesuffix("\r") for line in objects.read_bytes(uri).decode("utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(uri, f"cannot be read ({error})", "Write a UTF-8 text file, an image a line.") from error
    folder, ids = uri.rpartition("/")[0], list(dict.fromkeys(line for line in lines if line.strip()))
    uris = [name if name.startswith("/") or "://" in name else objects.join(folder, name) for name in ids]
    with ThreadPoolExecutor(STATS_AT_ONCE) as pool:
        return _table(ids, uris, list(pool.map(_etag, uris)), [""] * len(ids))


def _etag(uri: str) -> str:
    """ "" for an object of which nothing can be known: its row will say why."""
    try:
        return stat(uri).etag
    except ImageError:
        return ""


def _table(ids: Sequence[str], uris: Sequence[str], etags: Sequence[str], labels: Sequence[str]) -> pa.Table:
    nothing = {"file": [""] * len(ids), "group": [0] * len(ids)}
    return pa.table({"image_id": ids, "uri": uris, "etag": etags, "label": labels, **nothing}, schema=LISTING)
