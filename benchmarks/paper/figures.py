"""The figures of docs/results.md, from the run directories of trials."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.paper.trials import Trial
from benchmarks.record import table
from pipelines.report import runs as reports
from pipelines.report.agreement import agreement, final_maps
from pipelines.report.curves import X, learning_curves
from pipelines.report.evolution import EPOCHS, Row, evolution_figure

FIGURES = Path(__file__).parents[2] / "docs" / "figures"

Run = tuple[str, str]
"""The name of a row, as ATS-10, and the URI of a run directory."""


def finished(trials: Sequence[Trial]) -> list[Run]:
    """The runs of the trials that have ended."""
    summaries = ((trial.row, trial.summary()) for trial in trials)
    return [(row, summary["run"]) for row, summary in summaries if summary is not None]


def shown(run: str) -> list[str]:
    """The ids of the images of which a run kept the attention."""
    return list(reports.attention_maps(run, reports.attention_epochs(run)[-1]))


def curves(
    name: str,
    runs: Sequence[Run],
    measures: Sequence[str],
    *,
    x: X,
    to: Path = FIGURES,
) -> Path:
    """Draw the learning curves of some rows (the paper's Figure 2); runs of one row are one line with its band."""
    histories: dict[str, list[reports.History]] = {}
    for row, run in runs:
        histories.setdefault(row, []).append(reports.history(run))
    return _write(to / f"{name}.png", learning_curves(histories, measures, x))


def evolution_of_images(
    name: str,
    run: str,
    *,
    epochs: int | Sequence[int] = EPOCHS,
    to: Path = FIGURES,
) -> Path:
    """Draw how one run's attention moves on each image that it kept (the paper's Figure 3)."""
    rows = [Row(image_id, run, image_id) for image_id in shown(run)]
    drawn = evolution_figure(rows, reports.catalog_of(run), epochs=epochs)
    return _write(to / f"{name}.png", drawn)


def evolution_of_settings(
    name: str,
    runs: Sequence[Run],
    image_id: str,
    *,
    epochs: int | Sequence[int] = EPOCHS,
    to: Path = FIGURES,
) -> Path:
    """Draw how the attention on one image moves in runs that differ in a setting (supplementary Figures 1 and 2)."""
    rows = [Row(row, run, image_id) for row, run in runs]
    drawn = evolution_figure(rows, reports.catalog_of(runs[0][1]), epochs=epochs)
    return _write(to / f"{name}.png", drawn)


def agreement_table(runs: Sequence[Run]) -> str:
    """How far the final attention of some runs agrees, pair by pair; several of one row are told apart by number.

    Two runs of one row differ in seed alone: how they agree is the most that two rows can be expected to.
    """
    names = [row for row, _ in runs]
    numbered = [f"{row} #{names[: i + 1].count(row)}" if names.count(row) > 1 else row for i, row in enumerate(names)]
    return table(agreement(final_maps(dict(zip(numbered, (run for _, run in runs), strict=True)))))


def _write(path: Path, png: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)
    return path
