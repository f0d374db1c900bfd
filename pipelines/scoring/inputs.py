"""Which images there are to score: a prefix, a glob, a list or a catalog, as one table, cut into parts and blocks.

A part is what one file of scores will hold, a block what goes through the stages together. Both are cut by where an
image stands among all images, so that a run that goes on has the same blocks, but for what is done.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.catalog.made import is_catalog
from pipelines.catalog.sources.labels_csv import LabelsCsv
from pipelines.errors import CatalogError, ImageError, StorageError
from pipelines.scoring.catalogs import LISTING, catalog_of, check_splits, rows_of
from pipelines.scoring.options import ScoreOptions
from pipelines.scoring.patience import PATIENT
from pipelines.storage import objects
from pipelines.storage.objects import ObjectStat
from pipelines.storage.ranges import stat

PARTS = 1000  # of a large input: a thousandth of the work is lost at most
PART_ROWS = 64  # at least
SMOKE = 16
STATS_AT_ONCE = 32
NOT_OF_LISTS = {"labels": "labels", "splits": "splits", "save_catalog": "catalog"}
NOWHERE = ObjectStat(0, "")


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
        CatalogError: there are none, or none in one of the splits; a catalog, list or CSV of labels that cannot be
            used, or that something is asked of that it has not.
    """
    catalog = None
    if is_catalog(options.images):
        _refuse(options, labels="it is a catalog, with labels of its own", save_catalog="it is a catalog")
        catalog = options.images
        listing = rows_of(catalog, options.splits, view_size)
    elif options.images.endswith(".txt"):
        reason = "it is a list, which has no {}"
        _refuse(options, **{name: reason.format(what) for name, what in NOT_OF_LISTS.items()})
        listing = _of_list(options.images)
    elif options.save_catalog:
        catalog = options.save_catalog
        stats = catalog_of(LabelsCsv(options.images, options.labels), catalog, view_size)
        listing = _as_listed(rows_of(catalog, options.splits, view_size), stats)
    else:
        listing = _of_folder(options)
    if not len(listing):
        raise CatalogError(options.images, "there is no image to score", "Check --images.")
    return Inputs(listing.slice(0, SMOKE) if options.smoke else listing, catalog)


def _refuse(options: ScoreOptions, **reasons: str) -> None:
    """CatalogError for an option that is given, with its reason."""
    for name, reason in reasons.items():
        if getattr(options, name):
            raise CatalogError(options.images, reason, f"Leave --{name.replace('_', '-')} out.")


def _as_listed(listing: pa.Table, stats: Mapping[str, ObjectStat]) -> pa.Table:
    """The images of a catalog with what their storage says of them now: it also knows those that could not be read."""
    found = [stats.get(uri, NOWHERE) for uri in listing["uri"].to_pylist()]
    for name, values in (("etag", [each.etag for each in found]), ("n_bytes", [each.size for each in found])):
        at = listing.schema.get_field_index(name)
        listing = listing.set_column(at, listing.schema.field(at), pa.array(values, listing.schema.field(at).type))
    return listing


def _of_folder(options: ScoreOptions) -> pa.Table:
    source = LabelsCsv(options.images, options.labels)
    entries = source.entries()
    check_splits(options.images, options.splits, {entry.split for entry in entries})
    entries = [entry for entry in entries if not options.splits or entry.split in options.splits]
    labels = [source.classes[entry.label] if entry.label >= 0 else "" for entry in entries]
    stats = [source.stats.get(entry.uri, NOWHERE) for entry in entries]
    return _table([entry.image_id for entry in entries], [entry.uri for entry in entries], stats, labels)


def _of_list(uri: str) -> pa.Table:
    """Of a text file: a line is an image, by its URI or its path from the folder of the list, and is its id.

    Of several lines that name one object the first counts.
    """
    try:
        lines = [line.removesuffix("\r") for line in objects.read_bytes(uri).decode("utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(uri, f"cannot be read ({error})", "Write a UTF-8 text file, an image a line.") from error
    folder, ids = uri.rpartition("/")[0], dict[str, str]()
    for name in (line for line in lines if line.strip()):
        whole = name if name.startswith("/") or "://" in name else objects.join(folder, name)
        ids.setdefault(_absolute(whole), name)
    with ThreadPoolExecutor(STATS_AT_ONCE) as pool:
        return _table(list(ids.values()), list(ids), list(pool.map(_stat, ids)), [""] * len(ids))


def _absolute(uri: str) -> str:
    """The URI itself where it has a protocol that nothing here speaks: its row will say so."""
    try:
        return objects.absolute(uri)
    except StorageError:
        return uri


def _stat(uri: str) -> ObjectStat:
    """Nothing of an object of which nothing can be known: its row will say why."""
    try:
        return stat(uri, PATIENT)
    except ImageError:
        return NOWHERE


def _table(ids: Sequence[str], uris: Sequence[str], stats: Sequence[ObjectStat], labels: Sequence[str]) -> pa.Table:
    known = {"etag": [each.etag for each in stats], "n_bytes": [each.size for each in stats]}
    nothing = {"file": [""] * len(ids), "group": [0] * len(ids)}
    return pa.table({"image_id": ids, "uri": uris, "label": labels, **known, **nothing}, schema=LISTING)
