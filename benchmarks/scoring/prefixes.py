"""What a trained model says of its test images after every number of patches, in many repeated draws, without Ray.

Of each draw `most` patches are drawn once, in order; all smaller numbers are prefixes of it. A cell that several draws
of an image share is read and embedded once.

Shapes: I images, R repeated draws, N patches, S numbers of patches, U cells, C classes, D features, K cells in all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from ats_core import bundle
from ats_core.features import features_of_patches
from ats_core.models import AttentionSampling
from ats_core.sampling import Draw, draw
from pipelines.report.runs import catalog_of, catalog_rows
from pipelines.report.table import name_of
from pipelines.scoring.adaptive import margin_error, next_size
from pipelines.storage.patches import PatchReader
from pipelines.training.batches import Batch, collate
from pipelines.training.run_directory import RunDirectory, RunError

FIXED = (5, 10, 20, 30, 50, 100, 200)
"""Numbers of patches that everything is told for, up to the most that are drawn."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Of the images of some runs."""

    first: int
    """Patches at which `until` looks first."""
    sizes_S: np.ndarray
    labels_I: np.ndarray
    predictions_IRS: np.ndarray
    """Index of the class."""
    stated_IRS: np.ndarray
    """Standard error of the margin between the two classes that are most probable then."""
    best_IRS2: np.ndarray
    """Logits of these two."""
    margin_IRS: np.ndarray
    """Between the two classes that are most probable over all draws."""
    margin_stated_IRS: np.ndarray
    """Standard error of that margin, from each draw alone."""

    @staticmethod
    def joined(parts: Sequence["Prefixes"]) -> "Prefixes":
        """Of all images together; an image that two runs tested counts twice."""
        names = [name for name in Prefixes.__slots__ if "_I" in name]
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return Prefixes(first=parts[0].first, sizes_S=parts[0].sizes_S, **arrays)


def looks(first: int, most: int) -> list[int]:
    """The numbers of patches at which `until` looks."""
    found = [min(first, most)]
    while found[-1] < most:
        found.append(next_size(found[-1], first, most))
    return found


def name_of_run(run: str) -> str:
    """Task, model and patches of a finished run, as "colon_cancer ats-10"; RunError for one that has not finished."""
    summary = RunDirectory(run).read("summary.json")
    if summary is None:
        raise RunError(run, "there is no summary.json: it has not finished", "Train it to its end, or leave it out.")
    return name_of(summary)


@torch.no_grad()
def of_run(run: str, draws: int, most: int, images: int, seed: int) -> Prefixes:
    """Of the images that a finished run of attention sampling was tested on, at most so many, evenly spread."""
    model, recipe = bundle.loads(RunDirectory(run).read_model())
    if not isinstance(model, AttentionSampling):
        raise RunError(run, f"its model is {recipe.model}, which draws nothing", "Name runs of attention sampling.")
    model.estimator = "sequential" if model.estimator == "released" else model.estimator
    reader, first = PatchReader(recipe.patch_size, images_in="memory"), recipe.n_patches
    most = min(most, model.grid.n_cells)
    sizes = sorted({*looks(first, most), *(n for n in FIXED if n <= most)})
    batch = _tested(run, images)
    rows = [
        _of_image(model, reader, batch.select([i]), [_generator(seed, i, r) for r in range(draws)], sizes)
        for i in range(len(batch))
    ]
    measured = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return Prefixes(first=first, sizes_S=np.array(sizes), labels_I=batch.labels.numpy(), **measured)


def _tested(run: str, images: int) -> Batch:
    ids = RunDirectory(run).read("predictions.json")["image_ids"]
    chosen = ids[:: -(-len(ids) // images)]
    rows = catalog_rows(catalog_of(run), chosen)
    return collate({name: rows[name].to_numpy(zero_copy_only=False) for name in rows.column_names})


def _generator(seed: int, image: int, repetition: int) -> Generator:
    state = np.random.SeedSequence((seed, image, repetition)).generate_state(1, np.uint64)
    return Generator().manual_seed(int(state[0] >> 1))


def _of_image(
    model: AttentionSampling, reader: PatchReader, batch: Batch, generators: list[Generator], sizes: Sequence[int]
) -> dict[str, np.ndarray]:
    """Arrays [R, S] of one image, or [R, S, 2], by the names that Prefixes has for them."""
    a_RK = model.attend(model.standardise(batch.views)).expand(len(generators), -1)
    whole = draw(a_RK, sizes[-1], model.estimator, generators)
    f_RND = _features(model, reader, batch, whole.cells)
    parts = [(whole.prefix(n), f_RND[:, :n]) for n in sizes]
    logits_SRC = torch.stack([model.classify(part.proposal.float(), f, part) for part, f in parts])
    common_C = logits_SRC[-1].mean(0)
    found = [_told(model, logits, common_C, f, part) for logits, (part, f) in zip(logits_SRC, parts, strict=True)]
    return {name: np.stack([row[name] for row in found], axis=1) for name in found[0]}


def _told(
    model: AttentionSampling, logits_RC: Tensor, common_C: Tensor, f_RND: Tensor, part: Draw
) -> dict[str, np.ndarray]:
    """Arrays [R] of one number of patches, or [R, 2]."""
    first, second = common_C.topk(2).indices
    told: dict[str, Any] = {
        "predictions_IRS": logits_RC.argmax(-1),
        "stated_IRS": margin_error(model, logits_RC, f_RND, part),
        "best_IRS2": logits_RC.topk(2, dim=-1).values,
        "margin_IRS": logits_RC[:, first] - logits_RC[:, second],
        "margin_stated_IRS": margin_error(model, common_C.expand_as(logits_RC), f_RND, part),
    }
    return {name: values.numpy() for name, values in told.items()}


def _features(model: AttentionSampling, reader: PatchReader, batch: Batch, cells_RN: Tensor) -> Tensor:
    """Features [R, N, D] of drawn cells of one image."""
    cells_U, where_RN = cells_RN.unique(return_inverse=True)
    centres_1U2 = model.grid.centres(cells_U[None], batch.sizes, model.patch_size)
    patches, inside = reader.read(batch.images, centres_1U2)
    return features_of_patches(model.features, model.standardise(patches, inside))[0][where_RN]


def of_runs(runs: Sequence[str], draws: int, most: int, images: int, seed: int) -> Iterator[tuple[str, Prefixes]]:
    """Each run's row, as "colon_cancer ats-10", and what its model says."""
    for run in runs:
        yield name_of_run(run), of_run(run, draws, most, images, seed)
