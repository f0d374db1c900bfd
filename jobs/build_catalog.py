#!/usr/bin/env python3
"""Build a catalog: a Parquet row an image, with its label, split, sizes, tile index and low-resolution view.

    jobs/build_catalog.py --source gtsdb --images DIR --task speed_limit --out runs/catalog
    jobs/build_catalog.py --source megapixel_mnist --mnist DIR --out runs/catalog
    jobs/build_catalog.py --source labels_csv --images s3://bucket/prefix --labels labels.csv --out s3://bucket/catalog
    jobs/build_catalog.py --source labels_csv --images s3://bucket/prefix --convert s3://bucket/tiled --out ...

An image that cannot be read is a row that says why. Without an option it paints road scenes and catalogs them.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.catalog.build import LARGE, build_catalog, large_and_whole
from pipelines.catalog.schema import Manifest, Source
from pipelines.catalog.sources import SOURCES, make_source
from pipelines.catalog.sources.digits.idx import download_mnist
from pipelines.catalog.sources.download import download
from pipelines.catalog.sources.german_scenes import GermanScenes
from pipelines.catalog.sources.megapixel_mnist import MegapixelMNIST
from pipelines.catalog.sources.road_scenes import RoadScenes
from pipelines.catalog.sources.speed_limits import SpeedLimits
from pipelines.errors import CatalogError
from pipelines.job import connect, run
from pipelines.storage import objects
from pipelines.storage.pyramid import Codec

SMOKE_IMAGES = 24
GENERATED = ("road_scenes", "german_scenes", "megapixel_mnist")
OF_SOURCES = (
    "images",
    "labels",
    "task",
    "folds",
    "difficulty",
    "light",
    "mnist",
    "side",
    "n_train",
    "n_test",
    "n_noise",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of build_catalog."""

    source: Literal[tuple(SOURCES)] = "road_scenes"
    """The data set, or `labels_csv` for your own images."""
    images: str | None = None
    """Folder or URI prefix of the data set in its original layout; for `labels_csv` a glob will do."""
    labels: str | None = None
    """Of `labels_csv`: a CSV with the columns image,label[,split,group]. Without it images are unlabelled.
    Of `megapixel_mnist`: majority, max or top."""
    out: str = "runs/catalog"
    """Folder or URI (s3://...) of the catalog. With several nodes it must be shared by all."""
    task: Literal["prohibitory", "speed_limit"] | None = None
    """Of `gtsdb` and `german_scenes`: what to tell of the signs."""
    folds: int | None = None
    """Of `colon_cancer` and `gtsdb`: parts of the cross-validation."""
    difficulty: Literal["default", "easy"] | None = None
    """Of `road_scenes`: how large and how many the signs are."""
    light: Literal["clear", "adverse"] | None = None
    """Of `german_scenes`: scenes to begin with, or those that are as hard to read as real ones."""
    mnist: str | None = None
    """Of `megapixel_mnist`: folder of MNIST's IDX files; scikit-learn's 8 x 8 digits, scaled up, when not given."""
    side: int | None = None
    """Of `megapixel_mnist`: height and width of the images, pixels; 1500 when not given."""
    n_train: int | None = None
    """Of generated data: training images."""
    n_test: int | None = None
    """Of generated data: test images."""
    n_noise: int | None = None
    """Of `megapixel_mnist`: pieces of noise in an image; 50 when not given."""
    digits_on_top: bool = False
    """Of `megapixel_mnist`: write the digits over the noise, and not the noise over the digits."""
    view_size: tuple[int, int] | None = None
    """Height and width of the low-resolution view; what suits the data set when not given."""
    convert: str | None = None
    """Folder or URI, not among the images: make each a tiled pyramid there first, and catalog these. Resumes."""
    codec: Codec = "jpeg"
    """Of `--convert`: JPEG quality 90, or lossless zstd. Lossless always: grey, masks, palettes, 16 bit.
    (Of 16-bit RGB in TIFF; in PNG it is read as 8 bit, and kept as that.)"""
    checksums: bool = False
    """Keep a crc32c of each tile, by which readers notice flipped bytes. Reads every byte of the images once."""
    seed: int = 0
    """Seed of generated scenes, and of splits where the data set has none."""
    overwrite: bool = False
    """Replace the catalog that is there."""
    download: bool = False
    """Of `speed_limits`: fetch the data set into --images first, checked by md5; of `megapixel_mnist`, into --mnist."""
    smoke: bool = False
    """A few images only: does it run here at all?"""


def main(options: Options) -> None:
    """Source, catalog, table."""
    source, out = source_of(options), objects.absolute(options.out)
    if options.download:
        fetch(options, source)
    connect()
    start = time.perf_counter()
    limit = SMOKE_IMAGES if options.smoke else None
    manifest = build_catalog(
        source,
        out,
        view_size=options.view_size,
        convert=options.convert,
        codec=options.codec,
        checksums=options.checksums,
        overwrite=options.overwrite,
        limit=limit,
    )
    lines = [table(manifest, time.perf_counter() - start), warning(out), f"catalog: {out}"]
    print("\n".join(filter(None, lines)), flush=True)


def source_of(options: Options) -> Source:
    """The data set that the options name; generated images go beside the catalog."""
    given = {name: getattr(options, name) for name in OF_SOURCES} | {"digits_on_top": options.digits_on_top or None}
    if options.source in GENERATED:
        given["images"] = options.images or f"{options.out}-{'smoke-' if options.smoke else ''}images"
        given |= {"n_train": SMOKE_IMAGES, "n_test": SMOKE_IMAGES} if options.smoke else {}
    if options.source == "megapixel_mnist" and options.download:
        given["mnist"] = options.mnist or f"{options.out}-mnist"
    paths = ("images", "mnist", "labels") if options.source == "labels_csv" else ("images", "mnist")
    given |= {name: objects.absolute(given[name]) for name in paths if given[name]}
    source = make_source(options.source, seed=options.seed, **given)
    if isinstance(source, RoadScenes):
        print(f"Generated road scenes in {source.images}, difficulty {source.difficulty}.", flush=True)
    elif isinstance(source, GermanScenes):
        print(
            f"Generated road scenes with German signs in {source.images}, task {source.task}, light {source.light}.",
            flush=True,
        )
    elif isinstance(source, MegapixelMNIST):
        print(f"Megapixel MNIST in {source.images}, of {source.digits_of}.", flush=True)
    return source


def fetch(options: Options, source: Source) -> None:
    """Downloads what the source is made of; a CatalogError where nobody offers that."""
    if isinstance(source, SpeedLimits):
        download(source.images)
    elif isinstance(source, MegapixelMNIST):
        download_mnist(source.mnist)
    else:
        raise CatalogError(f"source {options.source}", "there is nothing to download", "Leave --download out.")


def table(manifest: Manifest, seconds: float) -> str:
    """Images by split, class and layout, those that cannot be read by status, and what it took."""
    names = dict(enumerate(manifest.classes)) | {-1: "unlabelled"}
    readable = [row for row in manifest.counts if row["status"] == "ok"]
    unreadable = manifest.images_by("status").items() - manifest.images_by("status", status="ok").items()
    images, size, requests, read, spent = (
        sum(row[key] for row in manifest.counts) for key in ("images", "bytes", "requests", "bytes_read", "seconds")
    )
    return "\n".join(
        [
            f"{'split':12}{'class':20}{'layout':8}{'images':>8}{'MB':>10}",
            *(_line(row["split"] or "-", names[row["label"]], row) for row in readable),
            *(f"{status:40}{count:8}" for status, count in sorted(unreadable)),
            _line("all", "", {"layout": "", "images": images, "bytes": size})
            + f"   in {seconds:.1f} s: {images / seconds:.1f} images/s",
            f"an image took {requests / images:.1f} requests, {read / images / 1e6:.2f} MB, {spent / images:.3f} s",
        ]
    )


def _line(split: str, name: str, row: Mapping[str, Any]) -> str:
    return f"{split:12}{name:20}{row['layout']:8}{row['images']:8}{row['bytes'] / 1e6:10.1f}"


def warning(catalog: str) -> str:
    """What large images that are stored whole cost, and what converting them would save; empty without such images."""
    images = large_and_whole(catalog).to_pylist()
    if not images:
        return ""
    megabytes = sum(row["n_bytes"] for row in images) / len(images) / 1e6
    megapixels = sum(row["height"] * row["width"] for row in images) / len(images) / 1e6
    return (
        f"WARNING: {len(images)} images above {LARGE / 1e6:.0f} MP are stored whole: any patch of one reads "
        f"{megabytes:.1f} MB and decodes {megapixels:.0f} MP on average.\n"
        "With --convert URI they become tiled: 10 patches of 100 x 100 then read about 0.25 MB and decode 1.2 MP."
    )


if __name__ == "__main__":
    run(main, Options, __doc__)
