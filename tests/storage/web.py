"""Objects to read: some bytes, and a web server that serves them as well or as badly as it is told to."""

import hashlib
import re
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pipelines.errors import ImageError
from pipelines.storage.ranges import DEFAULT, ByteRange, Network, fetch
from pipelines.storage.stats import Counters

SIZE = 200_000
DATA = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(SIZE // 32))


def failed(wanted: ByteRange, network: Network = DEFAULT, counters: Counters | None = None) -> ImageError:
    """The error of a fetch, whose reason names the range."""
    error = fetch([wanted], counters or Counters(), network)[0].exception(60)
    assert isinstance(error, ImageError)
    assert error.reason.startswith(str(wanted))
    return error


class Web(ThreadingHTTPServer):
    """A web server with what it serves, by URL path and query as they are sent, and what it was asked for."""

    daemon_threads = True
    honours_ranges = True
    answer_s = 0.0
    """To an answer."""
    piece_s = 0.0
    """To each tenth of its body."""
    etag: Callable[[bytes], str] | None = staticmethod(lambda data: f'"{hashlib.md5(data).hexdigest()}"')
    refuses: dict[str, int]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.refuses = {}

    def put(self, path: str, data: bytes) -> str:
        self.objects[path] = data, len(self.objects)
        return self.url + path


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        web = self.server
        time.sleep(web.answer_s)
        web.asked.append((self.command, self.path, self.headers["If-Match"]))
        found = web.objects.get(self.path)
        if self.command in web.refuses or found is None:
            return self.reply(web.refuses.get(self.command, 404), b"")
        data, changed = found
        headers = {"Last-Modified": self.date_time_string(1e9 + changed)}
        if web.etag:
            headers["ETag"] = web.etag(data)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        if not (asked and web.honours_ranges):
            return self.reply(200, data, **headers)
        start, end = int(asked[1]), min(int(asked[2] or SIZE) + 1, len(data))
        if start >= len(data):
            return self.reply(416, b"")
        return self.reply(206, data[start:end], **headers, **{"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})

    do_HEAD = do_GET

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            step = max(1, len(body) // 10 if self.server.piece_s else len(body))
            for start in range(0, len(body), step):
                time.sleep(self.server.piece_s)
                self.wfile.write(body[start : start + step])
