"""A job's own catalog: made once for a source's settings, and found again by them."""

import hashlib
import json
from dataclasses import asdict

from pipelines.catalog.build import build_catalog
from pipelines.catalog.schema import MANIFEST_NAME, Source
from pipelines.storage import objects


def catalog_of(source: Source, out: str, *, view_size: tuple[int, int] | None = None) -> str:
    """The URI of the catalog of a source, under `out`; built when it is not there yet.

    A source that was changed in place keeps its catalog: references to overwritten images then fail, by their etag.
    """
    view_size = view_size or source.view_size
    settings = json.dumps([type(source).__name__, asdict(source), view_size], sort_keys=True)
    name = f"{type(source).__name__.lower()}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"
    catalog = objects.join(out, "catalogs", name)
    if objects.exists(objects.join(catalog, MANIFEST_NAME)):
        print(f"catalog: {catalog} (found)", flush=True)
    else:
        build_catalog(source, catalog, view_size=view_size, overwrite=True)
        print(f"catalog: {catalog}", flush=True)
    return catalog
