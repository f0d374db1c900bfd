"""What the trainings of a sweep are of: a task's images or the user's own catalog, and its splits."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cache

from ats_core.errors import RecipeError
from ats_core.recipes import RECIPES, OwnImages, Recipe
from pipelines.catalog.made import catalog_of, catalog_uri, is_catalog
from pipelines.catalog.schema import Manifest, Source
from pipelines.catalog.sources import SOURCES, make_source
from pipelines.catalog.statistics import colours_of
from pipelines.errors import CatalogError
from pipelines.storage import objects
from pipelines.training.train import TRAIN_TEST, Splits, class_counts, fold_splits
from pipelines.tuning.options import SweepOptions

View = tuple[int, int]
OWN = OwnImages().task
SOURCE_OF = {task: task for task in RECIPES} | {OWN: "labels_csv"}
"""The source of each task's images."""
FEW = 16  # generated images of a split, to see whether all works


@dataclass(frozen=True, kw_only=True)
class Data:
    """The images of a sweep: a source, of which a catalog is made for every view size, or one catalog that is there."""

    recipe: Recipe
    """The task's, with the classes of the images."""
    splits: tuple[Splits, ...]
    """Of one training each."""
    out: str
    source: Source | None = None
    made: str | None = None
    """The user's catalog."""

    def catalog(self, view: View) -> str:
        """The URI of the catalog with views of that size, whether it is there yet or not.

        Raises:
            CatalogError: the user's has views of another size.
        """
        if self.source:
            return catalog_uri(self.source, self.out, view_size=view)
        if view != self.recipe.view_size:
            reason = f"its views are {self.recipe.view_size}, not {view}"
            raise CatalogError(str(self.made), reason, "Leave out --view-sizes, or --catalog to have some built.")
        return str(self.made)

    def make(self, views: Iterable[View]) -> None:
        """Build the catalogs that are not there yet."""
        for view in dict.fromkeys(views):
            if self.source:
                catalog_of(self.source, self.out, view_size=view)
            else:
                self.catalog(view)

    def recipe_at(self, view: View) -> Recipe:
        """The recipe with views of that size, and for the user's own images with their colours once they are known."""
        recipe, catalog = replace(self.recipe, view_size=view), self.catalog(view)
        if recipe.task == OWN and is_catalog(catalog):
            mean, std = _colours(catalog, self.splits[0].train)
            recipe = replace(recipe, mean=mean, std=std)
        return recipe

    def n_train(self, view: View, splits: Splits) -> int:
        """Training images; before there is a catalog, as many as the source lists."""
        if is_catalog(self.catalog(view)):
            return sum(class_counts(Manifest.read(self.catalog(view)), splits.train))
        if (generated := getattr(self.source, "n_train", None)) is not None:
            return generated
        return sum(entry.split in splits.train and entry.label >= 0 for entry in self.source.entries())


_colours = cache(colours_of)  # of all trials of a view size


def data_of(options: SweepOptions) -> Data:
    """The images that the options name.

    Raises:
        RecipeError: a catalog that does not say which task it is of, and no task.
        CatalogError: a catalog or images that cannot be used.
    """
    return _of_catalog(options) if options.catalog else _of_source(options)


def _of_catalog(options: SweepOptions) -> Data:
    manifest = Manifest.read(options.catalog)
    recipe = RECIPES[options.task or _task_of(options.catalog, manifest)]()
    recipe = replace(recipe, classes=manifest.classes, view_size=manifest.view_size)
    folds = sum(split.startswith("fold") for split in manifest.images_by("split"))
    return Data(recipe=recipe, splits=_splits(folds, options), out=options.out, made=options.catalog)


def _task_of(catalog: str, manifest: Manifest) -> str:
    """The task of the source that the manifest shows."""
    for task, name in SOURCE_OF.items():
        if manifest.source.startswith(f"{SOURCES[name].__name__}("):
            return task
    raise RecipeError(catalog, "it does not say which task it is of", f"Pass --task: one of {sorted(RECIPES)}.")


def _of_source(options: SweepOptions) -> Data:
    task = options.task or "road_scenes"
    name = SOURCE_OF[task]
    known = {field.name: field for field in fields(SOURCES[name])}
    folds = options.folds if "folds" in known and known["folds"].default else 0  # else it has a test split by itself
    given = {"images": options.images, "labels": options.labels, "folds": folds}
    if "n_train" in known:  # generated: beside the runs
        given["images"] = options.images or objects.join(options.out, "images", task + "-smoke" * options.smoke)
        given |= dict.fromkeys(("n_train", "n_test"), FEW if options.smoke else None)
    if task == OWN and not options.labels:
        raise CatalogError("labels", "there are none", "Pass --labels CSV, or --catalog.")
    source = make_source(name, **{name: value for name, value in given.items() if name in known})
    recipe = replace(RECIPES[task](), classes=source.classes, view_size=source.view_size)
    return Data(recipe=recipe, splits=_splits(folds, options), out=options.out, source=source)


def _splits(folds: int, options: SweepOptions) -> tuple[Splits, ...]:
    """One for each fold that tests; of images with a test split, that."""
    if folds:
        return tuple(fold_splits(folds, fold) for fold in options.test_folds)
    if options.test_folds != (0,):
        raise RecipeError("--test-folds", "the images have a test split, and no folds", "Leave it out.")
    return (TRAIN_TEST,)
