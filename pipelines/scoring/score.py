"""Scoring: the images without a row, the stream that scores them, their rows in files, and what these say together."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ats_core.errors import AtsError
from pipelines.catalog.schema import Entry
from pipelines.errors import CatalogError
from pipelines.scoring.check import Checked, check
from pipelines.scoring.inputs import Inputs, list_images
from pipelines.scoring.model import Scorer
from pipelines.scoring.options import ScoreOptions
from pipelines.scoring.overlays import write_overlays
from pipelines.scoring.progress import Progress
from pipelines.scoring.schema import ATTENTION, SIDECAR
from pipelines.scoring.store import ScoreStore
from pipelines.scoring.stream import scored
from pipelines.scoring.summary import summary_of
from pipelines.storage import objects
from pipelines.storage.layouts import CHANNELS

BLOCK_BYTES = 32 * 2**20  # of the patches of a block
BLOCK_ROWS = 64


class ScoringError(AtsError):
    """More images failed than may."""


def score(options: ScoreOptions) -> dict[str, Any]:
    """Score all images that have no row yet; the summary, which is also written.

    Raises:
        BundleError, RecipeError, CatalogError: of a model, an option or images that cannot be used.
        ScoringError: more than `max_failed` of the images failed; all have their rows.
    """
    scorer = Scorer.of(options)
    inputs = list_images(options, scorer.recipe.view_size)
    _claim(options, scorer, inputs.catalog)
    store = ScoreStore(options.out)
    todo = store.todo(inputs.listing, scorer.name)
    progress = Progress(len(inputs.listing), len(todo))
    if len(todo):
        _stream(options, scorer, inputs, todo, store, progress)
    if options.overlays:
        write_overlays(options.out, options.model, options.overlays, catalog=inputs.catalog)
    summary = summary_of(store.scores(), scorer, progress)
    objects.write_bytes(objects.join(options.out, "summary.json"), json.dumps(summary, indent=2).encode())
    if summary["failed_share"] > options.max_failed:
        failed = ", ".join(f"{count} {status}" for status, count in summary["failed"].items())
        reason = f"of {summary['images']} images failed {failed}"
        raise ScoringError(options.out, reason, "Look at the column `error`, or pass a larger --max-failed.")
    return summary


def check_images(options: ScoreOptions) -> Checked:
    """What reading the images would cost and which cannot be read, from their headers alone; nothing is scored."""
    recipe = Scorer.of(options).recipe
    rows = list_images(options, recipe.view_size).listing.select(["image_id", "uri"]).to_pylist()
    entries = [Entry(**row) for row in rows]
    return check(entries, patch_size=recipe.patch_size, view_size=recipe.view_size, out=options.out)


def _claim(options: ScoreOptions, scorer: Scorer, catalog: str | None) -> None:
    """Write what is scored here and how; CatalogError where there are scores of other images."""
    uri = objects.join(options.out, SIDECAR)
    images = {"images": options.images, "splits": list(options.splits), "smoke": options.smoke}
    if objects.exists(uri):
        before = json.loads(objects.read_bytes(uri))
        if {name: before[name] for name in images} != images:
            raise CatalogError(options.out, f"it holds scores of {before['images']}", "Choose another --out.")
    recipe = scorer.recipe
    content = images | {
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
    objects.write_bytes(uri, json.dumps(content, indent=2).encode())


def _stream(
    options: ScoreOptions, scorer: Scorer, inputs: Inputs, todo: np.ndarray, store: ScoreStore, progress: Progress
) -> None:
    of_patches = max(1, scorer.n_patches) * scorer.recipe.patch_size**2 * CHANNELS
    rows = options.batch_size or max(1, min(BLOCK_ROWS, BLOCK_BYTES // of_patches))
    blocks = list(inputs.blocks(todo, rows))
    parts = _Parts(store, blocks, scorer.grid if options.attention else None)
    with progress:
        for result in scored(options, scorer, inputs.catalog, blocks):
            progress.add(result)
            parts.add(result)


class _Parts:
    """Collects the rows of each part, which come in any order, and writes it when all are there."""

    def __init__(self, store: ScoreStore, blocks: Sequence[pa.Table], grid: tuple[int, int] | None) -> None:
        self.store, self.grid = store, grid
        self.missing: Counter[int] = Counter()
        for block in blocks:
            self.missing[block["part"][0].as_py()] += len(block)
        self.there: dict[int, list[pa.Table]] = {}

    def add(self, result: pa.Table) -> None:
        """The rows of a block, which is of one part."""
        part = result["part"][0].as_py()
        self.there.setdefault(part, []).append(result)
        self.missing[part] -= len(result)
        if not self.missing[part]:
            rows = pa.concat_tables(self.there.pop(part)).sort_by("position")
            self.store.write(part, rows, attention_of(rows, self.grid) if self.grid else None)


def attention_of(rows: pa.Table, grid: tuple[int, int]) -> pa.Table:
    """ATTENTION of the rows of RESULT that have any, over a grid of so many rows and columns."""
    rows = rows.filter(pc.greater(pc.binary_length(rows["attention"]), 0))
    n, (height, width) = len(rows), grid
    values = pa.array(np.frombuffer(b"".join(rows["attention"].to_pylist()), np.float16))
    maps = pa.ListArray.from_arrays(np.arange(n + 1, dtype=np.int32) * height * width, values)
    return pa.table([rows["image_id"].combine_chunks(), [height] * n, [width] * n, maps], schema=ATTENTION)
