"""Patches asked for ahead of the step that uses them.

The cells of a batch are drawn from the attention of the weights at hand, its patches are read while earlier batches are
computed, and the weights a / q of the expectation correct for the age of the proposal. Depth 0 is the paper's order.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ats_core.models import PatchModel
from ats_core.recipes import Augmentation
from ats_core.sampling import Draw, Sampling
from pipelines.storage.layouts import CHANNELS
from pipelines.storage.patches import PatchReader, inside_of
from pipelines.training.augment import Frame
from pipelines.training.batches import Batch


@dataclass(frozen=True, slots=True)
class Request:
    """A batch whose cells are drawn and whose patches are on their way."""

    batch: Batch
    frame: Frame
    views: Tensor
    """Standardised views [B, C, h, w] in the frame, on the model's device."""
    draw: Draw
    centres: Tensor
    """int64 [B, N, 2], in the image."""
    future: Future[tuple[Tensor, Tensor]]

    def read(self) -> Tensor:
        """Wait for the patches: bool [B], False for an image that the reader has left out."""
        _, inside_BNPP = self.future.result()
        read_B = inside_BNPP.flatten(1).any(1).cpu()
        for image in (~read_B).nonzero().flatten().tolist():  # unless no pixel was asked for: a frame may be shifted
            asked_NPP = inside_of(self.batch.images[image], self.centres[image].numpy(), inside_BNPP.shape[-1])
            read_B[image] = not asked_NPP.any()
        return read_B

    def labels(self) -> Tensor:
        """The labels int64 [B]: -1 for an image that was left out."""
        return torch.where(self.read(), self.batch.labels, -1)

    def patches(self, model: PatchModel) -> Tensor:
        """Wait for the patches: standardised [B, N, C, P, P], oriented as in the frame."""
        pixels, inside = self.frame.patches(*self.future.result())  # as bytes: a quarter of what floats would move
        return model.standardise(pixels, inside, **self.frame.colours)


def ask(
    model: PatchModel,
    reader: PatchReader,
    batch: Batch,
    augmentation: Augmentation,
    generator: Generator,
    sampling: Sampling = "drawn",
) -> Request:
    """Draw the cells of a batch in a random frame and ask for their patches; does not wait.

    Args:
        model: its present weights make the proposal.
        reader: reads at the model's patch size.
        batch: images of one view size, that of the model.
        augmentation: `Augmentation()` leaves images as they are.
        generator: a CPU generator, for the frame and the draw.
        sampling: how the model chooses its cells; training needs "drawn".
    """
    frame = Frame.draw(augmentation, batch.sizes, model.view_size, generator)
    views = frame.views(model.standardise(batch.views, **frame.colours))
    draw = model.propose(views, generator=_on(views.device, generator), sampling=sampling)
    in_frame = model.grid.centres(draw.cells.cpu(), batch.sizes, model.patch_size)
    centres = frame.centres(in_frame, batch.sizes, model.view_size, model.patch_size)
    future = reader.submit(batch.images, centres) if centres.shape[1] else _nothing(len(batch), model.patch_size)
    return Request(batch, frame, views, draw, centres, future)


def _nothing(n: int, patch_size: int) -> Future[tuple[Tensor, Tensor]]:
    """The patches of n images of which none is asked for, without the reader: a model may look at views alone."""
    future: Future[tuple[Tensor, Tensor]] = Future()
    shape = (n, 0, patch_size, patch_size)
    future.set_result((torch.zeros(*shape, CHANNELS, dtype=torch.uint8), torch.zeros(shape, dtype=torch.bool)))
    return future


def _on(device: torch.device, generator: Generator) -> Generator:
    """A generator of the model's device, seeded by a CPU one."""
    return Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))


def read_ahead(batches: Iterable[Batch], ask_one: Callable[[Batch], Request], depth: int) -> Iterator[Request]:
    """Requests in the order of their batches, each made `depth` batches before it is yielded."""
    waiting: deque[Request] = deque()
    for batch in batches:
        waiting.append(ask_one(batch))
        if len(waiting) > depth:
            yield waiting.popleft()
    yield from waiting
