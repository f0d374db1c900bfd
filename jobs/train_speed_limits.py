#!/usr/bin/env python3
"""Train attention sampling to read the speed limit in a road scene, from one label an image.

Without an option it paints its own road scenes, with small signs as in the paper's. On real images:

    jobs/train_speed_limits.py --source gtsdb --images DIR
    ray job submit --working-dir . -- jobs/train_speed_limits.py --source speed_limits --images s3://bucket/prefix
"""

from dataclasses import dataclass
from typing import Literal

from ats_core.recipes import GermanSigns, RoadScenes, SpeedLimits
from pipelines.catalog.made import catalog_of
from pipelines.catalog.schema import Source
from pipelines.catalog.sources import make_source
from pipelines.catalog.sources.road_scenes import VERSION
from pipelines.job import connect, run
from pipelines.report.present import present
from pipelines.storage import objects
from pipelines.training.options import TrainOptions
from pipelines.training.train import train


@dataclass(frozen=True, kw_only=True)
class Options(TrainOptions):
    """Options of train_speed_limits."""

    source: Literal["road_scenes", "speed_limits", "gtsdb"] = "road_scenes"
    """Generated scenes, the Swedish traffic signs (Set1, Set2), or the German ones (GTSDB)."""
    task: Literal["prohibitory", "speed_limit"] = "prohibitory"
    """What to tell of the German signs."""
    difficulty: Literal["default", "easy"] = "default"
    """How large and how many the signs of generated scenes are."""
    n_train: int = 747
    """Generated training scenes."""
    n_test: int = 684
    """Generated test scenes."""
    convert: bool = True
    """Write the images under --out as tiled TIFFs first: a patch then costs its tiles, and not the whole image."""


RECIPES = {"road_scenes": RoadScenes(), "speed_limits": SpeedLimits(), "gtsdb": GermanSigns()}


def source_of(options: Options) -> Source:
    """The data set that the options name; generated scenes go beside the runs."""
    if options.source == "road_scenes":
        n_train, n_test = (16, 16) if options.smoke else (options.n_train, options.n_test)
        folder = options.images or objects.join(
            options.out, "images", f"scenes-v{VERSION}-{options.difficulty}-{n_train}-{n_test}"
        )
        return make_source("road_scenes", images=folder, difficulty=options.difficulty, n_train=n_train, n_test=n_test)
    task = options.task if options.source == "gtsdb" else None
    return make_source(options.source, seed=options.seed, images=options.images, task=task)


def main(options: Options) -> None:
    """Catalog, training, table and figure."""
    if options.source == "road_scenes" and not options.catalog:
        print(f"No data set named: generated road scenes, difficulty {options.difficulty}.", flush=True)
    source = None if options.catalog else source_of(options)
    connect()
    catalog = options.catalog or catalog_of(source, options.out, view_size=options.view_size, convert=options.convert)
    present(train(RECIPES[options.source], options, catalog), catalog)


if __name__ == "__main__":
    run(main, Options, __doc__)
