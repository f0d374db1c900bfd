"""How far a scoring run is: a bar on a terminal, a line from time to time elsewhere."""

import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

EVERY_S = 10.0  # between two lines


class Progress:
    """Counts rows as they come.

    Args:
        images: all that are to have a row.
        todo: of these, those that have none yet.
    """

    def __init__(self, images: int, todo: int) -> None:
        self.images, self.todo = images, todo
        self.done = self.requests = self.bytes_read = 0
        self.failed: Counter[str] = Counter()
        self.seconds = 0.0
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        """Start the clock."""
        self._began = self._said = time.monotonic()
        before = self.images - self.todo
        print(f"{self.todo} images to score" + (f", {before} are scored" if before else ""), flush=True)
        if sys.stderr.isatty():
            self._bar = tqdm(total=self.todo, unit="image", smoothing=0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.seconds = time.monotonic() - self._began
        if self._bar is not None:
            self._bar.close()

    def add(self, rows: pa.Table) -> None:
        """Count some rows of scores, and show it."""
        if not len(rows):
            return
        self.done += len(rows)
        self.requests += pc.sum(rows["requests"]).as_py()
        self.bytes_read += pc.sum(rows["bytes_read"]).as_py()
        self.failed.update(status for status in rows["status"].to_pylist() if status != "ok")
        self.seconds = time.monotonic() - self._began
        if self._bar is not None:
            self._bar.set_postfix_str(self._rates(), refresh=False)
            self._bar.update(len(rows))
        elif time.monotonic() - self._said > EVERY_S:
            self._said = time.monotonic()
            left = self.seconds / self.done * (self.todo - self.done)
            rate = self.done / self.seconds
            print(f"[{self.done}/{self.todo}] {rate:.1f} images/s, {self._rates()}; {left:.0f} s to go", flush=True)

    def _rates(self) -> str:
        failed = ", ".join(f"{count} {status}" for status, count in sorted(self.failed.items()))
        rates = f"{self.bytes_read / self.seconds / 1e6:.1f} MB/s, {self.requests / self.seconds:.0f} requests/s"
        return rates + (f", failed: {failed}" if failed else "")
