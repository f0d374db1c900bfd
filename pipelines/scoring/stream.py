"""Blocks of images through the stages, on as many processes as the cluster has room for."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext

from pipelines.catalog.build import BLOCK_ROWS
from pipelines.scoring.geojson import write_geojson
from pipelines.scoring.model import Scorer
from pipelines.scoring.options import ScoreOptions
from pipelines.scoring.patience import patiently
from pipelines.scoring.schema import SCORES
from pipelines.scoring.stages.classify import Classify
from pipelines.scoring.stages.networks import Device
from pipelines.scoring.stages.open import open_images
from pipelines.scoring.stages.propose import Propose
from pipelines.scoring.stages.read import Read
from pipelines.storage.layouts import CHANNELS

FEW_CPUS = 8  # so that the first process of each stage has one of its own, and others too

HELPERS = 2  # tasks at once that open images, or write what was found
SLICE_BYTES = 32 * 2**20  # of the patches that are held together

Stage = tuple[type, dict[str, Any], int | None, dict[str, float]]
"""Its class, what that is made with, processes at most, and what each reserves."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Processes of each stage at most, None for as many as there is room for, and what one reserves."""

    propose: int | None
    read: int | None
    classify: int | None
    device: Device
    """Of the networks."""
    cpu: dict[str, float]
    """Of a process without networks."""
    network: dict[str, float]
    """Of one with them."""

    @classmethod
    def of(cls, options: ScoreOptions, cluster: Mapping[str, float]) -> "Sizes":
        """From the cluster, unless the options say otherwise.

        A GPU is shared by a process that proposes and one that classifies; without any, all stages compete for the
        CPUs. Where these are few, a process reserves a part of one, so that all find room, and two that only help.
        Elsewhere the cluster may grow, and has none yet where only its other nodes work: nothing is said of how far.
        """
        cpus, gpus = int(cluster.get("CPU", 0)), int(cluster.get("GPU", 0))
        few, on_gpu = 0 < cpus < FEW_CPUS, options.device == "gpu" or (options.device == "auto" and gpus > 0)
        room = cpus if few else None
        networks = (gpus or (1 if few else None)) if on_gpu else room
        propose, classify = options.propose_actors or networks, options.classify_actors or networks
        read = options.read_actors or room
        cpu = {"num_cpus": cpus / sum(filter(None, (propose, read, classify, HELPERS))) if few else 1.0}
        network = cpu | ({"num_gpus": 0.5} if on_gpu else {})
        return cls(propose, read, classify, "cuda" if on_gpu else "cpu", cpu, network)


def images_at_once(options: ScoreOptions, scorer: Scorer) -> int:
    """Images of a block that go through networks and readers together, and whose patches are held together."""
    of_patches = max(1, scorer.n_patches) * scorer.recipe.patch_size**2 * CHANNELS
    return options.batch_size or max(1, min(BLOCK_ROWS, SLICE_BYTES // of_patches))


def scored(
    options: ScoreOptions, scorer: Scorer, catalog: str | None, blocks: Sequence[pa.Table], *, one_by_one: bool = False
) -> Iterator[pa.Table]:
    """RESULT of the blocks, some rows at a time, in any order: a slow image holds up no other.

    A block of which a task fails as a whole is lost, or a part of it, and the log says why. Rows of one that was done
    again, as its process had died, may come twice. One by one, a process has a single block at a time, so that one
    that kills it is done again without others.
    """
    with _forgiving():
        sizes, as_it_is = Sizes.of(options, ray.cluster_resources()), {"batch_size": None, "batch_format": "pyarrow"}
        where = {"view_size": scorer.recipe.view_size, "catalog": catalog}
        # Without GPUs Ray opens images in the processes that propose, with them in others.
        stream = ray.data.from_arrow(list(blocks)).map_batches(open_images, fn_kwargs=where, **as_it_is, **sizes.cpu)
        for stage, made_with, at_most, resources in _stages(options, scorer, sizes):
            in_flight = 1 if one_by_one else None
            pool = ActorPoolStrategy(min_size=1, max_size=at_most, max_tasks_in_flight_per_actor=in_flight)
            stream = stream.map_batches(stage, fn_constructor_kwargs=made_with, compute=pool, **as_it_is, **resources)
        if options.geojson:
            outline = {"out": options.out, "patch_size": scorer.recipe.patch_size}
            stream = stream.map_batches(outlined, fn_kwargs=outline, **as_it_is, **sizes.cpu)
        yield from (result for result in stream.iter_batches(batch_size=None, batch_format="pyarrow") if len(result))


def _stages(options: ScoreOptions, scorer: Scorer, sizes: Sizes) -> Iterator[Stage]:
    rows = {"at_once": images_at_once(options, scorer)}
    of_networks = rows | {"scorer": scorer, "device": sizes.device, "keep_attention": options.attention}
    yield Propose, of_networks, sizes.propose, sizes.network
    if scorer.n_patches:
        of_patches = {"patch_size": scorer.recipe.patch_size, "n": scorer.n_patches}
        yield Read, rows | of_patches, sizes.read, sizes.cpu
    yield Classify, of_networks, sizes.classify, sizes.network


def outlined(result: pa.Table, out: str, patch_size: int) -> pa.Table:
    """The block as it was, its GeoJSON written; written again, after a crash, that is the same."""
    patiently(lambda: write_geojson(result.select(SCORES.names), out, patch_size), f"{out}/geojson")
    return result


@contextmanager
def _forgiving() -> Iterator[None]:
    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = False
    context.max_errored_blocks = -1
    context.enable_progress_bars = False
    with DataContext.current(context):
        yield
