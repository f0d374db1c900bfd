"""What a process keeps of what it has read, bounded in bytes."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

ENTRY = 400  # bytes that an entry takes beside its value

V = TypeVar("V")
log = logging.getLogger(__name__)


class Kept(Generic[V]):
    """A cache of `limit` bytes: the least recently used go first, and what is larger than all of it is not kept.

    Where all was to be kept, `name` says what, and the first time that something has to go is logged.
    """

    def __init__(self, limit: float, name: str = "") -> None:
        self.limit, self.used, self._name = limit, 0, name
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
            if n_bytes + ENTRY > self.limit:
                self.warn()
                return
            self._entries[key] = value, n_bytes + ENTRY
            self.used += n_bytes + ENTRY
            while self.used > self.limit:
                self.used -= self._entries.popitem(last=False)[1][1]
                self.warn()

    def drop(self, key: Hashable) -> None:
        """Forget a value, if it is there."""
        with self._lock:
            self.used -= self._entries.pop(key, (None, 0))[1]

    def warn(self) -> None:
        """Say, the first time, that not all of it fits."""
        if self._name:
            log.warning("%s: more than %.0f MB, so that some are read again each time", self._name, self.limit / 1e6)
            self._name = ""
