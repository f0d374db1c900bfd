"""An S3 server on loopback for the length of a run, reached directly or through a proxy that counts and delays.

Server and proxy are processes of their own, so that their CPU time is not the reader's.
"""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.s3.proxy import Passed, Proxy
from tests.s3.server import BUCKET, S3Account, weed

ENDPOINT = "AWS_ENDPOINT_URL"
_FOREIGN = ("AWS_PROFILE", "AWS_SESSION_TOKEN")  # of whoever runs this: another account's


def installed() -> bool:
    """Whether the S3 server is."""
    return (Path(sys.executable).parent / "weed").exists()


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A bucket and the two ways to it; the environment says which one readers take."""

    direct: str
    """The server's endpoint."""
    proxied: str
    """The proxy's."""
    _pipe: Connection

    def route(self, latency_ms: float | None) -> None:
        """From now on requests go through the proxy, which answers after so long; None: not through the proxy."""
        os.environ[ENDPOINT] = self.direct if latency_ms is None else self.proxied
        if latency_ms is not None:
            self._ask(latency_ms / 1000)

    def clear(self) -> None:
        """Forget what has passed."""
        self._ask("clear")

    def log(self) -> list[Passed]:
        """What has passed the proxy since."""
        self._pipe.send("log")
        log: list[Passed] = self._pipe.recv()
        return log

    def _ask(self, what: str | float) -> None:
        self._pipe.send(what)
        self._pipe.recv()


@contextmanager
def account() -> Iterator[S3Account]:
    """A new account in the environment, and no other, for the body of a `with`."""
    own = S3Account.new()
    before = dict(os.environ)
    for name in _FOREIGN:
        os.environ.pop(name, None)
    os.environ.update(own.environment())
    try:
        yield own
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def running(folder: Path) -> Iterator[Storage]:
    """Server and proxy for the body of a `with`; the environment holds the account of the server."""
    with account() as own, weed(own, folder), _proxy(os.environ[ENDPOINT]) as storage:
        yield storage


def uri(*names: str) -> str:
    """Of an object in the bucket."""
    return "/".join([f"s3://{BUCKET}", *names])


@contextmanager
def _proxy(upstream: str) -> Iterator[Storage]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(upstream, there), daemon=True)
    process.start()
    try:
        yield Storage(upstream, here.recv(), here)
    finally:
        here.send("end")
        process.join()


def _serve(upstream: str, pipe: Connection) -> None:
    """The proxy's process: a number is its latency in seconds, a word is answered."""
    with Proxy(upstream) as proxy:
        pipe.send(proxy.url)
        while (what := pipe.recv()) != "end":
            if what == "log":
                pipe.send(proxy.log)
                continue
            if what == "clear":
                proxy.clear()
            else:
                proxy.latency_s = what
            pipe.send(None)
