"""From a catalog to a trained model and its summary: one run of Ray Train."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import mean, median
from typing import Any

import ray
import torch
from ray.data import ExecutionOptions
from ray.data.expressions import col
from ray.train import (
    CheckpointConfig,
    DataConfig,
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
    WorkerGroupError,
)
from ray.train.torch import TorchTrainer

from ats_core.errors import AtsError, RecipeError
from ats_core.models import RELEASED
from ats_core.recipes import Recipe
from pipelines.catalog.build import read_catalog
from pipelines.catalog.schema import Manifest
from pipelines.errors import CatalogError
from pipelines.provenance import commit
from pipelines.storage import objects
from pipelines.training.loop import LoopConfig, train_loop
from pipelines.training.options import NEW_SETTINGS, OF_RECIPE, TrainOptions
from pipelines.training.run_directory import RunDirectory
from pipelines.training.start import begin

SMOKE_IMAGES = 16
SHOWN = 4  # test images of which the attention is kept through the epochs


@dataclass(frozen=True, slots=True)
class Splits:
    """Which of the catalog's splits train the model and which test it."""

    train: tuple[str, ...] = ("train",)
    test: tuple[str, ...] = ("test",)


TRAIN_TEST = Splits()


def fold_splits(folds: int, fold: int) -> Splits:
    """One fold of a cross-validation tests, the others train; a RecipeError when there is no such fold."""
    if not 0 <= fold < folds:
        raise RecipeError(f"fold {fold}", f"they are numbered 0 to {folds - 1}", "Check --fold and --folds.")
    names = [f"fold{i}" for i in range(folds)]
    return Splits(train=tuple(names[:fold] + names[fold + 1 :]), test=(names[fold],))


def train(
    recipe: Recipe,
    options: TrainOptions,
    catalog: str,
    splits: Splits = TRAIN_TEST,
    *,
    rows: Mapping[str, ray.data.Dataset] | None = None,
    observe: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train, or go on with, the run that these settings name; its summary.

    A run whose summary is there is not run again. The catalog decides the classes and the view size. Several runs may
    share the `rows` that `datasets` makes of it; `observe` is told of each epoch (`LoopConfig`), by rank 0.
    """
    manifest = Manifest.read(catalog)
    recipe = recipe_for(recipe, options, catalog, manifest)
    directory = RunDirectory(objects.join(options.out, run_name(recipe, options, catalog, splits)))
    if (summary := directory.read("summary.json")) is not None:
        print(f"{directory.uri} is finished; delete it to train again", flush=True)
        return summary
    check(recipe, options)
    if options.start_from and not directory.read_metrics():  # one that goes on has its own weights
        taken = begin(recipe.build(), recipe, options.start_from)
        print(f"starts from {options.start_from}: {', '.join(taken)}", flush=True)
    counts, _ = class_counts(manifest, splits.train), class_counts(manifest, splits.test)
    print(f"run: {directory.uri}", flush=True)
    config_file = {"recipe": asdict(recipe), "options": asdict(options), "catalog": catalog, "started": time.time()}
    started = (directory.read("config.json") or config_file)["started"]  # a resumed run's is its first
    directory.write("config.json", config_file | {"started": started})
    rows = rows or datasets(catalog, splits, smoke=options.smoke)
    shown = in_turn(values(rows["test"], "image_id"), values(rows["test"], "label"), SHOWN)
    config = replace(loop_config(recipe, options, directory, counts, shown), observe=observe)
    last = fit(config, options, rows)
    last |= over_epochs(directory.read_metrics())
    summary = summarise(config, options, splits, last) | {"wall_s": time.time() - started, "run": directory.uri}
    directory.write("summary.json", summary)
    return summary


def values(rows: ray.data.Dataset, column: str) -> list[Any]:
    """A column of materialised rows, read without a task of Ray Data: a trial of a sweep may hold every CPU."""
    batches = rows.iter_batches(batch_size=None, batch_format="pyarrow")
    return [value for batch in batches for value in batch[column].to_pylist()]


def in_turn(image_ids: Sequence[str], labels: Sequence[int], n: int) -> list[str]:
    """The first n images, taking the classes in turn."""
    seen: dict[int, int] = {}
    order = []
    for image_id, label in zip(image_ids, labels, strict=True):
        seen[label] = seen.get(label, 0) + 1
        order.append((seen[label], label, image_id))
    return [image_id for *_, image_id in sorted(order)[:n]]


def summary_of(
    recipe: Recipe, options: TrainOptions, catalog: str, splits: Splits = TRAIN_TEST
) -> dict[str, Any] | None:
    """The summary of the run that these settings name; None before it has ended."""
    recipe = recipe_for(recipe, options, catalog, Manifest.read(catalog))
    name = run_name(recipe, options, catalog, splits)
    return RunDirectory(objects.join(options.out, name)).read("summary.json")


def recipe_for(recipe: Recipe, options: TrainOptions, catalog: str, manifest: Manifest) -> Recipe:
    """The recipe with the options, and with the classes and the view size of the catalog.

    Raises:
        CatalogError: its views are not of the size that the options ask for.
    """
    if options.view_size not in (None, manifest.view_size):
        remedy = "Leave out --view-size, or --catalog to have one built."
        raise CatalogError(catalog, f"its views are {manifest.view_size}, not {options.view_size}", remedy)
    return replace(options.recipe(recipe), classes=manifest.classes, view_size=manifest.view_size)


def loop_config(
    recipe: Recipe, options: TrainOptions, directory: RunDirectory, counts: tuple[int, ...], shown: Sequence[str]
) -> LoopConfig:
    """What the loop is told: the settings, training images a class, and the images whose attention is kept."""
    return LoopConfig(
        recipe=recipe,
        run=directory.uri,
        class_counts=counts,
        start_from=options.start_from,
        seed=options.seed,
        read_ahead=0 if recipe.estimator == RELEASED else options.read_ahead,  # it takes the proposal for the attention
        images_in=options.images_in,
        memory_limit_mb=options.memory_limit_mb,
        on_error=options.on_error,
        eval_every=options.eval_every or max(1, recipe.epochs // 20),
        eval_sampling=options.eval_sampling,
        shown=tuple(shown),
        in_job=options.num_workers == 0,
        precision=options.precision,
        on_cpu=options.device == "cpu",
        progress_every_s=1.0 if sys.stderr.isatty() else 20.0,  # a log keeps every state of a bar
    )


def check(recipe: Recipe, options: TrainOptions) -> None:
    """Build the model once: what cannot be trained ends the job here, and not in workers that are started again.

    Raises:
        AtsError: a size, a name or a number that does not fit.
    """
    model = recipe.build()
    if recipe.batch_size % max(1, options.num_workers):
        reason = f"it does not divide among {options.num_workers} workers"
        raise RecipeError(f"batch of {recipe.batch_size}", reason, "Choose a multiple with --batch-size.")
    if options.device == "gpu" and not options.num_workers and not torch.cuda.is_available():
        raise RecipeError(
            "--device gpu", "the job's own process has none", "Choose --num-workers 1, or another device."
        )
    if recipe.model == "uniform" and options.eval_sampling == "topk":
        raise RecipeError("--eval-sampling topk", "uniform attention has no top", "Choose drawn or exact.")
    once = recipe.estimator != "iid" or options.eval_sampling == "topk"
    if once and recipe.n_patches > model.grid.n_cells:
        reason = f"the view has {model.grid.n_cells} cells, and each is taken once"
        raise RecipeError(f"{recipe.n_patches} patches", reason, "Choose fewer with --n-patches, or a larger view.")


def run_name(recipe: Recipe, options: TrainOptions, catalog: str, splits: Splits) -> str:
    """A name that is readable, and unique to the settings: Ray Train resumes whatever has the same name.

    What is not given is left out, so that a new option renames no older run; so is what the recipe and the catalog hold
    already, however it came there.
    """
    known = {"catalog", "images", "out", "view_size", "gated", *OF_RECIPE}
    names = [field.name for field in fields(TrainOptions) if field.name not in known]
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    of_recipe = {name: value for name, value in asdict(recipe).items() if value or name not in NEW_SETTINGS}
    settings = given | {"catalog": catalog, "recipe": of_recipe, "splits": asdict(splits)}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return f"{recipe.task}-{recipe.model}-{recipe.n_patches}-seed{options.seed}-{digest}"


def class_counts(manifest: Manifest, splits: Sequence[str]) -> tuple[int, ...]:
    """Readable images a class in some splits.

    Raises:
        CatalogError: there are none.
    """
    rows = [row for row in manifest.counts if row["split"] in splits and row["status"] == "ok"]
    counts = tuple(sum(r["images"] for r in rows if r["label"] == c) for c in range(len(manifest.classes)))
    if not sum(counts):
        there = sorted({row["split"] for row in manifest.counts})
        raise CatalogError(f"split {list(splits)}", f"no readable labelled image; the catalog has {there}", "Check it.")
    return counts


def datasets(catalog: str, splits: Splits, *, smoke: bool) -> dict[str, ray.data.Dataset]:
    """The training and the test rows, materialised: every epoch streams them from the object store."""
    both = {
        name: read_catalog(catalog, splits=list(getattr(splits, name))).filter(expr=col("label") >= 0)
        for name in ("train", "test")
    }
    return {name: (rows.limit(SMOKE_IMAGES) if smoke else rows).materialize() for name, rows in both.items()}


def resources_of_worker(options: TrainOptions, cluster: Mapping[str, float]) -> dict[str, float]:
    """A GPU where there are enough, and a share of the CPUs that leaves one for Ray Data.

    Which waits for ever when trainers hold them all.
    """
    use_gpu = options.device == "gpu" or (options.device == "auto" and cluster.get("GPU", 0) >= options.num_workers)
    return {"CPU": min(1.0, max(0.1, (cluster.get("CPU", 0) - 1) / max(1, options.num_workers))), "GPU": int(use_gpu)}


def fit(config: LoopConfig, options: TrainOptions, rows: Mapping[str, ray.data.Dataset]) -> dict[str, Any]:
    """Run the loop on the cluster; the metrics of the last epoch.

    Without workers the loop runs here, and ends with its first error.
    """
    of_worker = resources_of_worker(options, ray.cluster_resources())
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={"config": config},
        datasets=dict(rows),
        dataset_config=DataConfig(["train"], execution_options=ExecutionOptions(preserve_order=True)),
        scaling_config=ScalingConfig(
            num_workers=options.num_workers, use_gpu=of_worker["GPU"] > 0, resources_per_worker=of_worker
        ),
        run_config=RunConfig(
            name="checkpoints",
            storage_path=config.run,
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    try:
        return trainer.fit().metrics
    except WorkerGroupError as error:
        for cause in error.worker_failures.values():
            if isinstance(cause, AtsError):
                raise cause from error
        raise


def over_epochs(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What reading cost an image, as the mean of all epochs, since later ones find much in memory; median times."""
    of_storage = ("requests_per_image", "mb_per_image", "tiles_per_image", "decode_ms_per_image")
    means = {name: mean(row[name] for row in history) for name in of_storage}
    return means | {name: median(row[name] for row in history) for name in ("ms_per_sample", "images_per_second")}


def summarise(config: LoopConfig, options: TrainOptions, splits: Splits, last: Mapping[str, Any]) -> dict[str, Any]:
    """The one row that sweeps and reports collect."""
    recipe = config.recipe
    return {
        "task": recipe.task,
        "model": recipe.model,
        "n_patches": recipe.n_patches,
        "estimator": recipe.estimator,
        "entropy_weight": recipe.entropy_weight,
        "anomaly": recipe.anomaly,
        "start_from": options.start_from,
        "eval_sampling": options.eval_sampling,
        "view_size": list(recipe.view_size),
        "train_splits": list(splits.train),
        "test_splits": list(splits.test),
        "seed": options.seed,
        "epochs": last["epoch"],
        **{name: value for name, value in last.items() if name not in ("epoch", "lr", "seconds")},
        "commit": commit(),
    }
