#!/usr/bin/env python3
"""Train attention sampling to find the digit that occurs three times among noise in 1500 x 1500 pixels.

Without an option it takes the small digits that scikit-learn brings. With those of MNIST, or as a smaller task:

    jobs/train_megapixel_mnist.py --mnist DIR --n-patches 10
    jobs/train_megapixel_mnist.py --mnist DIR --download
    jobs/train_megapixel_mnist.py --side 500 --n-noise 0 --n-train 2500 --view-size 100 100
"""

from dataclasses import dataclass, replace
from typing import Literal

from ats_core.recipes import MegapixelMNIST, Recipe
from pipelines.catalog.made import catalog_of
from pipelines.catalog.sources import make_source, megapixel_mnist
from pipelines.catalog.sources.digits.idx import download_mnist
from pipelines.job import connect, run
from pipelines.report.present import present
from pipelines.storage import objects
from pipelines.training.options import TrainOptions
from pipelines.training.train import train


@dataclass(frozen=True, kw_only=True)
class Options(TrainOptions):
    """Options of train_megapixel_mnist."""

    mnist: str | None = None
    """Folder of MNIST's four IDX files, raw or gzipped; without it scikit-learn's 8 x 8 digits are scaled up."""
    download: bool = False
    """Fetch MNIST (12 MB) first, checked by md5: into --mnist, or into a folder under --out."""
    side: int = 1500
    """Height and width of the images, pixels; a digit has 28. The view is 0.12 of it, unless --view-size says more."""
    n_train: int = 5000
    """Generated training images."""
    n_test: int = 1000
    """Generated test images."""
    n_noise: int = 50
    """Pieces of noise in an image; 0 for none."""
    digits_on_top: bool = False
    """Write the digits over the noise, and not the noise over the digits."""
    labels: Literal["majority", "max", "top"] = "majority"
    """What to tell: the digit that occurs three times, the largest, the topmost."""


def source_of(options: Options) -> megapixel_mnist.MegapixelMNIST:
    """The images that the options name; they go beside the runs."""
    mnist = options.mnist or (objects.join(options.out, "mnist") if options.download else None)
    n_train, n_test = (16, 16) if options.smoke else (options.n_train, options.n_test)
    parts = (f"v{megapixel_mnist.VERSION}", "mnist" if mnist else "small", options.side, n_train, n_test)
    order = "-digits-on-top" if options.digits_on_top else ""
    name = "-".join(map(str, ("megapixel", *parts, f"noise{options.n_noise}"))) + order
    source = make_source(
        "megapixel_mnist",
        images=options.images or objects.join(options.out, "images", name),
        mnist=mnist and objects.absolute(mnist),
        side=options.side,
        n_train=n_train,
        n_test=n_test,
        n_noise=options.n_noise,
        digits_on_top=options.digits_on_top,
        labels=options.labels,
    )
    print(f"Megapixel MNIST, {source.side} x {source.side}, of {source.digits_of}.", flush=True)
    return source


def recipe_of(options: Options) -> Recipe:
    """The paper's, with a grid of patches side by side, 30 x 30 at 1500, for the models that read all of the image."""
    recipe = MegapixelMNIST()
    rows = -(-options.side // recipe.patch_size)
    return replace(recipe, mil_grid=(rows, rows))


def main(options: Options) -> None:
    """Digits, catalog, training, table and figure."""
    source = None if options.catalog else source_of(options)
    if source and options.download:
        download_mnist(source.mnist)
    connect()
    catalog = options.catalog or catalog_of(source, options.out, view_size=options.view_size)
    present(train(recipe_of(options), options, catalog), catalog)


if __name__ == "__main__":
    run(main, Options, __doc__)
