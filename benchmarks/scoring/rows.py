"""Scores as they lie in their files, and where those of two runs differ."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.dataset as pads

from pipelines.scoring.schema import SCORES
from pipelines.storage import objects

TOLERANCE = 1e-5  # of numbers that a network computed, in batches of other sizes
EXACT = ("uri", "etag", "height", "width", "label", "status", "prediction", "n_patches", "model")
"""Not `error`, of which the server says a part, and not what a run had to ask for again."""

Row = Mapping[str, Any]


def rows_of(out: str) -> list[Row]:
    """All rows below OUT/scores, in no order; none where there is nothing yet."""
    try:
        names = objects.list_uris(objects.join(out, "scores"))
    except FileNotFoundError:
        return []
    filesystem, path = objects.arrow_filesystem(out)
    files = [f"{path}/scores/{name.rsplit('/', 1)[-1]}" for name in names if name.endswith(".parquet")]
    return pads.dataset(files, filesystem=filesystem, schema=SCORES, format="parquet").to_table().to_pylist()


def differences(expected: Sequence[Row], found: Sequence[Row]) -> list[str]:
    """What is wrong with rows that should be those of an undisturbed run: a line each, none where nothing is."""
    wanted, times = {row["image_id"]: row for row in expected}, Counter(row["image_id"] for row in found)
    lines = [f"{image_id!r} is missing" for image_id in wanted if not times[image_id]]
    lines += [f"{image_id!r} is there {count} times" for image_id, count in times.items() if count > 1]
    lines += [f"{image_id!r} should not be there" for image_id in times if image_id not in wanted]
    both = [(wanted[row["image_id"]], row) for row in found if row["image_id"] in wanted]
    return lines + [line for first, second in both for line in _differ(first, second)]


def _differ(first: Row, second: Row) -> list[str]:
    names = [name for name in EXACT if first[name] != second[name]]
    places = [[(patch["y"], patch["x"]) for patch in row["patches"]] for row in (first, second)]
    if places[0] != places[1]:
        names.append("patches")
    elif not np.allclose(_numbers(first), _numbers(second), rtol=0, atol=TOLERANCE, equal_nan=True):
        names.append("numbers")
    return [f"{first['image_id']!r}: other {name}: {first.get(name)!r}, {second.get(name)!r}" for name in names]


def _numbers(row: Row) -> list[float]:
    of_patches = [patch[name] for patch in row["patches"] for name in ("attention", "weight")]
    return [*row["probabilities"], row["standard_error"], *of_patches]
