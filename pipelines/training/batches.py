"""Rows of the catalog -> batches of views and references; never megapixels.

Ray gives every worker a shard of the same number of rows, so that all take the same number of steps: with n workers up
to n - 1 images of the training split are left out.

Shape suffixes: B images, C channels, h and w view pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ray.data import DataIterator
from torch import Tensor

from pipelines.storage.patches import ImageRef

SHUFFLE_ROWS = 1024  # rows held for shuffling while streaming: about 340 MB of views of 288 x 384


@dataclass(frozen=True, slots=True)
class Batch:
    """What is known of some images before any patch is read."""

    images: Sequence[ImageRef]
    views: Tensor
    """uint8 [B, h, w, C], as the catalog holds them."""
    labels: Tensor
    """int64 [B]; -1 where there is no label."""
    sizes: Tensor
    """int64 [B, 2], height and width of the full images."""
    boxes: Sequence[Tensor]
    """For each image float [M, 4] as (y0, x0, y1, x1); M is 0 where none is known."""
    image_ids: Sequence[str]
    groups: Sequence[str]
    """Images of one group are no independent samples; "" where an image stands alone."""

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: Sequence[int]) -> "Batch":
        """The batch of some of the rows, in the order given."""
        index = torch.as_tensor(rows, dtype=torch.int64)  # which of no rows would be floats
        return Batch(
            images=[self.images[i] for i in rows],
            views=self.views[index],
            labels=self.labels[index],
            sizes=self.sizes[index],
            boxes=[self.boxes[i] for i in rows],
            image_ids=[self.image_ids[i] for i in rows],
            groups=[self.groups[i] for i in rows],
        )


def collate(rows: Mapping[str, np.ndarray]) -> Batch:
    """A batch from the columns of catalog rows, all of one view size."""
    height, width = int(rows["view_height"][0]), int(rows["view_width"][0])
    views = np.stack([np.frombuffer(view, np.uint8).reshape(height, width, -1) for view in rows["view"]])
    columns = (rows[name].tolist() for name in ImageRef.__slots__)
    return Batch(
        images=[ImageRef(*values) for values in zip(*columns, strict=True)],
        views=torch.from_numpy(views),
        labels=torch.from_numpy(rows["label"].astype(np.int64)),
        sizes=torch.from_numpy(np.stack([rows["height"], rows["width"]], axis=1).astype(np.int64)),
        boxes=[_boxes(boxes) for boxes in rows["boxes"]],
        image_ids=rows["image_id"].tolist(),
        groups=rows["group"].tolist(),
    )


def _boxes(boxes: Sequence[Mapping[str, float]]) -> Tensor:
    corners = [[box[side] for side in ("y0", "x0", "y1", "x1")] for box in boxes]
    return torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)


class StreamedBatches:
    """Batches of a worker's shard, streamed anew each epoch through a shuffle buffer."""

    def __init__(self, shard: DataIterator, batch_size: int, seed: int) -> None:
        self._shard, self._batch_size, self._seed = shard, batch_size, seed

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch; the order depends on the seed and the epoch alone."""
        rows = self._shard.iter_batches(
            batch_size=self._batch_size,
            batch_format="numpy",
            local_shuffle_buffer_size=max(SHUFFLE_ROWS, self._batch_size),
            local_shuffle_seed=self._seed * 100_003 + epoch,
        )
        return map(collate, rows)


class ResidentBatches:
    """Batches of a worker's shard that stays in its memory after one pass: for tasks that fit."""

    def __init__(self, shard: DataIterator, batch_size: int, seed: int) -> None:
        self._rows = collate(_columns(shard.iter_batches(batch_size=256, batch_format="numpy")))
        self._batch_size, self._seed = batch_size, seed

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch; the order depends on the seed and the epoch alone."""
        generator = torch.Generator().manual_seed(self._seed * 100_003 + epoch)
        order = torch.randperm(len(self._rows), generator=generator)
        return (self._rows.select(rows.tolist()) for rows in order.split(self._batch_size))


def _columns(batches: Iterator[Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    parts = list(batches)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def in_order(shard: DataIterator, batch_size: int) -> Iterator[Batch]:
    """Every row once, in the order of the catalog: for evaluation."""
    return map(collate, shard.iter_batches(batch_size=batch_size, batch_format="numpy"))
