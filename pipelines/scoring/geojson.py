"""Where a model looked, as GeoJSON: one collection an image, which QuPath and GIS tools open over the image.

Coordinates are (x, y) in pixels of the full image, y down, as QuPath has them. RFC 7946 knows degrees alone, so a GIS
takes them for some until it is told that the layer has no reference system.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.colors import to_rgb

from pipelines.report.curves import COLOURS
from pipelines.scoring.names import safe_name
from pipelines.storage import objects

WRITERS = 8
ROWS = 1000  # held as Python objects at once


def feature_collection(row: Mapping[str, Any], patch_size: int) -> dict[str, Any]:
    """A polygon for each patch of an "ok" row of SCORES, in the order of the draw, cut where the image ends.

    Readers keep what a feature has and drop what the collection has beside its features, so each feature has the
    image's id, prediction and probabilities. Numbers stand twice: flat, as the columns of a GIS, and as the
    measurements of a QuPath detection, whose class is the prediction. `rank` 1 is the patch of largest weight,
    `probability` the largest of the image, `standard_error` that of the row; what is not finite is left out.

    Args:
        row: as `pa.Table.to_pylist` gives it.
        patch_size: side of the patches, in pixels.
    """
    rank = np.argsort(np.argsort([-patch["weight"] for patch in row["patches"]], kind="stable")) + 1
    features = [
        _feature(row, patch, place, patch_size) for patch, place in zip(row["patches"], rank.tolist(), strict=True)
    ]
    return {"type": "FeatureCollection", "features": features}


def write_geojson(table: pa.Table, out: str, patch_size: int) -> None:
    """Write OUT/geojson/NAME.geojson for each "ok" row of SCORES, NAME being the `safe_name` of its image."""
    write = partial(_write, objects.join(out, "geojson"), patch_size)
    with ThreadPoolExecutor(WRITERS) as pool:
        for rows in table.filter(pc.field("status") == "ok").to_batches(max_chunksize=ROWS):
            list(pool.map(write, rows.to_pylist()))


def _write(folder: str, patch_size: int, row: Mapping[str, Any]) -> None:
    collection = feature_collection(row, patch_size)
    content = json.dumps(collection, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    uri = objects.join(folder, f"{safe_name(row['image_id'])}.geojson")
    objects.write_bytes(uri, content.encode())


def _feature(row: Mapping[str, Any], patch: Mapping[str, Any], rank: int, patch_size: int) -> dict[str, Any]:
    numbers = {
        "attention": patch["attention"],
        "weight": patch["weight"],
        "probability": max(row["probabilities"]),
        "standard_error": row["standard_error"],
    }
    measurements = {"rank": rank} | {name: _shortest(x) for name, x in numbers.items() if isfinite(x)}
    properties = {
        "objectType": "detection",  # not edited by hand, and coloured by a measurement where the reader wants it
        "classification": {"name": row["prediction"], "color": _colour(row["probabilities"])},
        "measurements": measurements,
        "image_id": row["image_id"],
        "prediction": row["prediction"],
        "probabilities": [_shortest(p) if isfinite(p) else None for p in row["probabilities"]],
    }
    geometry = {"type": "Polygon", "coordinates": [_ring(patch, patch_size, row["height"], row["width"])]}
    return {"type": "Feature", "geometry": geometry, "properties": properties | measurements}


def _ring(patch: Mapping[str, int], patch_size: int, height: int, width: int) -> list[list[int]]:
    """The corners, closed, and in the order that RFC 7946 has for an outer ring."""
    y0, x0 = patch["y"] - patch_size // 2, patch["x"] - patch_size // 2
    y1, x1 = min(y0 + patch_size, height), min(x0 + patch_size, width)
    y0, x0 = max(y0, 0), max(x0, 0)
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def _colour(probabilities: list[float]) -> list[int]:
    """Red, green and blue of the most probable class: the same one in every image."""
    colour = COLOURS[int(np.argmax(probabilities)) % len(COLOURS)]
    return [round(255 * part) for part in to_rgb(colour)]


def _shortest(number: float) -> float:
    """A float32 in as few digits as tell it from all others."""
    return float(str(np.float32(number)))
