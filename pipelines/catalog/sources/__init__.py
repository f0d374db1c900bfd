"""The data sets that a catalog can be built from, by the name that --source takes."""

from dataclasses import MISSING, fields
from typing import Any

from pipelines.catalog.schema import Source
from pipelines.catalog.sources.colon_cancer import ColonCancer
from pipelines.catalog.sources.german_scenes import GermanScenes
from pipelines.catalog.sources.gtsdb import Gtsdb
from pipelines.catalog.sources.labels_csv import LabelsCsv
from pipelines.catalog.sources.megapixel_mnist import MegapixelMNIST
from pipelines.catalog.sources.road_scenes import RoadScenes
from pipelines.catalog.sources.speed_limits import SpeedLimits
from pipelines.errors import CatalogError

SOURCES: dict[str, type[Source]] = {
    "road_scenes": RoadScenes,
    "speed_limits": SpeedLimits,
    "gtsdb": Gtsdb,
    "german_scenes": GermanScenes,
    "colon_cancer": ColonCancer,
    "megapixel_mnist": MegapixelMNIST,
    "labels_csv": LabelsCsv,
}


def make_source(name: str, *, seed: int = 0, **options: Any) -> Source:
    """The source of that name, with the options that are not None; `seed` goes to those that choose by chance.

    Raises:
        CatalogError: no such source, an option that it does not have, or one that it needs and was not given.
    """
    if name not in SOURCES:
        raise CatalogError(f"source {name!r}", "there is none of this name", f"Choose from {', '.join(SOURCES)}.")
    known = {field.name: field for field in fields(SOURCES[name])}
    given = {option: value for option, value in options.items() if value is not None}
    if unknown := sorted(given.keys() - known.keys()):
        raise CatalogError(f"source {name}", f"it has no option {unknown[0]!r}", f"It has {', '.join(known)}.")
    needed = {option for option, field in known.items() if field.default is MISSING}
    if lacking := sorted(needed - given.keys()):
        raise CatalogError(f"source {name}", f"it needs {lacking[0]!r}", f"Pass --{lacking[0]}.")
    return SOURCES[name](**given | ({"seed": seed} if "seed" in known else {}))
