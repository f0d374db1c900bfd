"""One object of a storage, and single requests for its bytes: through obstore where that can, else through fsspec.

One call is one request; whoever calls counts, and asks again. Whatever the libraries raise, `judge` says what it means.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import obstore
from obstore import exceptions

from pipelines.storage import objects, stores
from pipelines.storage.objects import ObjectStat

SLOWEST = 1e6  # bytes a second of all requests in flight together: what comes slower beyond its time-out is given up
SAID = 400  # characters of what a library says

T = TypeVar("T")

_CLIENT_ERROR = re.compile(r"status code: 4(?!08|29)\d\d")  # but 408 (too slow) and 429 (too many) may pass
_FINAL = (
    RuntimeError,
    ValueError,
    ImportError,
    IsADirectoryError,
    NotADirectoryError,
    exceptions.NotSupportedError,
    exceptions.InvalidPathError,
    exceptions.UnknownConfigurationKeyError,
)


@dataclass(frozen=True, slots=True)
class Network:
    """How patient a process is, and how much it asks for at once."""

    timeout_s: float = 10.0
    """Of one request: to its answer, and between two pieces of it."""
    attempts: int = 4
    in_flight: int = 96
    """Requests of this process at once."""

    def body_s(self, length: int) -> float:
        """The longest that a body may take of which pieces keep coming: all that are in flight may share one line."""
        return self.timeout_s + length * self.in_flight / SLOWEST


DEFAULT = Network()


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes start ... end - 1 of an object; ValueError unless 0 <= start <= end."""

    uri: str
    start: int = 0
    end: int | None = None
    """None: all that follow."""
    etag: str = ""
    """As `stat` gave it; "" takes whatever is there."""

    def __post_init__(self) -> None:
        if self.start < 0 or (self.end is not None and self.end < self.start):
            raise ValueError(f"{self.uri}: there are no {self}.")

    def __str__(self) -> str:
        return f"bytes {self.start} - {'end' if self.end is None else self.end}"


class StaleError(Exception):
    """The object is not the one that was asked for."""


class ShortError(Exception):
    """The object ends before the range does."""


class Client(Protocol):
    """One object."""

    compares_etags: bool
    """Whether `get` does; else the object's `stat` after it says what was read."""
    place: AbstractAsyncContextManager[Any]
    """Taken by whoever calls, for one request at a time."""

    async def get(self, wanted: ByteRange) -> bytes:
        """Exactly these bytes, as far as it can tell without a stat."""

    async def stat(self) -> ObjectStat:
        """Size and etag."""


def client(uri: str, variables: stores.Environment, network: Network, threads: asyncio.Semaphore) -> Client:
    """The client of an object; to find its credentials may take seconds. Clients share connections, of one process.

    `threads` bounds the requests that block a thread each.
    """
    where = stores.place(uri)
    if where is None:
        return FsspecObject(uri, network, threads)
    signed = where.kind == "http" and "?" in where.where
    store = stores.store(where.kind, where.where, variables, network.timeout_s)
    return ObstoreObject(store, where.path, network, signed)


@dataclass(frozen=True, slots=True)
class ObstoreObject:
    """An object that obstore reads."""

    store: Any
    path: str
    network: Network
    signed: bool
    """Whether its URL may be valid for GET alone."""
    compares_etags: bool = True
    place: AbstractAsyncContextManager[Any] = field(default_factory=nullcontext)

    async def get(self, wanted: ByteRange) -> bytes:
        """As Client says. Compares etag and range with what the answer says of itself: a server may ignore either."""
        async with asyncio.timeout(self.network.timeout_s):
            answer = await obstore.get_async(self.store, self.path, options=_options(wanted))
        found = _described(answer.meta)
        check_etag(found, wanted.etag)
        start, end = wanted.start, found.size if wanted.end is None else wanted.end
        if tuple(answer.range) != (start, end):
            raise ShortError(f"the object has {found.size} bytes, and the storage offers {answer.range}")
        async with asyncio.timeout(self.network.body_s(end - start)):
            return _whole((await answer.bytes_async()).to_bytes(), end - start)

    async def stat(self) -> ObjectStat:
        """As Client says."""
        async with asyncio.timeout(self.network.timeout_s):
            if self.signed:
                first = await obstore.get_async(self.store, self.path, options={"range": (0, 1)})
                return _described(first.meta)
            return _described(await obstore.head_async(self.store, self.path))


@dataclass(frozen=True, slots=True)
class FsspecObject:
    """An object of any other storage, read in threads."""

    uri: str
    network: Network
    place: AbstractAsyncContextManager[Any]
    compares_etags: bool = False

    async def get(self, wanted: ByteRange) -> bytes:
        """As Client says."""
        length = 0 if wanted.end is None else wanted.end - wanted.start
        async with asyncio.timeout(self.network.body_s(length)):
            data = await _in_thread(objects.read_bytes, self.uri, wanted.start, wanted.end)
        return data if wanted.etag or wanted.end is None else _whole(data, length)

    async def stat(self) -> ObjectStat:
        """As Client says."""
        async with asyncio.timeout(self.network.timeout_s):
            return await _in_thread(objects.stat, self.uri)


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """In a thread of its own that keeps no process from ending: it may be stuck, and is left alone then."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def work() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="ranges-fsspec", daemon=True).start()
    return await asyncio.wrap_future(future)


def read_file(uri: str, ranges: Sequence[ByteRange]) -> tuple[list[bytes], ObjectStat]:
    """Bytes of a local file as far as it has them, and its stat after that: what was overwritten meanwhile shows."""
    with Path(objects.absolute(uri)).open("rb") as file:
        parts = []
        for wanted in ranges:
            file.seek(wanted.start)
            parts.append(file.read(-1 if wanted.end is None else wanted.end - wanted.start))
    return parts, objects.stat(uri)


def check_etag(found: ObjectStat, etag: str) -> None:
    """StaleError unless the object is the one that was asked for."""
    if etag and found.etag != etag:
        raise StaleError(f"its etag is {found.etag}, and was {etag}")


def check_length(data: bytes, wanted: ByteRange, found: ObjectStat) -> None:
    """ShortError unless these are all bytes of the range."""
    if len(data) != (found.size if wanted.end is None else wanted.end) - wanted.start:
        raise ShortError(f"the object has {found.size} bytes")


def judge(error: Exception) -> tuple[str, bool, str]:
    """What an exception of a client means: a status of images.STATUSES, whether it may pass, and what it says."""
    said = f"{type(error).__name__}: {error}".partition("\n\nDebug source")[0][:SAID]
    if "status code: 405" in said:  # obstore takes a server that answers no HEAD for one without the object
        return "unreadable", False, said
    match error:
        case FileNotFoundError():
            return "missing", False, f"there is no such {'bucket' if 'NoSuchBucket' in said else 'object'}"
        case PermissionError() | exceptions.PermissionDeniedError() | exceptions.UnauthenticatedError():
            return "denied", False, said
        case exceptions.PreconditionError():
            return "stale", False, "its etag is another now"
        case StaleError():
            return "stale", False, str(error)
        case ShortError():
            return "truncated", False, str(error)
        case EOFError():
            return "truncated", True, str(error)
        case TimeoutError():
            return "unreadable", True, "the storage stopped answering, or sends too slowly"
    if "status code: 416" in said:
        return "truncated", False, "the object ends before"
    return "unreadable", not (isinstance(error, _FINAL) or _CLIENT_ERROR.search(said)), said


def _options(wanted: ByteRange) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if wanted.end is not None:
        options["range"] = (wanted.start, wanted.end)
    elif wanted.start:
        options["range"] = {"offset": wanted.start}
    if wanted.etag and not wanted.etag.startswith("W/"):
        options["if_match"] = f'"{wanted.etag}"'
    return options


def _described(meta: Mapping[str, Any]) -> ObjectStat:
    tag = meta["e_tag"] or "W/"
    if tag.startswith("W/"):  # it may stay while bytes change, and no server compares it with If-Match
        tag = f"W/{meta['last_modified'].timestamp():.0f}-{meta['size']}"
    return ObjectStat(meta["size"], tag.strip('"'))


def _whole(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise EOFError(f"{len(data)} of {length} bytes came")
    return data
