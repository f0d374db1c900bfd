#!/usr/bin/env python3
"""Train attention sampling to read the speed limit in a road scene, from one label an image.

Without an option it paints its own road scenes, with small signs as in the paper's. On real images:

    jobs/train_speed_limits.py --source gtsdb --images DIR
    jobs/train_speed_limits.py --source gtsdb --images DIR --lr 1e-3 --start-from runs/RUN    # of german_scenes
    ray job submit --working-dir . -- jobs/train_speed_limits.py --source speed_limits --images s3://bucket/prefix
"""

from dataclasses import dataclass
from typing import Literal

from ats_core.recipes import GermanScenes, GermanSigns, RoadScenes, SpeedLimits
from pipelines.catalog.made import catalog_of
from pipelines.catalog.schema import Source
from pipelines.catalog.sources import german_scenes, make_source, road_scenes
from pipelines.job import connect, run
from pipelines.report.present import present
from pipelines.storage import objects
from pipelines.training.options import TrainOptions
from pipelines.training.train import train


@dataclass(frozen=True, kw_only=True)
class Options(TrainOptions):
    """Options of train_speed_limits."""

    source: Literal["road_scenes", "speed_limits", "german_scenes", "gtsdb"] = "road_scenes"
    """Swedish signs in generated scenes or real ones (Set1, Set2), or German ones in generated or real ones (GTSDB)."""
    task: Literal["prohibitory", "speed_limit"] = "prohibitory"
    """What to tell of the German signs."""
    difficulty: Literal["default", "easy"] = "default"
    """How large and how many the signs of `road_scenes` are."""
    light: Literal["clear", "adverse"] = "clear"
    """Of `german_scenes`: scenes to begin with, or those that are as hard to read as real ones."""
    n_train: int | None = None
    """Generated training scenes; 747, or 1,200 of `german_scenes`, when not given."""
    n_test: int | None = None
    """Generated test scenes; 684, or 200 of `german_scenes`, when not given."""
    convert: bool = True
    """Write the images under --out as tiled TIFFs first: a patch then costs its tiles, and not the whole image."""


RECIPES = {
    "road_scenes": RoadScenes(),
    "speed_limits": SpeedLimits(),
    "german_scenes": GermanScenes(),
    "gtsdb": GermanSigns(),
}
GENERATED = {"road_scenes": (747, 684), "german_scenes": (1200, 200)}
"""Training and test scenes; of the first as many as there are Swedish ones."""


def source_of(options: Options) -> Source:
    """The data set that the options name."""
    if options.source in GENERATED:
        return _generated(options)
    task = options.task if options.source == "gtsdb" else None
    return make_source(options.source, seed=options.seed, images=options.images, task=task)


def _generated(options: Options) -> Source:
    """Scenes that are painted once, beside the runs, whatever the seed of these."""
    n_train, n_test = GENERATED[options.source]
    if options.source == "road_scenes":
        kind, folder = {"difficulty": options.difficulty}, f"scenes-v{road_scenes.VERSION}-{options.difficulty}"
    else:
        kind = {"task": options.task, "light": options.light}
        folder = f"german-v{german_scenes.VERSION}-{options.task}-{options.light}"
    if options.smoke:
        n_train, n_test = 16, 16
    else:
        n_train = n_train if options.n_train is None else options.n_train
        n_test = n_test if options.n_test is None else options.n_test
    images = options.images or objects.join(options.out, "images", f"{folder}-{n_train}-{n_test}")
    return make_source(options.source, images=images, n_train=n_train, n_test=n_test, **kind)


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
