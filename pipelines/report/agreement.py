"""Do trainings look at the same places? The correlation of their final attention maps (paper, supplement F)."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import pearsonr, spearmanr

from ats_core.errors import GeometryError
from pipelines.report.runs import RunError, attention_epochs, attention_maps


def agreement(maps: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row for each pair of settings: the means over the images of the correlations between their maps.

    Args:
        maps: [n, rows, columns] by setting, of the same n images and the same cells.

    Returns:
        "one" and "other", the settings; "pearson", of the attention; "spearman", of its ranks, which sees all the
        cells that Pearson's leaves to a few large ones; "images", n. NaN where a map is constant, as that of uniform
        attention is.

    Raises:
        GeometryError: the maps are not of one shape.
    """
    shapes = {name: a.shape for name, a in maps.items()}
    if len(set(shapes.values())) > 1:
        raise GeometryError(f"maps of {shapes}", "cells do not correspond", "Compare runs with one grid.")
    return [
        {
            "one": one,
            "other": other,
            "pearson": _mean(pearsonr, maps[one], maps[other]),
            "spearman": _mean(spearmanr, maps[one], maps[other]),
            "images": len(maps[one]),
        }
        for one, other in combinations(maps, 2)
    ]


def final_maps(runs: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The last attention maps of runs by name, float64 [n, rows, columns], of the images that all of them kept.

    Raises:
        RunError: a run kept none, or no image is common to all.
    """
    kept = {name: attention_maps(run, attention_epochs(run)[-1]) for name, run in runs.items()}
    common = sorted(set.intersection(*(set(maps) for maps in kept.values())))
    if not common:
        raise RunError(f"runs {list(runs.values())}", "no image is common to all", "Compare runs of one test split.")
    return {name: np.stack([maps[image_id] for image_id in common]) for name, maps in kept.items()}


def _mean(correlation: Any, one: np.ndarray, other: np.ndarray) -> float:
    pairs = zip(one.reshape(len(one), -1), other.reshape(len(other), -1), strict=True)
    return float(np.mean([correlation(a, b).statistic if np.ptp(a) and np.ptp(b) else np.nan for a, b in pairs]))
