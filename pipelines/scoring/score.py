"""Scoring: the images without a row, the stream that scores them, their rows in files, and what these say together."""

import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ats_core.errors import AtsError
from pipelines.catalog.build import BLOCK_ROWS
from pipelines.catalog.schema import Entry
from pipelines.errors import CatalogError
from pipelines.lost import LOST
from pipelines.scoring.check import Checked, check
from pipelines.scoring.inputs import Inputs, list_images
from pipelines.scoring.model import Scorer
from pipelines.scoring.options import ScoreOptions
from pipelines.scoring.overlays import write_overlays
from pipelines.scoring.parts import Parts
from pipelines.scoring.patience import patiently
from pipelines.scoring.progress import Progress
from pipelines.scoring.schema import SIDECAR
from pipelines.scoring.stages.block import BLANK, give_up, result
from pipelines.scoring.store import ScoreStore
from pipelines.scoring.stream import scored
from pipelines.scoring.summary import summary_of
from pipelines.storage import objects

ALONE = 1024  # images of lost blocks that are tried once more in the same run
BLOCKS = 64  # at least, where there are images enough, so that all processes have some to the end
FEW_ROWS = 8

log = logging.getLogger(__name__)


class ScoringError(AtsError):
    """More images failed than may, or there is not one row an image."""


def score(options: ScoreOptions) -> dict[str, Any]:
    """Score all images that have no row yet; the summary, which is also written.

    Raises:
        BundleError, RecipeError, CatalogError: of a model, an option or images that cannot be used.
        ScoringError: some images have no row, or two.
    """
    scorer = Scorer.of(options)
    _refuse_others(options)
    inputs = list_images(options, scorer.recipe.view_size)
    _claim(options, scorer, inputs.catalog)
    store = ScoreStore(options.out)
    todo = store.todo(inputs.listing, scorer.name)
    progress = Progress(len(inputs.listing), len(todo))
    if len(todo):
        _stream(options, scorer, inputs, todo, store, progress)
    summary = patiently(lambda: _summed(options.out, store, len(inputs.listing), scorer, progress), options.out)
    if options.overlays:
        write_overlays(options.out, scorer.load(), options.overlays, catalog=inputs.catalog)
    return summary


def refuse_failures(summary: Mapping[str, Any], options: ScoreOptions) -> None:
    """ScoringError where more images failed than may; all have their rows."""
    if summary["failed_share"] > options.max_failed:
        failed = ", ".join(f"{count} {status}" for status, count in summary["failed"].items())
        reason = f"of {summary['images']} images failed {failed}"
        raise ScoringError(options.out, reason, "Look at the column `error`, or pass a larger --max-failed.")


def check_images(options: ScoreOptions) -> Checked:
    """What reading the images would cost and which cannot be read, from their headers alone; nothing is scored."""
    recipe = Scorer.of(options).recipe
    listing = list_images(replace(options, save_catalog=None), recipe.view_size).listing
    entries = [Entry(**row) for row in listing.select(["image_id", "uri"]).to_pylist()]
    return check(entries, patch_size=recipe.patch_size, view_size=recipe.view_size, out=options.out)


def _claim(options: ScoreOptions, scorer: Scorer, catalog: str | None) -> None:
    """Write what is scored here and how."""
    recipe = scorer.recipe
    content = _which(options) | {
        "catalog": catalog,
        "model": options.model,
        "model_digest": scorer.name,
        "task": recipe.task,
        "classes": list(recipe.classes),
        "patch_size": recipe.patch_size,
        "view_size": list(recipe.view_size),
        "n_patches": scorer.n_patches,
        "until": scorer.until,
        "max_patches": scorer.most,
        "seed": scorer.seed,
    }
    objects.write_bytes(objects.join(options.out, SIDECAR), json.dumps(content, indent=2).encode())


def _which(options: ScoreOptions) -> dict[str, Any]:
    """What says which images are scored."""
    return {"images": options.images, "splits": list(options.splits), "smoke": options.smoke}


def _refuse_others(options: ScoreOptions) -> None:
    """CatalogError where there are scores of other images."""
    uri = objects.join(options.out, SIDECAR)
    if not objects.exists(uri):
        return
    try:
        before = json.loads(objects.read_bytes(uri))
        others = [f"{name} {before[name]}, not {now}" for name, now in _which(options).items() if before[name] != now]
    except (ValueError, KeyError, TypeError) as error:
        reason = f"it cannot be understood ({type(error).__name__}: {error})"
        raise CatalogError(uri, reason, "Choose another --out, or remove this one.") from error
    if others:
        raise CatalogError(options.out, f"it holds scores of {'; '.join(others)}", "Choose another --out.")


def _summed(out: str, store: ScoreStore, images: int, scorer: Scorer, progress: Progress) -> dict[str, Any]:
    """What all rows say together, written; ScoringError unless every image has one."""
    _check_rows(out, store, images)
    summary = summary_of(store.scores(), scorer, progress)
    objects.write_bytes(objects.join(out, "summary.json"), json.dumps(summary, indent=2).encode())
    return summary


def _check_rows(out: str, store: ScoreStore, images: int) -> None:
    """ScoringError unless every image has one row."""
    ids = store.scores().to_table(columns=["image_id"])["image_id"]
    rows, unique = len(ids), pc.count_distinct(ids).as_py()
    if not rows == unique == images:
        reason = f"there are {rows} rows for {images} images, and {unique} different images in them"
        raise ScoringError(out, reason, "Another job may write here: run this one again when it has ended.")


def _stream(
    options: ScoreOptions, scorer: Scorer, inputs: Inputs, todo: np.ndarray, store: ScoreStore, progress: Progress
) -> None:
    rows_a_block = max(FEW_ROWS, min(BLOCK_ROWS, len(inputs.listing) // BLOCKS))
    blocks = list(inputs.blocks(todo, rows_a_block))
    parts = Parts(store, blocks, scorer.grid if options.attention else None)
    with progress:
        for rows in parts.gather(blocks, scored(options, scorer, inputs.catalog, blocks)):
            progress.add(rows)
        if alone := _one_by_one(list(parts.missing())):
            log.warning("%d images of lost blocks are tried one by one: some of them may kill a process", len(alone))
            for rows in parts.gather(alone, scored(options, scorer, inputs.catalog, alone, one_by_one=True)):
                progress.add(rows)
        for images in parts.missing():
            rows = _lost(images, scorer.name)
            parts.put(rows)
            progress.add(rows)


def _one_by_one(missing: Sequence[pa.Table]) -> list[pa.Table]:
    """Some images, each a block; others in every run, so that in the end each is tried, however many kill."""
    every = [images.slice(i, 1) for images in missing for i in range(len(images))]
    return random.sample(every, min(ALONE, len(every)))


def _lost(images: pa.Table, model: str) -> pa.Table:
    """RESULT of images of which nothing came back: the next run tries them again."""
    rows = [BLANK | image for image in images.to_pylist()]
    for row in rows:
        give_up(row, LOST)
    return result(rows, model)
