"""Many requests at once: as many as the network may bear, sent again where that may help, and counted.

Whatever a client raises comes out as an ImageError. A process reads with one event loop in a thread of its own, made
when first needed.
"""

import asyncio
import atexit
import itertools
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from obstore.exceptions import NotSupportedError

from pipelines.errors import ImageError
from pipelines.storage import clients, objects, stores
from pipelines.storage.clients import ByteRange, Client, Network
from pipelines.storage.images import image_error
from pipelines.storage.objects import ObjectStat
from pipelines.storage.stats import Counters

FILE_THREADS = 8
FSSPEC_THREADS = 32
BACKOFF_S = 0.2  # before the second attempt, doubled before each further one; times 0.5 to 1.5 by chance
SETTLE_S = 0.1  # what obstore needs to notice that nobody waits for it any more

WHOLE = 16 << 20  # bytes of an object of which parts are cut out where the server knows no ranges

T = TypeVar("T")
Job = tuple[ByteRange, "Future[bytes]"]


def read_files(jobs: Mapping[str, Sequence[Job]], counters: Counters) -> None:
    """Begins to read ranges of local files, those of one file in one thread."""
    for uri, of_one in jobs.items():
        _reader().files.submit(_read_file, uri, of_one, counters)


def read_objects(jobs: Sequence[Job], counters: Counters, network: Network) -> None:
    """Begins to read ranges of objects. Storages are opened here, in the caller's thread: that blocks for a while."""
    call = _Call(_reader(), counters, network, stores.environment())
    begun = []
    for wanted, future in jobs:
        try:
            begun.append((call.read(call.client(wanted.uri), wanted, future), future))
        except Exception as error:
            if future.set_running_or_notify_cancel():
                future.set_exception(_image_error(wanted.uri, error, wanted))
    call.reader.begin(begun)


def stat_file(uri: str, counters: Counters) -> ObjectStat:
    """The stat of a local file, or ImageError."""
    counters.add(requests=1)
    try:
        return objects.stat(uri)
    except (OSError, ValueError) as error:
        raise _image_error(uri, error) from error


def stat_object(uri: str, counters: Counters, network: Network) -> ObjectStat:
    """The stat of an object, waited for, or ImageError."""
    call = _Call(_reader(), counters, network, stores.environment())
    future: Future[ObjectStat] = Future()
    try:
        client = call.client(uri)
    except Exception as error:
        raise _image_error(uri, error) from error
    call.reader.begin([(call.stat(client, uri), future)])
    return future.result()


def _read_file(uri: str, jobs: Sequence[Job], counters: Counters) -> None:
    """Settles the futures of all ranges of one local file, which is opened once."""
    jobs = [job for job in jobs if job[1].set_running_or_notify_cancel()]
    try:
        parts = _parts(uri, [wanted for wanted, _ in jobs], counters)
    except BaseException as error:  # that nobody foresaw
        parts = [error] * len(jobs)
    for (_, future), part in zip(jobs, parts, strict=True):
        if isinstance(part, BaseException):
            future.set_exception(part)
        else:
            future.set_result(part)


def _parts(uri: str, ranges: Sequence[ByteRange], counters: Counters) -> "list[bytes | BaseException]":
    """Of each range of a local file its bytes, or what is wrong with it."""
    began = time.perf_counter()
    try:
        parts, found = clients.read_file(uri, ranges)
    except Exception as error:
        return [_image_error(uri, error, wanted) for wanted in ranges]
    counters.add(requests=len(ranges), bytes_read=sum(map(len, parts)), wait_s=time.perf_counter() - began)
    return [_checked(part, wanted, found) for part, wanted in zip(parts, ranges, strict=True)]


def _checked(part: bytes, wanted: ByteRange, found: ObjectStat) -> bytes | ImageError:
    try:
        clients.check_etag(found, wanted.etag)
        clients.check_length(part, wanted, found)
    except (clients.StaleError, clients.ShortError) as error:
        return _image_error(wanted.uri, error, wanted)
    return part


def _image_error(uri: str, error: Exception, wanted: ByteRange | None = None, attempts: int = 1) -> ImageError:
    status, passing, reason = clients.judge(error)
    tried = f" ({attempts} attempts)" if passing and attempts > 1 else ""
    told = image_error(uri, status, (f"{wanted}: " if wanted else "") + reason + tried)
    told.__cause__ = error
    return told


class _Reader:
    """What a process reads with: an event loop in a thread, threads for files, and a place a request."""

    def __init__(self) -> None:
        self.files = ThreadPoolExecutor(FILE_THREADS, "ranges-file")
        self.blocking = asyncio.Semaphore(FSSPEC_THREADS)
        self.loop = asyncio.new_event_loop()
        self._places: dict[int, asyncio.Semaphore] = {}
        self._tasks: set[asyncio.Task[Any]] = set()  # the loop itself holds them only weakly
        self._thread = threading.Thread(target=self.loop.run_forever, name="ranges", daemon=True)
        self._thread.start()

    def place(self, network: Network) -> asyncio.Semaphore:
        """For one request at a time; as many at once as the network says."""
        if network.in_flight not in self._places:
            self._places[network.in_flight] = asyncio.Semaphore(network.in_flight)
        return self._places[network.in_flight]

    def begin(self, work: "Sequence[tuple[Coroutine[Any, Any, T], Future[T]]]") -> None:
        """Starts coroutines in the loop, each of which settles its future, however it ends."""
        self.loop.call_soon_threadsafe(self._begin, work)

    def _begin(self, work: "Sequence[tuple[Coroutine[Any, Any, T], Future[T]]]") -> None:
        for coroutine, future in work:
            task = self.loop.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(partial(self._end, future))

    def _end(self, future: "Future[T]", task: "asyncio.Task[T]") -> None:
        self._tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if future.cancelled() or not (future.running() or future.set_running_or_notify_cancel()):
            return
        if error:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    def close(self) -> None:
        """Gives up what is under way: threads of obstore that answer to an ending interpreter would abort it."""
        asyncio.run_coroutine_threadsafe(self._give_up(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    async def _give_up(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(SETTLE_S if tasks else 0)


@dataclass(frozen=True, slots=True)
class _Call:
    """What the requests of one call of `fetch` or `stat` share."""

    reader: _Reader
    counters: Counters
    network: Network
    variables: stores.Environment

    def client(self, uri: str) -> Client:
        """Of an object. It blocks while a storage is opened: never in the loop."""
        return clients.client(uri, self.variables, self.network, self.reader.blocking)

    async def read(self, client: Client, wanted: ByteRange, future: "Future[bytes]") -> bytes:
        """Exactly these bytes, or ImageError; nothing is asked for if the future is cancelled by then."""
        async with client.place, self.reader.place(self.network):  # between attempts too: one in trouble is asked less
            return await self._bytes(client, wanted) if future.set_running_or_notify_cancel() else b""

    async def stat(self, client: Client, uri: str) -> ObjectStat:
        """Size and etag, or ImageError."""
        async with client.place, self.reader.place(self.network):
            try:
                return await self._patiently(client.stat)
            except Exception as error:
                raise _image_error(uri, error, None, self.network.attempts) from error

    async def _bytes(self, client: Client, wanted: ByteRange) -> bytes:
        try:
            try:
                data = await self._get(client, wanted)
            except NotSupportedError:
                data = await self._get_whole(client, wanted)
            if wanted.etag and not client.compares_etags:
                found = await self._patiently(client.stat)
                clients.check_etag(found, wanted.etag)
                clients.check_length(data, wanted, found)
        except Exception as error:
            raise _image_error(wanted.uri, error, wanted, self.network.attempts) from error
        return data

    async def _get(self, client: Client, wanted: ByteRange) -> bytes:
        data = await self._patiently(lambda: client.get(wanted))
        self.counters.add(bytes_read=len(data))
        return data

    async def _get_whole(self, client: Client, wanted: ByteRange) -> bytes:
        """From a server without ranges: cut out of the whole object, unless that is large and a part is wanted."""
        found = await self._patiently(client.stat)
        if found.size > WHOLE and (wanted.start, wanted.end or found.size) != (0, found.size):
            raise NotSupportedError(
                f"its server sends no part of an object, only all {found.size} bytes: "
                "copy it to a disk, or put it on a server that answers ranges (nginx, or an object store)"
            )
        data = await self._get(client, replace(wanted, start=0, end=None))
        part = data[wanted.start : wanted.end]
        clients.check_length(part, wanted, ObjectStat(len(data), wanted.etag))
        return part

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer to a request, which is sent again while that may help."""
        for attempt in itertools.count(1):
            began = time.perf_counter()
            try:
                return await ask()
            except Exception as error:
                if attempt >= self.network.attempts or not clients.judge(error)[1]:
                    raise
            finally:
                self.counters.add(requests=1, retries=int(attempt > 1), wait_s=time.perf_counter() - began)
            await asyncio.sleep(BACKOFF_S * 2 ** (attempt - 1) * _chance.uniform(0.5, 1.5))
        raise AssertionError


_chance = random.Random()
_readers: dict[int, _Reader] = {}
_lock = threading.Lock()


def _reader() -> _Reader:
    """That of this process: threads do not cross a fork."""
    with _lock:
        if os.getpid() not in _readers:
            _readers[os.getpid()] = _Reader()
        return _readers[os.getpid()]


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


def _close() -> None:
    if reader := _readers.pop(os.getpid(), None):
        reader.close()


os.register_at_fork(after_in_child=_renew_lock)  # another thread may have held it
atexit.register(_close)
