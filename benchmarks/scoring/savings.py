"""Error against patches, of fixed numbers and of `until`; and how well stated standard errors are met. See prefixes.

Beside the rule of `--until`, a bound of the standard error as a part of the margin, stands a bound of the error itself.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.scoring.prefixes import FIXED, Prefixes, looks
from pipelines.scoring.adaptive import unsure

BOUNDS = {
    "until": tuple(float(f"{bound:.3g}") for bound in np.geomspace(0.1, 10, 25)),
    "absolute": tuple(float(f"{bound:.3g}") for bound in np.geomspace(0.01, 10, 37)),
}
"""Of the standard error of the margin: as a part of the margin; and, for comparison, in units of logits."""
TOLERANCE = 0.005
"""Above the error at the most patches, that counts as equal to it."""

Row = dict[str, Any]


def fixed(found: Prefixes) -> list[Row]:
    """A row a number of patches."""
    return [
        {"patches": int(n), "bound": None, **_said(found, found.predictions_IRS[..., s])}
        for s, n in enumerate(found.sizes_S)
    ]


def until(found: Prefixes, rule: str = "until") -> list[Row]:
    """A row a bound: patches are drawn on until what is known of the margin is within it."""
    looked = np.isin(found.sizes_S, looks(found.first, int(found.sizes_S[-1])))
    sizes, said_IRS = found.sizes_S[looked], found.predictions_IRS[..., looked]
    stated_IRS, best_IRS2 = found.stated_IRS[..., looked], found.best_IRS2[..., looked, :]
    rows = []
    for bound in BOUNDS[rule]:
        enough_IRS = stated_IRS <= bound if rule == "absolute" else _clear(stated_IRS, best_IRS2, bound)
        enough_IRS[..., -1] = True
        stop_IR = enough_IRS.argmax(-1)
        said_IR = np.take_along_axis(said_IRS, stop_IR[..., None], -1)[..., 0]
        rows.append({"patches": float(sizes[stop_IR].mean()), "bound": bound, **_said(found, said_IR)})
    return rows


def _clear(stated_IRS: np.ndarray, best_IRS2: np.ndarray, bound: float) -> np.ndarray:
    """By the rule of scoring itself."""
    going_on = unsure(torch.from_numpy(best_IRS2).flatten(0, 2), torch.from_numpy(stated_IRS).flatten(), bound)
    return ~going_on.numpy().reshape(stated_IRS.shape)


def _said(found: Prefixes, said_IR: np.ndarray) -> Row:
    """The error over images and draws, and how often the class is another than that draw's at the most patches."""
    changed = said_IR != found.predictions_IRS[..., -1]
    return {"error": float((said_IR != found.labels_I[:, None]).mean()), "changed": float(changed.mean())}


def saved(of_fixed: list[Row], of_rule: list[Row], measure: str = "error", tolerance: float = TOLERANCE) -> Row:
    """How many patches a rule saves at equal error, or at as few changed predictions.

    Equal is what is no more than `tolerance` above the measure at the most patches, and stays so. The fixed number is
    that from which on it is, interpolated in the logarithm of the number, and at least what the rule begins with; the
    bound is the largest up to which it is.
    """
    target, first = of_fixed[-1][measure] + tolerance, min(row["patches"] for row in of_rule)
    n = max(first, _enough(of_fixed, measure, target))
    within = list(_within(of_rule, measure, target))
    mean = within[-1]["patches"] if within else of_fixed[-1]["patches"]
    bound = within[-1]["bound"] if within else None
    return {"fixed": n, "mean": mean, "bound": bound, "saved": 1 - mean / n}


def _enough(rows: list[Row], measure: str, target: float) -> float:
    last = max((s for s, row in enumerate(rows) if row[measure] > target), default=-1)
    if last < 0:
        return float(rows[0]["patches"])
    (n0, y0), (n1, y1) = ((rows[s]["patches"], rows[s][measure]) for s in (last, last + 1))
    return float(np.exp(np.interp(-target, (-y0, -y1), np.log((n0, n1)))))


def _within(rows: list[Row], measure: str, target: float) -> Iterator[Row]:
    """From the smallest bound on, as long as they are."""
    for row in rows:
        if row[measure] > target:
            return
        yield row


def calibration(found: Prefixes) -> list[Row]:
    """A row a number of patches: the standard error as stated, and as the spread of the draws of an image has it.

    `stated / actual` is of the square roots of mean squares over images; `within 2` the share of draws whose margin is
    within two stated standard errors of the mean margin of all draws at the most patches.
    """
    rows, truth_I1 = [], found.margin_IRS[..., -1].mean(-1)[:, None]
    for s, n in enumerate(found.sizes_S):
        if n not in FIXED:
            continue
        stated_IR, actual_I = found.margin_stated_IRS[..., s], found.margin_IRS[..., s].std(-1, ddof=1)
        off_IR = np.abs(found.margin_IRS[..., s] - truth_I1)
        actual, stated = (float(np.sqrt(np.square(x).mean())) for x in (actual_I, stated_IR))
        rows.append(
            {
                "patches": int(n),
                "actual": actual,
                "stated": stated,
                "stated / actual": stated / actual if actual else None,  # all cells are drawn
                "within 2": float((off_IR <= 2 * stated_IR).mean()),
            }
        )
    return rows
