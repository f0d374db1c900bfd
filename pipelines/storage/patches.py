"""References and centres -> patches: the one way by which full-resolution pixels reach a model.

Shapes: B images, N patches each, C channels, P patch side. Coordinates are (y, x) in level-0 pixels.
"""

import functools
import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ats_core.errors import GeometryError, RecipeError
from ats_core.geometry import crop
from pipelines.errors import ImageError
from pipelines.storage import images as images_
from pipelines.storage.kept import ENTRY, Kept
from pipelines.storage.layouts import CHANNELS, ImageRef, WholeLayout, bounds, layout_of
from pipelines.storage.ranges import DEFAULT, Network
from pipelines.storage.stats import Counters, ReaderStats
from pipelines.storage.tiles import WHOLE_BYTES, Failures, Target, TileReader, paste

__all__ = ["ImageRef", "ImagesIn", "Network", "OnError", "PatchReader", "ReaderStats"]

ImagesIn = Literal["bucket", "memory", "memory-encoded", "device"]
OnError = Literal["raise", "skip", "mask"]
FEW = 100  # images before the share of bad ones says anything

log = logging.getLogger(__name__)

Area = tuple[int, int, int, int]
"""(top, left, height, width) in pixels."""


class PatchReader:
    """Reads the patches of a batch of images: the tiles that they touch, all in one round of requests.

    Connects lazily; pickling keeps the options alone. One a process; its methods may be called from several threads.

    Args:
        patch_size: P.
        images_in: where images are between calls; the patches are the same. "bucket": where they are stored, but for
            `cache_mb` of encoded tiles; "memory": decoded in RAM; "memory-encoded": in RAM, as they are stored;
            "device": decoded on `device`, where the patches are cut too.
        device: of images_in="device".
        memory_limit_mb: of images in RAM or on the device; beyond it the least recently used are read again.
        cache_mb: of encoded tiles, with images_in="bucket": attention comes back to the same ones.
        threads: that decode.
        on_error: what becomes of an image that cannot be read. "raise": an error; "mask": the pixels of the tiles that
            cannot be had count as outside of the image; "skip": all pixels of the image do.
        max_bad: share of the images read that are given up, by "mask" or "skip", above which reading raises all the
            same; counted from 100 images on.
        network: how patient and how parallel requests are.
    """

    def __init__(
        self,
        patch_size: int,
        *,
        images_in: ImagesIn = "bucket",
        device: torch.device | str = "cpu",
        memory_limit_mb: float = 4096,  # of RAM in each process, or of the device's memory
        cache_mb: float = 256,  # of RAM in each process
        threads: int = 4,
        on_error: OnError = "raise",
        max_bad: float = 0.05,
        network: Network = DEFAULT,
    ) -> None:
        self.options = {name: value for name, value in locals().items() if name not in ("self", "patch_size")}
        for name, choices in (("images_in", ImagesIn), ("on_error", OnError)):
            if (value := self.options[name]) not in get_args(choices):
                raise RecipeError(name, f"there is no {value!r}", f"Choose from {', '.join(get_args(choices))}.")
        if patch_size < 1 or threads < 1:
            reason = f"patch_size is {patch_size}, threads {threads}"
            raise GeometryError("PatchReader", reason, "Both must be at least 1.")
        self.patch_size, self.images_in, self.on_error, self.max_bad = patch_size, images_in, on_error, max_bad
        self.device = torch.device(device if images_in == "device" else "cpu")
        whole = images_in in ("memory", "device")
        self._resident: Kept[Tensor] = Kept(memory_limit_mb * 1e6 if whole else 0, f"images in {images_in}")
        self._counters, self._lock, self._process, self._seen = Counters(), threading.Lock(), 0, 0
        self._tiles: TileReader

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(PatchReader, self.patch_size, **self.options), ()

    @property
    def stats(self) -> ReaderStats:
        """A snapshot of the counters."""
        return self._counters.snapshot()

    def read(self, images: Sequence[ImageRef], centres: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """The patches around integer centres [B, N, 2]: uint8 [B, N, P, P, C], and what is inside: bool [B, N, P, P].

        Pixels outside of an image are 0. On `device` when images_in="device", else on the CPU. ImageError for the first
        image, in the order of the batch, that cannot be read or is not the one referred to, unless `on_error` says
        otherwise.
        """
        return self.submit(images, centres).result()

    def submit(
        self, images: Sequence[ImageRef], centres: Tensor | np.ndarray, *, counters: Counters | None = None
    ) -> Future[tuple[Tensor, Tensor]]:
        """The same, ahead of need: reading starts now, the future holds what `read` returns or raises.

        It cannot be cancelled, and what it calls back runs in a thread that decodes: it must not wait for another read.
        What this call reads is counted in `counters` where given, and not in `stats`.
        """
        starts_BN2 = _checked(images, centres) - self.patch_size // 2
        parts = self._parts(images, starts_BN2)
        asked = [part for part in parts if part.target]
        future: Future[tuple[Tensor, Tensor]] = Future()
        future.set_running_or_notify_cancel()

        def finish(read: Future[list[Failures]]) -> None:
            try:
                for part, failures in zip(asked, read.result(), strict=True):
                    part.failures = failures
                self._give_up(parts)
                future.set_result(self._join(parts, starts_BN2))
            except BaseException as error:
                future.set_exception(error)

        self._connected().read([part.target for part in asked], counters).add_done_callback(finish)
        return future

    def _connected(self) -> TileReader:
        """The engine, in this process: the threads of a parent do not survive a fork."""
        with self._lock:
            if self._process != os.getpid():
                encoded = self.images_in == "memory-encoded"
                limit = self.options["memory_limit_mb" if encoded else "cache_mb"] * 1e6
                self._tiles = TileReader(
                    threads=self.options["threads"],
                    kept=Kept(limit, f"images in {self.images_in}" if encoded else ""),
                    whole_bytes=limit - ENTRY if encoded else WHOLE_BYTES,
                    counters=self._counters,
                    network=self.options["network"],
                )
                self._process = os.getpid()
            return self._tiles

    def _parts(self, images: Sequence[ImageRef], starts_BN2: np.ndarray) -> list["_Part"]:
        """What to read, an image at a time, however often it is in the batch."""
        rows_of: dict[ImageRef, list[int]] = {}
        for row, image in enumerate(images):
            rows_of.setdefault(image, []).append(row)
        parts, room = [], self._resident.limit
        for image, rows in rows_of.items():
            parts.append(self._part(image, rows, starts_BN2[rows], room))
            room -= parts[-1].staying
        return parts

    def _part(self, image: ImageRef, rows: list[int], starts_RN2: np.ndarray, room: float) -> "_Part":
        """What to read for the rows of a batch that share an image: their windows, or all of it where it is to stay.

        No more than `room` bytes are held for images that are to stay: what is larger is read by windows, each time.
        """
        pixels_HWC = self._resident.get(image)
        if pixels_HWC is not None:
            return _Part(image, rows, pixels_HWC=pixels_HWC)
        try:
            layout = layout_of(image)
        except ImageError as error:
            return _Part(image, rows, failures={0: error})
        n_bytes = image.height * image.width * CHANNELS
        stays = n_bytes + ENTRY <= room
        if self._resident.limit and not stays:
            self._resident.warn()
        starts_M2 = np.zeros((1, 2), np.int64) if stays else starts_RN2.reshape(-1, 2)
        size = layout.size if stays else (self.patch_size, self.patch_size)
        out_MhwC = np.zeros((len(starts_M2), *size, CHANNELS), np.uint8)
        return _Part(image, rows, Target(image, layout, starts_M2, out_MhwC), staying=n_bytes if stays else 0)

    def _give_up(self, parts: Sequence["_Part"]) -> None:
        """Raise the first error, or count it and go on without its pixels: as `on_error` says, up to `max_bad`."""
        bad = [next(iter(part.failures.values())) for part in parts if part.failures]
        if bad and self.on_error == "raise":
            raise bad[0]
        self._counters.add(bad=len(bad))
        with self._lock:
            self._seen += len(parts)
        for error in bad:
            log.warning("left out: %s", error)
        given_up = self._counters.snapshot().bad
        if bad and given_up > self.max_bad * max(self._seen, FEW):
            reason = f"{given_up} of {self._seen} images could not be read, the last because {bad[-1].reason}"
            raise images_.image_error(bad[-1].thing, bad[-1].status, reason)

    def _join(self, parts: Sequence["_Part"], starts_BN2: np.ndarray) -> tuple[Tensor, Tensor]:
        """The patches of all images, at their rows of the batch, and which of their pixels are inside."""
        # On a CPU by numpy: to fill and copy a few patches, torch would wake all of its threads, which then spin.
        inside_BNPP = np.zeros((*starts_BN2.shape[:2], self.patch_size, self.patch_size), bool)
        shape, on_device = (*inside_BNPP.shape, CHANNELS), self.images_in == "device"
        zeros = torch.from_numpy(np.zeros(shape, np.uint8))  # of pages that do not exist before they are written
        patches_BNPPC = torch.zeros_like(zeros, device=self.device) if on_device else zeros
        for part in parts:
            starts_RN2, holes = starts_BN2[part.rows], part.holes(whole=self.on_error == "skip")
            inside_BNPP[part.rows] = _inside(starts_RN2, self.patch_size, part.image, holes)
            if part.staying:
                self._settle(part)
            patches_RNPPC = part.patches(starts_RN2, self.patch_size, gather=on_device)
            if holes:
                patches_RNPPC = patches_RNPPC * torch.from_numpy(inside_BNPP[part.rows, ..., None]).to(
                    patches_RNPPC.device
                )
            if on_device:
                patches_BNPPC[part.rows] = patches_RNPPC.to(self.device)
            else:
                patches_BNPPC.numpy()[part.rows] = patches_RNPPC.numpy()
        return patches_BNPPC, torch.from_numpy(inside_BNPP).to(self.device)

    def _settle(self, part: "_Part") -> None:
        """Bring an image that was read whole to where it is to stay; one with holes is read again next time."""
        assert part.target
        part.pixels_HWC = torch.from_numpy(part.target.out_MhwC[0]).to(self.device)
        if not part.failures:
            self._resident.put(part.image, part.pixels_HWC, part.staying)


@dataclass(slots=True, eq=False)
class _Part:
    """The R rows of a batch that share an image, and what is read for them."""

    image: ImageRef
    rows: list[int]
    target: Target | None = None
    """Windows, or the whole image; None when it is there already, or has no hope."""
    failures: Failures = field(default_factory=dict)
    staying: int = 0
    """Bytes of the decoded image, where the target is all of it, and it is to be kept."""
    pixels_HWC: Tensor | None = None
    """All of the image, where it is kept."""

    def holes(self, *, whole: bool) -> list[Area]:
        """The areas of the tiles that could not be had; of the whole image, if there are any."""
        layout = WholeLayout(self.image) if whole or self.target is None else self.target.layout
        return [bounds(layout, 0)] if self.failures and whole else [bounds(layout, tile) for tile in self.failures]

    def patches(self, starts_RN2: np.ndarray, size: int, *, gather: bool) -> Tensor:
        """uint8 [R, N, P, P, C]; where there are holes, whatever came. From an image on a device by one gather."""
        shape, starts_M2 = (*starts_RN2.shape[:2], size, size, CHANNELS), starts_RN2.reshape(-1, 2)
        if self.pixels_HWC is not None and gather:
            starts_1M2 = torch.from_numpy(starts_M2).to(self.pixels_HWC.device)[None]
            patches_1MCPP, _ = crop(self.pixels_HWC.permute(2, 0, 1)[None], starts_1M2, (size, size))
            return patches_1MCPP.permute(0, 1, 3, 4, 2).reshape(shape)
        if self.pixels_HWC is None and self.target is not None:
            return torch.from_numpy(self.target.out_MhwC).reshape(shape)
        patches_MPPC = np.zeros((len(starts_M2), *shape[2:]), np.uint8)
        if self.pixels_HWC is not None:
            paste(self.pixels_HWC.numpy(), (0, 0), starts_M2, patches_MPPC)
        return torch.from_numpy(patches_MPPC).reshape(shape)


def inside_of(image: ImageRef, centres_N2: np.ndarray, patch_size: int) -> np.ndarray:
    """bool [N, P, P]: which pixels of patches around integer centres lie in the image."""
    return _inside(centres_N2[None] - patch_size // 2, patch_size, image, ())[0]


def _inside(starts_RN2: np.ndarray, size: int, image: ImageRef, holes: Sequence[Area]) -> np.ndarray:
    """bool [R, N, P, P]: which pixels lie in the image and in no hole."""
    inside_RNPP = _covered(starts_RN2, size, (0, 0, image.height, image.width))
    for hole in holes:
        inside_RNPP &= ~_covered(starts_RN2, size, hole)
    return inside_RNPP


def _covered(starts_RN2: np.ndarray, size: int, area: Area) -> np.ndarray:
    """bool [R, N, P, P]: which pixels of windows of P = size lie in an area."""
    y_RNP, x_RNP = (starts_RN2[..., axis, None] - area[axis] + np.arange(size) for axis in (0, 1))
    in_y_RNP, in_x_RNP = (y_RNP >= 0) & (y_RNP < area[2]), (x_RNP >= 0) & (x_RNP < area[3])
    return in_y_RNP[..., :, None] & in_x_RNP[..., None, :]


def _checked(images: Sequence[ImageRef], centres: Tensor | np.ndarray) -> np.ndarray:
    """Centres as int64 on the CPU; GeometryError unless they are integers [B, N, 2]."""
    centres_BN2 = torch.as_tensor(centres).detach().cpu()
    if centres_BN2.is_floating_point() or centres_BN2.shape[0::2] != (len(images), 2) or centres_BN2.ndim != 3:
        found = f"{centres_BN2.dtype} {list(centres_BN2.shape)}"
        reason = f"not integers [{len(images)}, N, 2]"
        raise GeometryError(f"centres {found}", reason, "Pass rounded (y, x) for each image.")
    return centres_BN2.long().numpy()
