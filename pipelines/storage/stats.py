"""What reading has cost so far: counters that several threads add to."""

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """What a reader has done since it was made. Seconds are summed over what ran at the same time."""

    requests: int = 0
    """Requests sent to the storage, retries included; of a local file each range, too."""
    bytes_read: int = 0
    """Encoded bytes that came back."""
    bytes_needed: int = 0
    """Of these the bytes of the tiles, or of the whole images, that were asked for."""
    tiles: int = 0
    """Pieces decoded: tiles, strips, or whole images."""
    retries: int = 0
    """Second and later attempts: after a failed request, or after bytes that did not decode."""
    bad: int = 0
    """Images given up, where the reader is told to go on without them."""
    wait_s: float = 0.0
    """From sending a request to its last byte."""
    decode_s: float = 0.0
    """Decoding."""

    def since(self, before: "ReaderStats") -> "ReaderStats":
        """What was done after an earlier snapshot."""
        return ReaderStats(*(getattr(self, name) - getattr(before, name) for name in self.__slots__))


class Counters:
    """A ReaderStats that grows."""

    def __init__(self) -> None:
        self._stats, self._lock = ReaderStats(), threading.Lock()

    def add(self, **more: float) -> None:
        """Add to the fields of these names."""
        with self._lock:
            self._stats = replace(self._stats, **{name: getattr(self._stats, name) + n for name, n in more.items()})

    def snapshot(self) -> ReaderStats:
        """The counters as they are now."""
        return self._stats
