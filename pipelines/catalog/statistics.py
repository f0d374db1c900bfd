"""What a catalog's views say of its images as a whole, read back without Ray."""

from collections.abc import Sequence

import numpy as np
import pyarrow.dataset as pads

from pipelines.catalog.schema import SCHEMA, Manifest
from pipelines.errors import CatalogError
from pipelines.storage import objects

VIEWS = 1000  # 200 MB of views of 256 x 256
LEAST = 1 / 255  # images of one flat colour have no deviation to divide by


def colours_of(catalog: str, splits: Sequence[str], n: int = VIEWS) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over the views of the first `n` readable images of some splits.

    In units of the full range, as `Recipe.mean` and `Recipe.std`.

    Raises:
        CatalogError: it is no finished catalog, or has no readable image in these splits.
    """
    Manifest.read(catalog)
    filesystem, path = objects.arrow_filesystem(catalog)
    rows = pads.dataset(path, filesystem=filesystem, format="parquet", schema=SCHEMA)
    wanted = pads.field("split").isin(list(splits)) & (pads.field("status") == "ok")
    views = rows.head(n, columns=["view", "channels"], filter=wanted).to_pylist()
    if not views:
        raise CatalogError(catalog, f"no readable image in splits {list(splits)}", "Check the catalog's splits.")
    moments = np.mean([_moments(view["view"], view["channels"]) for view in views], axis=0)  # all views have one size
    mean, variance = moments[0], moments[1] - moments[0] ** 2
    std = np.sqrt(variance.clip(LEAST**2))
    return tuple(mean.tolist()), tuple(std.tolist())


def _moments(view: bytes, channels: int) -> np.ndarray:
    """Mean and mean square of each channel: [2, channels]."""
    pixels = np.frombuffer(view, np.uint8).reshape(-1, channels) / 255
    return np.stack([pixels.mean(0), (pixels**2).mean(0)])
