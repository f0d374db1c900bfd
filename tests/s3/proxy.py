"""An HTTP proxy that passes bytes on as they are, counts what it passes, and damages or delays it where told to.

It stands between a client and a server on loopback: the client's endpoint is the proxy's `url`. The request goes on
untouched, Host header and all, so that its signature stays valid.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_503 = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(_SLOW_DOWN)
_NO_BODY = (204, 304)


@dataclass(frozen=True, slots=True)
class Passed:
    """One request as it was answered. Times are of `time.monotonic`."""

    method: str
    path: str
    range: str
    status: int
    """0 where the connection was reset instead."""
    sent: int
    """Bytes of the body that the client was sent."""
    start: float
    """When the request's head had come."""
    end: float
    """Just before the last byte was handed on, so that whatever follows from the answer starts later."""


@dataclass(slots=True)
class Fault:
    """What to do to which requests: of those with this method whose path holds `path`, the first n or every k-th."""

    kind: Literal["503", "reset", "truncate", "stall", "corrupt"]
    every: int = 0
    first: int = 0
    path: str = ""
    method: str = "GET"
    seen: int = field(default=0, init=False)

    def hits(self, method: str, path: str) -> bool:
        """Whether this request is one of them; neither `every` nor `first` means all. Counts it."""
        if method != self.method or self.path not in path:
            return False
        self.seen += 1
        if not self.every and not self.first:
            return True
        return self.seen <= self.first or (self.every > 0 and self.seen % self.every == 0)


def round_trips(log: Iterable[Passed]) -> int:
    """The longest chain of requests each of which started after the one before had ended."""
    count, ended = 0, float("-inf")
    for request in sorted(log, key=lambda request: request.end):
        if request.start >= ended:
            count, ended = count + 1, request.end
    return count


def most_at_once(log: Iterable[Passed]) -> int:
    """The most requests that were under way at one time."""
    changes = sorted(change for request in log for change in ((request.start, 1), (request.end, -1)))
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


class Proxy:
    """Listens while its `with` lasts. `log`, `latency_s` and `faults` may be read and set at any time.

    `latency_s` is the least time from a request to the first byte of its answer.
    """

    def __init__(self, upstream: str, *, latency_s: float = 0.0, faults: Sequence[Fault] = ()) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port or 80)
        self.latency_s, self.faults = latency_s, list(faults)
        self.log: list[Passed] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def clear(self) -> None:
        """Forgets the log and what the faults have seen."""
        self.log.clear()
        for fault in self.faults:
            fault.seen = 0

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ends = [_Stream(reader, writer)]
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            ends.append(_Stream(*await asyncio.open_connection(*self._upstream)))
            while await self._pass_one(*ends):
                pass
        for end in ends:
            end.writer.close()

    async def _pass_one(self, client: "_Stream", upstream: "_Stream") -> bool:
        """One request and its answer; whether the connection goes on."""
        head = await client.head()
        start = time.monotonic()
        method, path = (part.decode() for part in head.split(b" ", 2)[:2])
        fault = self._fault(method, path)
        answer = await _ask(client, upstream, head)
        status = int(answer.split(b" ", 2)[1])
        empty = method == "HEAD" or status in _NO_BODY
        body = b"" if empty else await upstream.body(answer, to_the_end=True)
        if fault == "503":
            status, answer, body = 503, _503, _SLOW_DOWN
        body = _damaged(body, fault)
        await asyncio.sleep(max(0.0, start + self.latency_s - time.monotonic()))
        seen = (status, len(body)) if fault != "reset" else (0, 0)
        self.log.append(Passed(method, path, _header(head, b"range"), *seen, start=start, end=time.monotonic()))
        if fault == "reset":
            client.reset()
            return False
        await client.write(answer + body)
        if fault == "stall":
            await client.reader.read()  # until the client has enough of it
        ends = "close" in (_header(head, b"connection") + _header(answer, b"connection")).lower()
        return fault not in ("truncate", "stall") and not ends

    def _fault(self, method: str, path: str) -> str:
        hits = [fault.kind for fault in self.faults if fault.hits(method, path)]
        return hits[0] if hits else ""


def _header(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().decode("latin-1")
    return ""


async def _ask(client: "_Stream", upstream: "_Stream", head: bytes) -> bytes:
    """Passes a request on; the head of its answer. A client that expects it is first told to continue."""
    await upstream.write(head)
    if _header(head, b"expect"):
        answer = await upstream.head()
        if not answer.startswith(b"HTTP/1.1 100"):
            return answer
        await client.write(answer)
    await upstream.write(await client.body(head))
    return await upstream.head()


@dataclass(frozen=True, slots=True)
class _Stream:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def body(self, head: bytes, *, to_the_end: bool = False) -> bytes:
        """The bytes after a head as they are on the wire, chunk sizes and all."""
        if length := _header(head, b"content-length"):
            return await self.reader.readexactly(int(length))
        if "chunked" in _header(head, b"transfer-encoding").lower():
            return await self._chunks()
        return await self.reader.read() if to_the_end else b""

    async def _chunks(self) -> bytes:
        parts = []
        while True:
            line = await self.reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            parts += [line, await self.reader.readexactly(size + 2)]
            if size == 0:
                return b"".join(parts)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Ends the connection as a server that crashed does."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


def _damaged(body: bytes, fault: str) -> bytes:
    if fault in ("truncate", "stall"):
        return body[: len(body) // 2]
    if fault == "corrupt" and body:  # its first byte: one in the middle may lie between two tiles, where nobody looks
        return bytes([body[0] ^ 0x10]) + body[1:]
    return body
