"""References and centres -> patches: the one way by which full-resolution pixels reach a model.

Shapes: B images, N patches each, C channels, P patch side. Coordinates are (y, x) in level-0 pixels.
"""

import functools
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ats_core.errors import GeometryError, RecipeError
from ats_core.geometry import extract_patches
from pipelines.errors import ImageError
from pipelines.storage import images as images_

ImagesIn = Literal["bucket", "memory", "device"]
CHANNELS = 3  # of every decoded image


@dataclass(frozen=True, slots=True)
class ImageRef:
    """All that a reader needs to know of an image; comes from a catalog row."""

    uri: str
    height: int
    width: int
    channels: int = CHANNELS
    etag: str = ""
    """The etag that the image had; "" takes whatever is there, as long as its size fits."""


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """What a reader has done since it was made. Seconds are summed over threads, so they may exceed the clock's."""

    requests: int = 0
    """Objects asked for, and etags."""
    bytes_read: int = 0
    """Encoded bytes that came back."""
    bytes_needed: int = 0
    """Bytes of the decoded patches that were asked for: B N P P C."""
    tiles: int = 0
    """Pieces decoded: whole images."""
    retries: int = 0
    """Second attempts, after bytes that did not decode."""
    wait_s: float = 0.0
    """Waiting for the storage."""
    decode_s: float = 0.0
    """Decoding."""

    def since(self, before: "ReaderStats") -> "ReaderStats":
        """What was done after an earlier snapshot."""
        return ReaderStats(*(getattr(self, name) - getattr(before, name) for name in self.__slots__))


class PatchReader:
    """Reads the patches of a batch of images: decodes each image once a call, crops, and forgets or keeps it.

    `images_in` says where decoded images are kept between calls: "bucket" nowhere, "memory" on the CPU, "device" on
    `device`, where the patches are cut too; beyond `memory_limit_mb` the least recently used go. Connects lazily;
    pickling keeps the options alone. One a process; its methods may be called from several threads.
    """

    def __init__(
        self,
        patch_size: int,
        *,
        images_in: ImagesIn = "bucket",
        device: torch.device | str = "cpu",
        memory_limit_mb: float = 4096,  # of RAM, or of the device's memory
        threads: int = 4,  # as many decoded images are in memory at once
    ) -> None:
        if images_in not in get_args(ImagesIn):
            options = ", ".join(get_args(ImagesIn))
            raise RecipeError("images_in", f"there is no {images_in!r}", f"Choose from {options}.")
        if patch_size < 1 or threads < 1:
            reason = f"patch_size is {patch_size}, threads {threads}"
            raise GeometryError("PatchReader", reason, "Both must be at least 1.")
        self.patch_size, self.images_in, self.device = patch_size, images_in, torch.device(device)
        self.memory_limit_mb, self.threads = memory_limit_mb, threads
        self._kept = _LruImages(0 if images_in == "bucket" else int(memory_limit_mb * 1e6))
        self._stats, self._lock = ReaderStats(), threading.Lock()
        self._process = 0
        self._image_pool: ThreadPoolExecutor
        self._batch_pool: ThreadPoolExecutor

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("images_in", "device", "memory_limit_mb", "threads")
        options = {name: getattr(self, name) for name in names}
        return functools.partial(PatchReader, self.patch_size, **options), ()

    @property
    def stats(self) -> ReaderStats:
        """A snapshot of the counters."""
        return self._stats

    def read(self, images: Sequence[ImageRef], centres: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """The patches around integer centres [B, N, 2]: uint8 [B, N, P, P, C], and what is inside: bool [B, N, P, P].

        Pixels outside of an image are 0. On `device` when images_in="device", else on the CPU. ImageError for the first
        image, in the order of the batch, that cannot be read or is not the one referred to.
        """
        return self._paste(self._start(images, centres), images, centres)

    def submit(self, images: Sequence[ImageRef], centres: Tensor | np.ndarray) -> Future[tuple[Tensor, Tensor]]:
        """The same, ahead of need: reading starts now, the future holds what `read` returns or raises."""
        parts = self._start(images, centres)
        return self._batch_pool.submit(self._paste, parts, images, centres)

    def _start(self, images: Sequence[ImageRef], centres: Tensor | np.ndarray) -> "_Parts":
        """One task an image, however often it appears: its rows in the batch, and the future of their patches."""
        self._connect()
        centres_BN2 = _checked(images, centres)
        rows: dict[ImageRef, list[int]] = {}
        for row, image in enumerate(images):
            rows.setdefault(image, []).append(row)
        patch_bytes = self.patch_size**2 * CHANNELS
        self._count(bytes_needed=centres_BN2.shape[0] * centres_BN2.shape[1] * patch_bytes)
        return [(r, self._image_pool.submit(self._read_image, image, centres_BN2[r])) for image, r in rows.items()]

    def _paste(
        self, parts: "_Parts", images: Sequence[ImageRef], centres: Tensor | np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Waits for the images and puts their patches where they belong, whichever came first."""
        device = self.device if self.images_in == "device" else torch.device("cpu")
        shape = (len(images), centres.shape[1], self.patch_size, self.patch_size)
        patches_BNPPC = torch.empty((*shape, CHANNELS), dtype=torch.uint8, device=device)
        inside_BNPP = torch.empty(shape, dtype=torch.bool, device=device)
        for rows, part in parts:
            patches_BNPPC[rows], inside_BNPP[rows] = part.result()
        return patches_BNPPC, inside_BNPP

    def _read_image(self, image: ImageRef, centres_RN2: Tensor) -> tuple[Tensor, Tensor]:
        """The patches [R, N, P, P, C] of R rows of the batch that share an image.

        Where an image's tiles can be read one by one, this is the place that chooses to.
        """
        pixels_HWC = self._kept.get(image)
        if pixels_HWC is None:
            pixels_HWC = self._fetch(image)
            if self.images_in == "device":
                pixels_HWC = pixels_HWC.to(self.device)
            self._kept.put(image, pixels_HWC)
        flat_1M2 = centres_RN2.reshape(1, -1, 2).to(pixels_HWC.device)
        patches_1MCPP, inside_1MPP = extract_patches(pixels_HWC.permute(2, 0, 1)[None], flat_1M2, self.patch_size)
        shape = centres_RN2.shape[:2]
        return patches_1MCPP[0].permute(0, 2, 3, 1).unflatten(0, shape), inside_1MPP[0].unflatten(0, shape)

    def _fetch(self, image: ImageRef) -> Tensor:
        """The decoded image [H, W, C]; one more attempt when the bytes do not decode: they may be cut on their way."""
        try:
            pixels = self._decode(image)
        except ImageError as error:
            if error.status != "truncated":
                raise
            self._count(retries=1)
            pixels = self._decode(image)
        if pixels.shape != (image.height, image.width, image.channels):
            found, expected = " x ".join(map(str, pixels.shape)), f"{image.height} x {image.width} x {image.channels}"
            raise images_.image_error(image.uri, "stale", f"it is {found}, and was {expected} in the catalog")
        return torch.from_numpy(pixels)

    def _decode(self, image: ImageRef) -> np.ndarray:
        began = time.perf_counter()
        self._count(requests=1)
        data = images_.fetch(image.uri)
        self._check_etag(image)
        came = time.perf_counter()
        self._count(bytes_read=len(data), wait_s=came - began)
        pixels = images_.decode(data, image.uri)
        self._count(tiles=1, decode_s=time.perf_counter() - came)
        return pixels

    def _check_etag(self, image: ImageRef) -> None:
        """After the bytes came, so that whatever was overwritten before is noticed."""
        if not image.etag:
            return
        self._count(requests=1)
        if (etag := images_.etag(image.uri)) != image.etag:
            raise images_.image_error(image.uri, "stale", f"its etag is {etag}, and was {image.etag} in the catalog")

    def _count(self, **more: float) -> None:
        with self._lock:
            self._stats = replace(self._stats, **{name: getattr(self._stats, name) + n for name, n in more.items()})

    def _connect(self) -> None:
        """Makes the threads, in this process: those of a parent do not survive a fork."""
        with self._lock:
            if self._process != os.getpid():
                self._image_pool = ThreadPoolExecutor(self.threads, "read-image")
                self._batch_pool = ThreadPoolExecutor(1, "read-batch")
                self._process = os.getpid()


_Parts = list[tuple[list[int], Future[tuple[Tensor, Tensor]]]]


def _checked(images: Sequence[ImageRef], centres: Tensor | np.ndarray) -> Tensor:
    """Centres as int64 on the CPU; GeometryError unless they are integers [B, N, 2]."""
    centres_BN2 = torch.as_tensor(centres).detach().cpu()
    if centres_BN2.is_floating_point() or centres_BN2.shape[0::2] != (len(images), 2) or centres_BN2.ndim != 3:
        found = f"{centres_BN2.dtype} {list(centres_BN2.shape)}"
        reason = f"not integers [{len(images)}, N, 2]"
        raise GeometryError(f"centres {found}", reason, "Pass rounded (y, x) for each image.")
    return centres_BN2.long()


class _LruImages:
    """Decoded images, bounded in bytes; the least recently used go first. An image above the bound is not kept."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._images: OrderedDict[ImageRef, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, image: ImageRef) -> Tensor | None:
        with self._lock:
            if image in self._images:
                self._images.move_to_end(image)
            return self._images.get(image)

    def put(self, image: ImageRef, pixels: Tensor) -> None:
        with self._lock:
            if image in self._images or pixels.nbytes > self._limit:
                return
            self._images[image] = pixels
            self._used += pixels.nbytes
            while self._used > self._limit:
                self._used -= self._images.popitem(last=False)[1].nbytes
