"""Scoring: the images without a row, the stream that scores them, their rows in files, and what these say together."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ats_core.errors import AtsError
from pipelines.catalog.build import BLOCK_ROWS
from pipelines.catalog.schema import Entry
from pipelines.errors import CatalogError
from pipelines.scoring.check import Checked, check
from pipelines.scoring.inputs import Inputs, list_images
from pipelines.scoring.model import Scorer
from pipelines.scoring.options import ScoreOptions
from pipelines.scoring.overlays import write_overlays
from pipelines.scoring.progress import Progress
from pipelines.scoring.schema import ATTENTION, SIDECAR
from pipelines.scoring.stages.block import BLANK, LOST, give_up, result
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
        ScoringError: more than `max_failed` of the images failed, and all have their rows; or some have none, or two.
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
    _check_rows(options.out, store, len(inputs.listing))
    summary = summary_of(store.scores(), scorer, progress)
    objects.write_bytes(objects.join(options.out, "summary.json"), json.dumps(summary, indent=2).encode())
    if options.overlays:
        write_overlays(options.out, options.model, options.overlays, catalog=inputs.catalog)
    if summary["failed_share"] > options.max_failed:
        failed = ", ".join(f"{count} {status}" for status, count in summary["failed"].items())
        reason = f"of {summary['images']} images failed {failed}"
        raise ScoringError(options.out, reason, "Look at the column `error`, or pass a larger --max-failed.")
    return summary


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
    rows = max(FEW_ROWS, min(BLOCK_ROWS, len(inputs.listing) // BLOCKS))
    blocks = list(inputs.blocks(todo, rows))
    parts = _Parts(store, blocks, scorer.grid if options.attention else None)
    with progress:
        for rows in scored(options, scorer, inputs.catalog, blocks):
            progress.add(parts.add(rows.filter(pc.not_equal(rows["error"], LOST))))
        alone = [block.slice(i, 1) for block in map(parts.missing_of, blocks) for i in range(len(block))][:ALONE]
        if alone:
            log.warning("%d images of lost blocks are tried one by one: some of them may kill a process", len(alone))
            for rows in scored(options, scorer, inputs.catalog, alone, one_by_one=True):
                progress.add(parts.add(rows))
        for block in filter(len, map(parts.missing_of, blocks)):
            progress.add(parts.add(_lost(block, scorer.name)))


def _lost(block: pa.Table, model: str) -> pa.Table:
    """RESULT of images of which nothing came back: the next run tries them again."""
    rows = [BLANK | image for image in block.to_pylist()]
    for row in rows:
        give_up(row, LOST)
    return result(rows, model)


class _Parts:
    """Collects the rows of each part, which come in any order, and writes it when all came; the first of each image."""

    def __init__(self, store: ScoreStore, blocks: Sequence[pa.Table], grid: tuple[int, int] | None) -> None:
        self.store, self.grid = store, grid
        self.missing: Counter[int] = Counter()
        self.came = np.ones(1 + blocks[-1]["position"][-1].as_py(), bool)
        for block in blocks:
            self.missing[block["part"][0].as_py()] += len(block)
            self.came[block["position"].to_numpy()] = False
        self.there: dict[int, list[pa.Table]] = {}

    def missing_of(self, rows: pa.Table) -> pa.Table:
        """Those of the rows of a block of whose images nothing came yet."""
        return rows.filter(pa.array(~self.came[rows["position"].to_numpy()]))

    def add(self, rows: pa.Table) -> pa.Table:
        """Take some rows of a block; those of them that were missing."""
        rows = self.missing_of(rows)
        if not len(rows):
            return rows
        part = rows["part"][0].as_py()
        self.there.setdefault(part, []).append(rows)
        self.came[rows["position"].to_numpy()] = True
        self.missing[part] -= len(rows)
        if not self.missing[part]:
            whole = pa.concat_tables(self.there.pop(part)).sort_by("position")
            self.store.write(part, whole, attention_of(whole, self.grid) if self.grid else None)
        return rows


def attention_of(rows: pa.Table, grid: tuple[int, int]) -> pa.Table:
    """ATTENTION of the rows of RESULT that have any, over a grid of so many rows and columns."""
    rows = rows.filter(pc.greater(pc.binary_length(rows["attention"]), 0))
    n, (height, width) = len(rows), grid
    values = pa.array(np.frombuffer(b"".join(rows["attention"].to_pylist()), np.float16))
    maps = pa.ListArray.from_arrays(np.arange(n + 1, dtype=np.int32) * height * width, values)
    return pa.table([rows["image_id"].combine_chunks(), [height] * n, [width] * n, maps], schema=ATTENTION)
