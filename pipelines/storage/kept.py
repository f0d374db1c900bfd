"""What a process keeps of what it has read, bounded in bytes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Kept(Generic[V]):
    """A cache of `limit` bytes: the least recently used go first, and what is larger than all of it is not kept."""

    def __init__(self, limit: float) -> None:
        self.limit, self.used = limit, 0
        self.overflowed = False
        """Whether something had to go, or was too large."""
        self._entries: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> V | None:
        """The value, used just now; None when it is not there."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: V, n_bytes: int) -> None:
        """Keep a value; one that is there stays."""
        with self._lock:
            if key in self._entries:
                return
            if n_bytes > self.limit:
                self.overflowed = True
                return
            self._entries[key] = value, n_bytes
            self.used += n_bytes
            while self.used > self.limit:
                self.used -= self._entries.popitem(last=False)[1][1]
                self.overflowed = True

    def drop(self, key: Hashable) -> None:
        """Forget a value, if it is there."""
        with self._lock:
            self.used -= self._entries.pop(key, (None, 0))[1]
