#!/usr/bin/env python3
"""Train attention sampling to find epithelial cells in H&E images, by cross-validation over the 100 images.

jobs/train_colon_cancer.py --images DIR
jobs/train_colon_cancer.py --images DIR --model cnn --view-size 250 250 --runs 5
jobs/train_colon_cancer.py --images DIR --model uniform --fold 0
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ats_core.errors import RecipeError
from ats_core.recipes import ColonCancer
from pipelines.catalog.made import catalog_of
from pipelines.catalog.schema import Manifest, Source
from pipelines.catalog.sources import make_source
from pipelines.errors import CatalogError
from pipelines.job import connect, run
from pipelines.report.cross_validation import cross_validation_table, runs_table
from pipelines.report.present import present
from pipelines.training.options import TrainOptions
from pipelines.training.train import Splits, fold_splits, train


@dataclass(frozen=True, kw_only=True)
class Options(TrainOptions):
    """Options of train_colon_cancer."""

    folds: int = 5
    """Parts of the cross-validation."""
    fold: int | None = None
    """Only this part is tested; all, one after the other, when not given."""
    runs: int = 1
    """Independent cross-validations: run r takes --seed + r, also for its folds unless --catalog brings them."""


def source_of(options: Options) -> Source:
    """The images, split into folds by the seed."""
    return make_source("colon_cancer", images=options.images, folds=options.folds, seed=options.seed)


def check_folds(catalog: str, folds: int) -> None:
    """A CatalogError where the catalog is split into another number of folds: some would be left out of all."""
    there = [split for split in Manifest.read(catalog).images_by("split") if split.startswith("fold")]
    if len(there) != folds:
        raise CatalogError(catalog, f"it has {len(there)} folds, not {folds}", "Give their number with --folds.")


def cross_validation(options: Options, source: Source | None, parts: Sequence[Splits]) -> list[dict[str, Any]]:
    """Catalog, a training for each fold, table and figure of each, and of all together; the summaries."""
    catalog = catalog_of(source, options.out, view_size=options.view_size) if source else options.catalog
    summaries = []
    for splits in parts:
        summaries.append(train(ColonCancer(), options, catalog, splits))
        present(summaries[-1], catalog)
    print(cross_validation_table(summaries), flush=True)
    return summaries


def main(options: Options) -> None:
    """The cross-validations, and a table of all where there are several."""
    if options.runs < 1:
        raise RecipeError(f"runs {options.runs}", "there must be at least one", "Check --runs.")
    chosen = range(options.folds) if options.fold is None else [options.fold]
    parts = [fold_splits(options.folds, fold) for fold in chosen]
    if options.catalog:
        check_folds(options.catalog, options.folds)
    each = [replace(options, seed=options.seed + r) for r in range(options.runs)]
    sources = [None if options.catalog else source_of(one) for one in each]
    connect()
    runs = [cross_validation(one, source, parts) for one, source in zip(each, sources, strict=True)]
    if len(runs) > 1:
        print(runs_table(runs), flush=True)


if __name__ == "__main__":
    run(main, Options, __doc__)
