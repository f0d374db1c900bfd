"""Windows of many images at once -> pixels: one round of range requests, decoded in threads as they arrive.

What is read is planned before anything is asked for, each tile is read once, and each lands at its place in arrays that
are there already: the result does not depend on what comes first.
"""

import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from pipelines.errors import ImageError
from pipelines.storage import images
from pipelines.storage.kept import Kept
from pipelines.storage.layouts import ImageRef, Layout, Span, bounds
from pipelines.storage.plan import coalesce, split, touched
from pipelines.storage.ranges import ByteRange, Network, fetch
from pipelines.storage.stats import Counters

WHOLE_BYTES = 256 * 2**10  # an object up to this size is asked for whole: one request beats several

T = TypeVar("T")
Failures = dict[int, ImageError]
"""The tiles of a target that could not be had, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What is wanted of one image: windows of one size, and where they go."""

    image: ImageRef
    layout: Layout
    starts_M2: np.ndarray
    """int, (y, x) of the first pixel of each window; may lie outside of the image."""
    out_MhwC: np.ndarray
    """Filled inside of the image and left as it is outside."""


class TileReader:
    """Reads targets; keeps encoded bytes.

    Args:
        threads: that decode.
        kept: where encoded bytes are kept.
        whole_bytes: objects of at most this many bytes are asked for, and kept, whole.
        counters: what is done is counted here.
        network: how patient and how parallel requests are.
    """

    def __init__(
        self, *, threads: int, kept: Kept[bytes], whole_bytes: float, counters: Counters, network: Network
    ) -> None:
        self.kept, self.whole_bytes, self.counters, self.network = kept, whole_bytes, counters, network
        self.pool = ThreadPoolExecutor(threads, "decode")

    def read(self, targets: Sequence[Target], counters: Counters | None = None) -> Future[list[Failures]]:
        """Fill the targets; the future holds what failed of each. Does not wait. May be counted apart."""
        counters = counters or self.counters
        return _Reading(self, [_Plan(target, self, counters) for target in targets], counters).start()


@dataclass(slots=True, eq=False)
class _Unit:
    """Bytes that are asked for together: the segments in them, and the tiles that wait for one."""

    span: Span
    parts: list[Future[bytes]] = field(default_factory=list)
    segments: list[Span] = field(default_factory=list)
    tiles: list[int] = field(default_factory=list)


class _Plan:
    """One target: the tiles of its windows, the bytes of them that are at hand, and the units of the rest."""

    def __init__(self, target: Target, reader: TileReader, counters: Counters) -> None:
        self.target, self.image, self.layout = target, target.image, target.layout
        self.kept, self.counters = reader.kept, counters
        self.whole = 0 < self.image.n_bytes <= reader.whole_bytes
        self.windows = touched(self.layout, target.starts_M2, target.out_MhwC.shape[1:3])
        self.spans = {tile: self.layout.spans(tile) for tile in self.windows}
        self.data: dict[Span, bytes] = {}
        self.failures: Failures = {}
        self.tried: set[int] = set()  # tiles that are asked for a second time
        missing = sorted({span for spans in self.spans.values() for span in spans if span and not self._find(span)})
        whole = [(0, self.image.n_bytes)] if missing and self.whole else None
        self.units = [_Unit(span) for span in whole or coalesce(missing)]
        self.waiting: Counter[int] = Counter()
        self._distribute(missing)

    def _find(self, span: Span) -> bool:
        """Take a segment from what is kept."""
        if self.whole:
            kept = self.kept.get(self._key(None))
            data = kept and kept[slice(*span)]
        else:
            data = self.kept.get(self._key(span))
        if data is not None:
            self.data[span] = data
        return data is not None

    def _key(self, span: Span | None) -> tuple[str, str, Span | None]:
        return self.image.uri, self.image.etag, span

    def _distribute(self, missing: Sequence[Span]) -> None:
        starts = [unit.span[0] for unit in self.units]
        unit_of = {span: bisect_right(starts, span[0]) - 1 for span in missing}
        for span, unit in unit_of.items():
            self.units[unit].segments.append(span)
        for tile, spans in self.spans.items():
            for unit in {unit_of[span] for span in spans if span in unit_of}:
                self.units[unit].tiles.append(tile)
                self.waiting[tile] += 1

    def arrived(self, unit: _Unit) -> None:
        """Cut the bytes of a unit into its segments, and keep them; an error is that of all its tiles."""
        parts, unit.parts = unit.parts, []  # they call back what holds this plan: until a collection, all would stay
        try:
            data = b"".join(part.result() for part in parts)
        except Exception as error:
            self.failures.update(dict.fromkeys(unit.tiles, self.error(error)))
            return
        first = unit.span[0]
        for start, end in unit.segments:
            self.data[start, end] = data[start - first : None if end is None else end - first]
        if not self.whole:
            for span in unit.segments:
                self.kept.put(self._key(span), self.data[span], len(self.data[span]))
        elif unit.span == (0, self.image.n_bytes):
            self.kept.put(self._key(None), data, len(data))
        self.counters.add(bytes_needed=sum(len(self.data[span]) for span in unit.segments))

    def again(self, tile: int) -> list[_Unit]:
        """Forget the bytes of a tile, which were wrong, and the units to ask for anew."""
        self.tried.add(tile)
        spans = {span for span in self.spans[tile] if span is not None}
        for span in spans:
            self.kept.drop(self._key(None if self.whole else span))
        self.waiting[tile] = len(spans)
        return [_Unit(span, segments=[span], tiles=[tile]) for span in spans]

    def may_pass(self, tile: int, error: Exception) -> bool:
        """Whether another fetch may help: the bytes of a tile may have been damaged on their way, but only once."""
        in_vain = isinstance(error, MemoryError) or (isinstance(error, ImageError) and error.status == "stale")
        return tile not in self.tried and not in_vain and any(self.spans[tile])

    def error(self, error: Exception, tile: int | None = None) -> ImageError:
        """What went wrong, in a form that names the image and the place."""
        if isinstance(error, ImageError):
            return error
        if tile is None:
            return images.image_error(self.image.uri, "unreadable", f"{type(error).__name__}: {error}")
        where = ", ".join(f"{start}-{end}" for start, end in filter(None, self.spans[tile]))
        reason = f"level {self.layout.number}, tile {tile}, bytes {where}: {error}"
        status = "truncated" if where and not isinstance(error, MemoryError) else "unreadable"
        return images.image_error(self.image.uri, status, reason)

    def segments(self, tile: int) -> list[bytes | None]:
        return [span and self.data[span] for span in self.spans[tile]]

    def paste(self, tile: int, samples_hwC: np.ndarray) -> None:
        """Copy a decoded tile into all windows that it touches."""
        top, left, height, width = bounds(self.layout, tile)
        if samples_hwC.shape[:2] != (height, width):
            raise ValueError(f"it is {samples_hwC.shape[:2]} pixels, and should be {(height, width)}")
        paste(samples_hwC, (top, left), self.target.starts_M2, self.target.out_MhwC, self.windows[tile])


class _Reading:
    """One call: all targets' units are asked for at once; whoever brings the last tile resolves the future."""

    def __init__(self, reader: TileReader, plans: Sequence[_Plan], counters: Counters) -> None:
        self.reader, self.plans, self.counters = reader, plans, counters
        self.future: Future[list[Failures]] = Future()
        self.future.set_running_or_notify_cancel()
        self._left = sum(len(plan.windows) for plan in plans) + 1  # one for `start` itself
        self._lock, self._settled = threading.Lock(), False

    def start(self) -> Future[list[Failures]]:
        for plan in self.plans:
            if at_hand := [tile for tile in plan.windows if not plan.waiting[tile]]:
                self._submit(self._decode_all, plan, at_hand)
        self._ask([(plan, unit) for plan in self.plans for unit in plan.units])
        self._done(1)
        return self.future

    def _ask(self, units: Sequence[tuple[_Plan, _Unit]]) -> None:
        """Send the requests of all these units; each is decoded when its last part has come."""
        parts = [(plan, unit, part) for plan, unit in units for part in split(unit.span)]
        ranges = [ByteRange(plan.image.uri, *part, plan.image.etag) for plan, _, part in parts]
        for (_, unit, _), future in zip(parts, fetch(ranges, self.counters, self.reader.network), strict=True):
            unit.parts.append(future)
        for plan, unit in units:
            self._when_there(plan, unit)

    def _when_there(self, plan: _Plan, unit: _Unit) -> None:
        left = len(unit.parts)

        def one_less(_: Future[bytes]) -> None:
            nonlocal left
            with self._lock:
                left -= 1
                last = not left
            if last:
                self._submit(self._arrived, plan, unit)

        for part in list(unit.parts):
            part.add_done_callback(one_less)

    def _submit(self, work: Callable[[_Plan, T], None], plan: _Plan, what: T) -> None:
        """Run in the pool; what nobody foresaw is the future's exception, never a future that stays silent."""

        def guarded() -> None:
            try:
                work(plan, what)
            except BaseException as error:
                self._settle(error)

        try:
            self.reader.pool.submit(guarded)
        except RuntimeError as error:  # the pool is shut, or the interpreter is ending
            self._settle(error)

    def _arrived(self, plan: _Plan, unit: _Unit) -> None:
        plan.arrived(unit)
        with self._lock:
            plan.waiting.subtract(unit.tiles)
            ready = [tile for tile in unit.tiles if not plan.waiting[tile]]
        self._decode_all(plan, ready)

    def _decode_all(self, plan: _Plan, tiles: Sequence[int]) -> None:
        began, again = time.perf_counter(), []
        failed = sum(tile in plan.failures for tile in tiles)
        for tile in tiles:
            if tile in plan.failures:
                continue
            try:
                plan.paste(tile, plan.layout.decode(tile, plan.segments(tile)))
            except Exception as error:  # the codecs have errors of their own
                if plan.may_pass(tile, error):
                    again.append(tile)
                else:
                    plan.failures[tile] = plan.error(error, tile)
                failed += 1
        self.counters.add(tiles=len(tiles) - failed, decode_s=time.perf_counter() - began, retries=len(again))
        if again:
            self._ask([(plan, unit) for tile in again for unit in plan.again(tile)])
        self._done(len(tiles) - len(again))

    def _done(self, tiles: int) -> None:
        with self._lock:
            self._left -= tiles
            last = not self._left
        if last:
            for plan in self.plans:
                plan.data.clear()
            self._settle(None)

    def _settle(self, error: BaseException | None) -> None:
        """Resolve the future, once: with the failures, or with an error."""
        with self._lock:
            first, self._settled = not self._settled, True
        if first and error is None:
            self.future.set_result([dict(sorted(plan.failures.items())) for plan in self.plans])
        elif first:
            self.future.set_exception(error)


def paste(
    pixels_hwC: np.ndarray,
    corner: tuple[int, int],
    starts_M2: np.ndarray,
    out_MhwC: np.ndarray,
    windows: Iterable[int] | None = None,
) -> None:
    """Copy pixels, of which the first lies at `corner`, into all windows, or into those of some numbers."""
    (top, left), (height, width) = corner, pixels_hwC.shape[:2]
    for window in range(len(starts_M2)) if windows is None else windows:
        y, x = starts_M2[window].tolist()
        y0, y1 = max(top, y), min(top + height, y + out_MhwC.shape[1])
        x0, x1 = max(left, x), min(left + width, x + out_MhwC.shape[2])
        if y0 < y1 and x0 < x1:
            out_MhwC[window, y0 - y : y1 - y, x0 - x : x1 - x] = pixels_hwC[y0 - top : y1 - top, x0 - left : x1 - left]
