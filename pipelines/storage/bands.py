"""A level of an image from top to bottom, in bands, for what must see all of it: views and conversion."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np

from pipelines.storage.kept import Kept
from pipelines.storage.layouts import ImageRef, TiffLayout
from pipelines.storage.ranges import DEFAULT, Network
from pipelines.storage.stats import Counters
from pipelines.storage.tiff import TiffIndex
from pipelines.storage.tiles import Failures, Target, TileReader

READ_BANDS = 2  # rows of tiles in memory at once


def read_bands(
    image: ImageRef, index: TiffIndex, level: int, counters: Counters, network: Network = DEFAULT, *, rgb: bool = True
) -> Iterator[tuple[int, np.ndarray]]:
    """A level of an indexed image from top to bottom, a row of tiles at a time, the next one read ahead.

    Args:
        image: its uri and etag; the size is the index's.
        index: where the tiles lie.
        level: 0 is the full size.
        counters: what is done is counted here.
        network: how patient and how parallel requests are.
        rgb: uint8 RGB; otherwise the samples as they are stored.

    Yields:
        (top, band [h, width, C]).
    """
    layout = TiffLayout(index.levels[level], level, rgb)
    sample = layout.sample()
    reader = TileReader(threads=READ_BANDS, kept=Kept(0), whole_bytes=0, counters=counters, network=network)
    coming: deque[tuple[Target, Future[list[Failures]]]] = deque()
    try:
        for top in range(0, layout.size[0], layout.tile[0]):
            rows = min(layout.tile[0], layout.size[0] - top)
            band = np.empty((1, rows, layout.size[1], *sample.shape), sample.dtype)
            target = Target(image, layout, np.array([[top, 0]]), band)
            coming.append((target, reader.read([target])))
            if len(coming) == READ_BANDS:
                yield _band(*coming.popleft())
        while coming:
            yield _band(*coming.popleft())
    finally:
        reader.pool.shutdown(cancel_futures=True)


def _band(target: Target, future: Future[list[Failures]]) -> tuple[int, np.ndarray]:
    (failures,) = future.result()
    for error in failures.values():
        raise error
    return int(target.starts_M2[0, 0]), target.out_MhwC[0]
