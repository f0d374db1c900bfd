"""The training loop that every worker runs; the same for every model, since reading lies between two phases."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray.train
import torch
from ray.experimental.tqdm_ray import tqdm
from ray.train.torch import get_device, prepare_model
from torch import Generator, distributed, nn
from torch.optim import Adam

from ats_core import bundle
from ats_core.heap import keep_freed_memory
from ats_core.losses import inverse_prior_weights
from ats_core.models import Model
from ats_core.precision import has_bfloat16
from ats_core.recipes import Recipe
from ats_core.sampling import Sampling
from ats_core.step import train_step
from pipelines.job import quieten
from pipelines.storage.patches import ImagesIn, OnError, PatchReader
from pipelines.training.batches import Batch, ResidentBatches, StreamedBatches, in_order
from pipelines.training.checkpoints import Checkpoints, OfJob, OfWorkers
from pipelines.training.evaluate import Predictions, predict
from pipelines.training.machine import BYTES_PER_MB, machine_of, usable_cores
from pipelines.training.memory import MemoryMeter
from pipelines.training.metrics import metrics
from pipelines.training.options import Precision
from pipelines.training.read_ahead import Request, ask, read_ahead
from pipelines.training.run_directory import RunDirectory
from pipelines.training.start import begin


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """All that a worker needs beside its shard of the data."""

    recipe: Recipe
    run: str
    """URI of the run directory."""
    class_counts: tuple[int, ...]
    """Training images a class."""
    start_from: str | None
    """URI of the run or bundle whose networks the model begins with."""
    seed: int
    read_ahead: int
    images_in: ImagesIn
    memory_limit_mb: float
    on_error: OnError
    eval_every: int
    """Epochs between evaluations, each with a checkpoint."""
    eval_sampling: Sampling
    shown: tuple[str, ...]
    """Ids of the test images whose attention is kept at each evaluation."""
    in_job: bool
    """Whether this is the job's own process, and no worker."""
    precision: Precision
    on_cpu: bool
    """Whether an accelerator is left alone where there is one."""
    progress_every_s: float
    """Seconds between two states of the progress bar."""
    observe: Callable[[Mapping[str, Any]], None] | None = None
    """Told an epoch's row when it is trained, and again when it is tested and its state is kept."""


def train_loop(config: dict[str, LoopConfig]) -> None:
    """What `TorchTrainer` runs on each worker."""
    Worker(config["config"]).run()


class Worker:
    """One training worker: its model, its shard, its reader, and the history of the run."""

    def __init__(self, config: LoopConfig) -> None:
        self.config, self.recipe = config, config.recipe
        quieten()
        self.context = ray.train.get_context()
        self.rank, self.n_workers = self.context.get_world_rank(), self.context.get_world_size()
        if not config.in_job:  # Ray sets one thread a CPU asked for, and a trainer asks for a fraction
            torch.set_num_threads(max(1, usable_cores() // self.context.get_local_world_size()))
        torch.manual_seed(config.seed)
        model = self.recipe.build().to(memory_format=torch.channels_last)  # faster than contiguous, also on a CPU
        self.device = torch.device("cpu") if config.on_cpu else get_device()
        if self.device.type == "cpu":
            keep_freed_memory()
        elif self.device.type == "cuda" and self.n_workers > 1:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.trained = prepare_model(model, move_to_device=self.device)
        self.model: Model = getattr(self.trained, "module", self.trained)
        self.optimizer = Adam(self.model.parameters(), lr=self.recipe.lr, fused=True)
        bfloat16 = has_bfloat16(self.device) if config.precision == "auto" else config.precision == "bfloat16"
        self.precision = "bfloat16" if bfloat16 else "float32"
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16)
        self.reader = PatchReader(
            self.recipe.patch_size,
            images_in=config.images_in,
            device=self.device,
            memory_limit_mb=config.memory_limit_mb,
            on_error=config.on_error,
        )
        weights_C = inverse_prior_weights(config.class_counts) if self.recipe.balance_classes else None
        self.class_weights_C = weights_C if weights_C is None else weights_C.to(self.device)
        self.memory = MemoryMeter(self.device)
        self.memory_of_step: dict[str, float] = {}
        self.directory = RunDirectory(config.run)
        self.checkpoints: Checkpoints = OfJob(self.directory) if config.in_job else OfWorkers()
        self.history: list[dict[str, Any]] = []

    def run(self) -> None:
        """Train from the last checkpoint, or from what another run has learned, to the last epoch."""
        if not self._restore() and self.config.start_from:
            begin(self.model, self.recipe, self.config.start_from)
        batches = self._train_batches()
        for epoch in range(len(self.history), self.recipe.epochs):
            row = {"epoch": epoch + 1, **self._train_epoch(batches, epoch)}
            self.history.append(row)
            self._observe(row)
            last = epoch + 1 == self.recipe.epochs
            if last or (epoch + 1) % self.config.eval_every == 0:
                row |= self._evaluate(epoch + 1)
                self._report(row)
            if self.rank == 0:
                print(describe(row, self.recipe.epochs), flush=True)

    def _train_batches(self) -> StreamedBatches | ResidentBatches:
        kind = StreamedBatches if self.config.images_in == "bucket" else ResidentBatches
        shard = ray.train.get_dataset_shard("train")
        return kind(shard, self.recipe.batch_size // self.n_workers, self.config.seed)

    def _train_epoch(self, batches: StreamedBatches | ResidentBatches, epoch: int) -> dict[str, Any]:
        """One pass over the shard; what it cost, on what, and what it gave."""
        self.trained.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr * (0.1 if epoch >= self.recipe.lr_drop * self.recipe.epochs else 1.0)
        seed = (self.config.seed * 100_003 + epoch) * 1_009 + self.rank
        torch.manual_seed(seed)  # dropout, so that a resumed epoch is the epoch that it would have been
        generator = Generator().manual_seed(seed)
        before, start = self.reader.stats, time.perf_counter()
        losses, n_images, waited = [], 0, 0.0
        for request in read_ahead(
            self._progress(batches.epoch(epoch), epoch),
            lambda batch: self._ask(batch, generator),
            self.config.read_ahead,
        ):
            asked = time.perf_counter()
            request.future.result()
            waited += time.perf_counter() - asked
            step = self._measured_step if len(losses) == 1 else self._step  # the first one warms up
            losses.append(step(request) * len(request.batch))
            n_images += len(request.batch)
        seconds, read = time.perf_counter() - start, self.reader.stats.since(before)
        total_loss, total_images, left_out = self._sum(sum(losses), n_images, read.bad)
        return {
            "train_loss": total_loss / total_images,
            "updates": len(losses) + (self.history[-1]["updates"] if self.history else 0),
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": seconds,
            "images_per_second": total_images / seconds,
            "ms_per_sample": 1e3 * seconds * self.n_workers / total_images,
            "requests_per_image": read.requests / n_images,
            "mb_per_image": read.bytes_read / n_images / BYTES_PER_MB,
            "tiles_per_image": read.tiles / n_images,
            "decode_ms_per_image": 1e3 * read.decode_s / n_images,
            "storage_ms_per_request": 1e3 * read.wait_s / max(1, read.requests),
            "retries": read.retries,
            "images_left_out": int(left_out),
            "read_wait_s": waited,
            "peak_memory_mb": self.memory.peak_mb(),
            **self.memory_of_step,
            "precision": self.precision,
            "threads": torch.get_num_threads(),
            "machine": machine_of(self.device),
        }

    def _ask(self, batch: Batch, generator: Generator) -> Request:
        with self.autocast:
            return ask(self.model, self.reader, batch, self.recipe.augmentation, generator)

    def _step(self, request: Request) -> float:
        patches = request.patches(self.model)
        return train_step(
            self.trained,
            self.optimizer,
            request.views,
            request.draw,
            patches,
            request.labels().to(patches.device),
            entropy_weight=self.recipe.entropy_weight,
            clip_norm=self.recipe.clip_norm,
            class_weights_C=self.class_weights_C,
            autocast=self.autocast,
        )

    def _measured_step(self, request: Request) -> float:
        """An update, and the memory that it takes an image, where the system tells it."""
        loss, grown_mb = self.memory.growth_mb(lambda: self._step(request))
        if grown_mb is not None:
            self.memory_of_step = {"memory_mb_per_sample": grown_mb / len(request.batch)}
        return loss

    def _progress(self, batches: Iterator[Batch], epoch: int) -> Iterator[Batch]:
        if self.rank:
            yield from batches
            return
        total, every_s = sum(self.config.class_counts) // self.n_workers, self.config.progress_every_s
        bar = tqdm(desc=f"epoch {epoch + 1}", total=total, unit="image", flush_interval_s=every_s)
        for batch in batches:
            yield batch
            bar.update(len(batch))
        bar.close()

    def _evaluate(self, epoch: int) -> dict[str, float]:
        """Metrics of the test split; each worker takes its share of the batches."""
        self.trained.eval()
        if self.n_workers > 1:  # running statistics of batch normalisation are each worker's own; rank 0's are saved
            for buffer in self.model.buffers():
                distributed.broadcast(buffer, src=0)
        config, before = self.config, self.reader.stats
        one_by_one = config.eval_sampling == "exact"  # then every cell is read, and a batch's would fill the memory
        batch_size = 1 if one_by_one else self.recipe.batch_size // self.n_workers
        batches = in_order(ray.train.get_dataset_shard("test"), batch_size)
        mine = (batch for i, batch in enumerate(batches) if i % self.n_workers == self.rank)
        with self.autocast:
            predictions = predict(
                self.model,
                self.reader,
                mine,
                seed=config.seed * 1_009 + self.rank,
                depth=config.read_ahead,
                sampling=config.eval_sampling,
                shown=config.shown,
            )
        (left_out,) = self._sum(self.reader.stats.since(before).bad)
        predictions = self._gather(predictions)
        if self.rank == 0:
            self._write(predictions, epoch)
        return metrics(predictions, self.recipe.classes) | {"test_images_left_out": int(left_out)}

    def _write(self, predictions: Predictions, epoch: int) -> None:
        """Where the model looks at some images, by epoch; at the end all that it says."""
        if maps := [(name, predictions.maps[name].numpy()) for name in self.config.shown if name in predictions.maps]:
            names, arrays = zip(*maps, strict=True)
            self.directory.write_attention(epoch, names, np.stack(arrays))
        if epoch == self.recipe.epochs:
            self.directory.write("predictions.json", {"classes": self.recipe.classes, **predictions.to_json()})

    def _gather(self, predictions: Predictions) -> Predictions:
        if self.n_workers == 1:
            return predictions
        parts: list[Any] = [None] * self.n_workers
        distributed.all_gather_object(parts, predictions)
        return sum(parts, start=Predictions())

    def _sum(self, *values: float) -> list[float]:
        """Sums over the workers."""
        totals = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.n_workers > 1:
            distributed.all_reduce(totals)
        return totals.tolist()

    def _report(self, row: dict[str, Any]) -> None:
        """Save a checkpoint, the metrics so far and the model; every rank meets here."""
        if self.rank:
            ray.train.report(row)
            return
        self.directory.write_metrics(self.history)
        self.directory.write_model(bundle.dumps(self.model, self.recipe))
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "history": self.history}
        self.checkpoints.save(row, state)
        self._observe(row)

    def _observe(self, row: dict[str, Any]) -> None:
        if self.config.observe and self.rank == 0:
            self.config.observe(row)

    def _restore(self) -> bool:
        """Whether there was a checkpoint to go on from."""
        state = self.checkpoints.restore(self.device)
        if state is None:
            return False
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = state["history"]
        if self.rank == 0:
            print(f"resumed after epoch {len(self.history)} of {self.recipe.epochs}", flush=True)
        return True


def describe(row: dict[str, Any], epochs: int) -> str:
    """An epoch in one line, with units."""
    line = (
        f"epoch {row['epoch']}/{epochs}: loss {row['train_loss']:.3f}, {row['images_per_second']:.1f} images/s, "
        f"{row['ms_per_sample']:.0f} ms/image, {row['requests_per_image']:.1f} requests/image, "
        f"{row['mb_per_image']:.2f} MB/image, waited {row['read_wait_s']:.1f} s for patches"
    )
    if "test_error" in row:
        line += f"; test error {row['test_error']:.3f}, test loss {row['test_loss']:.3f}"
    if "patches_on_box" in row:
        line += f", patches on a box {row['patches_on_box']:.3f} (uniform {row['patches_on_box_uniform']:.3f})"
    return line
