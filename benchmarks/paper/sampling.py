"""The models of Table 1 tested again: with more patches than they were trained with, or with the top ones."""

from collections.abc import Iterable, Iterator
from typing import Any

from ats_core import bundle
from ats_core.models import AttentionSampling
from ats_core.sampling import Sampling
from benchmarks.paper.trials import Trial
from pipelines.catalog.build import read_catalog
from pipelines.storage.patches import PatchReader
from pipelines.training.batches import in_order
from pipelines.training.evaluate import predict
from pipelines.training.metrics import metrics
from pipelines.training.run_directory import RunDirectory

WAYS: tuple[tuple[Sampling, int], ...] = (("drawn", 10), ("drawn", 50), ("drawn", 200), ("topk", 10), ("topk", 50))
"""How patches are chosen, and how many. All 10,000 cells (`exact`) would take seconds of a core an image."""


def tested(trials: Iterable[Trial]) -> Iterator[dict[str, Any]]:
    """A row for each finished trial of attention sampling and way to choose patches."""
    for trial in trials:
        summary = trial.summary()
        if summary is not None and summary["model"] == "ats":
            for sampling, n_patches in WAYS:
                name = f"{trial.row}, {sampling} {n_patches}"
                kept = {key: summary[key] for key in ("seed", "updates", "test_splits", "commit")}
                yield {"row": name} | kept | _metrics(trial, summary["run"], sampling, n_patches)


def _metrics(trial: Trial, run: str, sampling: Sampling, n_patches: int) -> dict[str, float]:
    """Metrics of a run's model on its test split."""
    model, recipe = bundle.loads(RunDirectory(run).read_model())
    assert isinstance(model, AttentionSampling)
    model.n_patches = n_patches
    rows = read_catalog(trial.catalog, splits=list(trial.splits.test)).iterator()
    batches = in_order(rows, batch_size=recipe.batch_size)
    reader = PatchReader(recipe.patch_size)
    return metrics(predict(model, reader, batches, seed=0, depth=1, sampling=sampling), recipe.classes)
