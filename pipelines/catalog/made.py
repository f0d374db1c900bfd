"""A job's own catalog: made once for a source's settings, and found again by them."""

import hashlib
import json
from dataclasses import asdict, replace

from pipelines.catalog.build import build_catalog
from pipelines.catalog.schema import FORMAT_VERSION, MANIFEST_NAME, Source
from pipelines.catalog.sources.labels_csv import LabelsCsv
from pipelines.storage import objects


def catalog_uri(source: Source, out: str, *, view_size: tuple[int, int] | None = None, convert: bool = False) -> str:
    """Where the catalog of a source lies under `out`, whether it is there or not.

    Corrected labels are another catalog. Without folds one is called as before its source could have any.
    """
    of_source = {name: value for name, value in asdict(source).items() if (name, value) != ("folds", 0)}
    if isinstance(source, LabelsCsv):
        of_source["labels"] = source.content
    settings = [FORMAT_VERSION, type(source).__name__, of_source, view_size or source.view_size, convert]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return objects.join(out, "catalogs", f"{type(source).__name__.lower()}-{digest}")


def tiled_uri(source: Source, out: str) -> str:
    """Where its images are converted to, whatever their views, and, of one's own images, their labels and split."""
    if isinstance(source, LabelsCsv):
        source = replace(source, labels=None, seed=0)
    return objects.join(out, "tiled", catalog_uri(source, out, convert=True).rsplit("/", 1)[-1])


def is_catalog(uri: str) -> bool:
    """Whether a finished catalog is there."""
    return objects.exists(objects.join(uri, MANIFEST_NAME))


def catalog_of(source: Source, out: str, *, view_size: tuple[int, int] | None = None, convert: bool = False) -> str:
    """The URI of the catalog of a source, under `out`; built when it is not there yet.

    With `convert` the images are written below `out`/tiled first, as tiled pyramids, and the catalog is of these; what
    another catalog of the same images has written there is kept. Images that were changed in place keep their catalog:
    references to overwritten ones then fail, by their etag.
    """
    catalog = catalog_uri(source, out, view_size=view_size, convert=convert)
    if is_catalog(catalog):
        print(f"catalog: {catalog} (found)", flush=True)
        return catalog
    tiled = tiled_uri(source, out) if convert else None
    build_catalog(source, catalog, view_size=view_size or source.view_size, convert=tiled, overwrite=True)
    print(f"catalog: {catalog}" + (f", of tiled images in {tiled}" if tiled else ""), flush=True)
    return catalog
