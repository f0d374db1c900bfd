"""URI -> bytes by ranges: many at once, asked for again where that may help, counted, and exactly what was asked for.

Nothing is returned that is shorter or longer than asked, or of another object than its etag says. Storages are asked
from one event loop a process; a local file is read in a small pool of threads.
"""

import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from pipelines.storage import objects, transfers
from pipelines.storage.clients import DEFAULT, ByteRange, Network
from pipelines.storage.objects import ObjectStat
from pipelines.storage.stats import Counters

KEPT_BLOCKS = 256


def fetch(ranges: Sequence[ByteRange], counters: Counters, network: Network = DEFAULT) -> "list[Future[bytes]]":
    """The bytes of each range, in futures of the same order, which complete in whatever order bytes arrive.

    A future raises ImageError missing, denied, stale (another etag), truncated (the object ends before the range does)
    or unreadable (anything else, after `network.attempts`), with the range in its reason. One that is cancelled before
    its request is sent stays unsent. Returns before any byte has come, but what opens a storage (credentials, say) is
    waited for. What a future calls back runs in the thread that reads: it must be short.
    """
    futures: list[Future[bytes]] = [Future() for _ in ranges]
    remote: list[transfers.Job] = []
    local: dict[str, list[transfers.Job]] = {}
    for wanted, future in zip(ranges, futures, strict=True):
        if wanted.start == wanted.end:
            future.set_result(b"")
        elif objects.is_local(wanted.uri):
            local.setdefault(wanted.uri, []).append((wanted, future))
        else:
            remote.append((wanted, future))
    transfers.read_files(local, counters)
    transfers.read_objects(remote, counters, network)
    return futures


def stat(uri: str, network: Network = DEFAULT, counters: Counters | None = None) -> ObjectStat:
    """Size, and the etag that `fetch` compares; ImageError missing, denied or unreadable. One request."""
    counters = counters or Counters()
    return (
        transfers.stat_file(uri, counters) if objects.is_local(uri) else transfers.stat_object(uri, counters, network)
    )


class RangeFile(io.RawIOBase):
    """An object as a read-only file of blocks that are fetched when first read, each `read` in one request at most.

    The last KEPT_BLOCKS blocks used are kept. ImageError as `fetch`, stale if the object is not the one of `stat`.
    """

    def __init__(
        self, uri: str, stat: ObjectStat, counters: Counters, network: Network = DEFAULT, block: int = 65536
    ) -> None:
        super().__init__()
        self.name = uri
        self._stat, self._counters, self._network, self._block = stat, counters, network, block
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position, also beyond the end; ValueError before the start."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._stat.size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self.name}: there is no position {base + offset}.")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes, fewer only at the end; all that follow where `size` is negative or None."""
        left = max(0, self._stat.size - self._at)
        count = left if size is None or size < 0 else min(size, left)
        data = self._bytes(self._at, self._at + count) if count else b""
        self._at += count
        return data

    def readall(self) -> bytes:
        """All that follows."""
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        """As `read`, into a buffer."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _bytes(self, start: int, end: int) -> bytes:
        first, last = start // self._block, (end - 1) // self._block
        blocks = {i: self._kept[i] for i in range(first, last + 1) if i in self._kept}
        missing = [i for i in range(first, last + 1) if i not in blocks]
        if missing:
            blocks |= self._fetch(missing[0], missing[-1])
        for i in range(max(first, last + 1 - KEPT_BLOCKS), last + 1):
            self._kept[i] = blocks[i]
            self._kept.move_to_end(i)
        while len(self._kept) > KEPT_BLOCKS:
            self._kept.popitem(last=False)
        joined = b"".join(blocks[i] for i in range(first, last + 1))
        return joined[start - first * self._block : end - first * self._block]

    def _fetch(self, first: int, last: int) -> dict[int, bytes]:
        start, end = first * self._block, min((last + 1) * self._block, self._stat.size)
        (coming,) = fetch([ByteRange(self.name, start, end, self._stat.etag)], self._counters, self._network)
        data = coming.result()
        return {i: data[i * self._block - start : (i + 1) * self._block - start] for i in range(first, last + 1)}
