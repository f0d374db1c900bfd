"""How many patches `--until` saves at equal error, and whether the standard error that it goes by is the true one.

    python -m benchmarks.scoring.adaptive --runs RUN [RUN ...]

The models of finished runs on the images that they were tested on; runs that differ in seed or test split alone are one
row. No Ray, and no S3: the patches of all numbers are those of the same draws.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.record import RESULTS, progress, record, rounded, table
from benchmarks.scoring import savings
from benchmarks.scoring.adaptive_figures import FIGURES, calibration_figure, savings_figure
from benchmarks.scoring.prefixes import FIXED, Prefixes, name_of_run, of_run

CHANGED = 0.01  # of the predictions, that may be others than at the most patches


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `--until` saves, and how well calibrated it is: tables, two figures, then one line of JSON.

    About a second an image on one core.
    """

    runs: tuple[str, ...]
    """Directories of finished runs of attention sampling; the first row's figures are the headline."""
    draws: int = 20
    """Of each image, repeated."""
    max_patches: int = 200
    images: int = 200
    """Of a run's test images, at most."""
    seed: int = 0
    results: Path = RESULTS
    """Folder for scoring_adaptive.json, the record of the run."""
    figures: Path = FIGURES


def main(options: Options) -> None:
    """Draw, evaluate all prefixes, print the tables, draw the figures, keep the record."""
    torch.set_num_threads(1)
    found = measured(options)
    rows = {name: tabulated(prefixes) for name, prefixes in found.items()}
    for name, tables in rows.items():
        print(f"{name}: {found[name].predictions_IRS.shape[0]} images, {options.draws} draws of each")
        print("\n".join(f"{title}\n{table(part)}\n" for title, part in tables.items()))
    options.figures.mkdir(parents=True, exist_ok=True)
    (options.figures / "scoring_calibration.png").write_bytes(calibration_figure(found))
    (options.figures / "scoring_adaptive.png").write_bytes(savings_figure(found))
    kept = [
        {"row": name, "table": t} | row for name, tables in rows.items() for t, part in tables.items() for row in part
    ]
    record("scoring_adaptive", rounded(claims(found)), rows=kept, to=options.results)


def measured(options: Options) -> dict[str, Prefixes]:
    """By row: of all its runs."""
    parts: dict[str, list[Prefixes]] = {}
    names = {run: name_of_run(run) for run in options.runs}
    for run in progress(options.runs, lambda run: names[run]):
        of = of_run(run, options.draws, options.max_patches, options.images, options.seed)
        parts.setdefault(names[run], []).append(of)
    return {name: Prefixes.joined(runs) for name, runs in parts.items()}


def tabulated(found: Prefixes) -> Mapping[str, list[dict[str, Any]]]:
    """The tables of a row."""
    of_fixed = savings.fixed(found)
    equal = [
        {"rule": rule, "equal": f"{measure} + {tolerance:g}", **savings.saved(of_fixed, of_rule, measure, tolerance)}
        for rule, of_rule in ((rule, savings.until(found, rule)) for rule in savings.BOUNDS)
        for measure, tolerance in (("error", savings.TOLERANCE), ("changed", CHANGED))
    ]
    return {
        "fixed numbers": [row for row in of_fixed if row["patches"] in FIXED],
        **{f"{rule} a bound": savings.until(found, rule)[::3] for rule in savings.BOUNDS},
        "saved at equal error": equal,
        "standard error of the margin": savings.calibration(found),
    }


def claims(found: Mapping[str, Prefixes]) -> dict[str, float | None]:
    """The headline of the first row, and the same of each."""
    result: dict[str, float | None] = {}
    for name, prefixes in found.items():
        short, of_fixed = name.replace(" ", "_").replace("-", "_"), savings.fixed(prefixes)
        for rule in savings.BOUNDS:
            of_rule = savings.until(prefixes, rule)
            equal = savings.saved(of_fixed, of_rule)
            same = savings.saved(of_fixed, of_rule, "changed", CHANGED)
            result |= {f"{short}_{rule}_saved": equal["saved"], f"{short}_{rule}_saved_same_predictions": same["saved"]}
        (at_first,) = (row for row in savings.calibration(prefixes) if row["patches"] == FIXED[1])
        result[f"{short}_stated_over_actual_n{FIXED[1]}"] = at_first["stated / actual"]
    return {"adaptive_patches_saved": next(iter(result.values())), **result}


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    main(tyro.cli(Options))
