#!/usr/bin/env python3
"""Train attention sampling on your own images, from one label an image.

The CSV has a header image,label and, if wanted, split (train, test) and group. Without splits one image in five tests,
and images of one group, as of one patient, stay together:

    jobs/train_images.py --images s3://bucket/prefix --labels labels.csv --out s3://bucket/runs
    jobs/train_images.py --catalog s3://bucket/catalog --n-patches 20 --patch-size 64 --view-size 512 512
    ray job submit --working-dir . -- jobs/train_images.py --images s3://bucket/prefix --labels s3://bucket/labels.csv

Large images that are stored whole, as JPEG, are read whole for every patch; `--convert` makes tiled copies first.
"""

from dataclasses import dataclass, replace

from ats_core.recipes import OwnImages, Recipe
from pipelines.catalog.made import catalog_of
from pipelines.catalog.schema import Source
from pipelines.catalog.sources import make_source
from pipelines.catalog.statistics import colours_of
from pipelines.errors import CatalogError
from pipelines.job import connect, run
from pipelines.report.present import present
from pipelines.storage import objects
from pipelines.training.options import TrainOptions
from pipelines.training.train import TRAIN_TEST, train


@dataclass(frozen=True, kw_only=True)
class Options(TrainOptions):
    """Options of train_images."""

    labels: str | None = None
    """A CSV, local or in a bucket, with the columns image,label[,split,group]."""
    convert: bool = False
    """Write the images under --out as tiled TIFFs first: a patch then costs its tiles, and not the whole image."""


def source_of(options: Options) -> Source:
    """The images and labels that the options name; a CatalogError without labels, of which nothing can be learned."""
    if not options.labels:
        raise CatalogError("labels", "there are none", "Pass --labels CSV, or --catalog.")
    return make_source("labels_csv", seed=options.seed, images=options.images, labels=objects.absolute(options.labels))


def recipe_of(catalog: str) -> Recipe:
    """The recipe of your own images, with the colours of those that train."""
    mean, std = colours_of(catalog, TRAIN_TEST.train)
    return replace(OwnImages(), mean=mean, std=std)


def main(options: Options) -> None:
    """Catalog, training, table and figure."""
    source = None if options.catalog else source_of(options)
    connect()
    catalog = options.catalog or catalog_of(source, options.out, view_size=options.view_size, convert=options.convert)
    present(train(recipe_of(catalog), options, catalog), catalog)


if __name__ == "__main__":
    run(main, Options, __doc__)
