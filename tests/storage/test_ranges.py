"""The same bytes from every kind of storage, or an error that says why."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import ImageError
from pipelines.storage import objects, ranges, transfers
from pipelines.storage.ranges import ByteRange, Network, fetch
from pipelines.storage.stats import Counters
from tests.storage.web import DATA, SIZE, Web, failed

NAMES = ["a b.txt", "100%.txt", "a%20b.txt", "ünï/é.txt", "x#y.txt", "q?v=1.txt", "[q]*+&=;,@!'().txt", "a//b.txt"]
QUICK = Network(timeout_s=0.5, attempts=2)

spans = st.tuples(st.integers(0, SIZE - 1), st.integers(0, 3000)).map(lambda s: (s[0], min(SIZE, s[0] + s[1])))


Put = Callable[[str, bytes], str]


@pytest.fixture(params=["local", "file", "memory", "http", pytest.param("s3", marks=pytest.mark.s3)])
def put(request: pytest.FixtureRequest, tmp_path: Path) -> Put:
    """Writes an object of a name and says its URI, in each kind of storage."""
    if request.param == "http":
        web: Web = request.getfixturevalue("web")
        return lambda name, data: web.put("/" + quote(name, safe="/"), data)
    bases = {"local": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{tmp_path}"}
    base = bases[request.param] if request.param in bases else request.getfixturevalue("bucket")

    def write(name: str, data: bytes) -> str:
        objects.write_bytes(uri := f"{base}/{name}", data)
        return uri

    return write


def test_any_ranges_in_their_order(put: Put) -> None:
    uri, other = put("x.bin", DATA), put("y.bin", DATA[::-1])
    etag = ranges.stat(uri).etag

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(spans, max_size=20))
    def check(wanted: list[tuple[int, int]]) -> None:
        counters = Counters()
        asked = [ByteRange(uri, *span, etag) for span in wanted] + [ByteRange(other, *span) for span in wanted]
        got = [future.result(60) for future in fetch(asked, counters)]
        assert got == [DATA[a:b] for a, b in wanted] + [DATA[::-1][a:b] for a, b in wanted]
        assert counters.snapshot().bytes_read == sum(map(len, got))
        assert counters.snapshot().retries == 0

    check()


def test_whole_objects_and_their_ends(put: Put) -> None:
    uri, empty = put("x.bin", DATA), put("empty.bin", b"")
    etag = ranges.stat(uri).etag
    asked = [ByteRange(uri), ByteRange(uri, etag=etag), ByteRange(uri, SIZE - 5), ByteRange(uri, 7, None, etag)]
    got = [future.result(60) for future in fetch([*asked, ByteRange(empty), ByteRange(uri, 9, 9)], Counters())]
    assert got == [DATA, DATA, DATA[-5:], DATA[7:], b"", b""]
    assert ranges.stat(empty).size == 0


def test_names_are_taken_as_they_are(put: Put) -> None:
    uris = [put(name, name.encode()) for name in NAMES]
    stats = [ranges.stat(uri) for uri in uris]
    assert [stat.size for stat in stats] == [len(name.encode()) for name in NAMES]
    asked = [ByteRange(uri, 1, stat.size, stat.etag) for uri, stat in zip(uris, stats, strict=True)]
    assert [future.result(60) for future in fetch(asked, Counters())] == [name.encode()[1:] for name in NAMES]


def test_the_stat_is_that_of_objects(put: Put) -> None:
    uri = put("x.bin", DATA)
    counters = Counters()
    assert ranges.stat(uri, counters=counters) == objects.stat(uri)
    assert counters.snapshot().requests == 1


def test_what_is_missing(put: Put) -> None:
    uri = put("x.bin", DATA) + "none"
    assert failed(ByteRange(uri, 0, 10)).status == "missing"
    with pytest.raises(ImageError) as missing:
        ranges.stat(uri)
    assert missing.value.status == "missing"


def test_what_was_overwritten_is_stale(put: Put) -> None:
    uri = put("x.bin", DATA)
    before = ranges.stat(uri)
    time.sleep(0.02)  # the clock of file times ticks slower than that of processes
    put("x.bin", DATA[::-1])
    assert failed(ByteRange(uri, 0, 10, before.etag)).status == "stale"
    assert failed(ByteRange(uri, 0, None, before.etag)).status == "stale"
    etag = ranges.stat(uri).etag
    assert fetch([ByteRange(uri, 0, 10, etag)], Counters())[0].result(60) == DATA[::-1][:10]


def test_a_range_beyond_the_end_is_truncated(put: Put) -> None:
    uri = put("x.bin", DATA)
    etag = ranges.stat(uri).etag
    for start, end in ((SIZE - 10, SIZE + 1), (SIZE, SIZE + 1), (10 * SIZE, 11 * SIZE)):
        assert failed(ByteRange(uri, start, end, etag)).status == "truncated"
        assert failed(ByteRange(uri, start, end), QUICK).status == "truncated"


def test_a_range_that_cannot_be_is_a_value_error() -> None:
    for start, end in ((-1, 5), (5, 4)):
        with pytest.raises(ValueError, match="no bytes"):
            ByteRange("x", start, end)


def test_an_unknown_protocol_is_an_error_at_once() -> None:
    error = failed(ByteRange("nosuch://a/b", 0, 1), Network(attempts=10))
    assert error.status == "unreadable"
    assert "nosuch" in str(error)


# What fsspec alone reads


class Slow(MemoryFileSystem):
    """Takes its time."""

    protocol = "slow"

    def cat_file(self, path: str, *span: object, **more: object) -> bytes:
        time.sleep(0.4)
        return super().cat_file(path, *span, **more)


def test_the_time_of_a_request_begins_when_a_thread_is_free() -> None:
    fsspec.register_implementation("slow", Slow, clobber=True)
    objects.write_bytes("slow://x", DATA)
    counters = Counters()
    asked = [ByteRange("slow://x", i, i + 10) for i in range(4 * transfers.FSSPEC_THREADS)]
    got = [future.result(60) for future in fetch(asked, counters, Network(timeout_s=1.2))]
    assert got == [DATA[i : i + 10] for i in range(len(asked))]
    stats = counters.snapshot()
    assert (stats.requests, stats.retries) == (len(asked), 0)
    assert stats.wait_s < 1.2 * len(asked)


# The web's servers


def test_a_server_that_ignores_if_match_is_seen_through(web: Web) -> None:
    uri = web.put("/x", DATA)
    etag = ranges.stat(uri).etag
    web.put("/x", DATA[::-1])
    assert failed(ByteRange(uri, 0, 10, etag)).status == "stale"
    assert web.asked[-1][2] == f'"{etag}"'


@pytest.mark.parametrize("weak", [None, lambda data: 'W/"same"'])
def test_weak_and_missing_etags_are_never_sent(web: Web, weak: Callable[[bytes], str] | None) -> None:
    web.etag = weak
    uri = web.put("/x", DATA)
    etag = ranges.stat(uri).etag
    assert fetch([ByteRange(uri, 5, 10, etag)], Counters())[0].result(60) == DATA[5:10]
    for other in (DATA[:-1], DATA[::-1]):
        web.put("/x", other)  # its size or its date is another
        assert failed(ByteRange(uri, 0, 10, etag)).status == "stale"
        etag = ranges.stat(uri).etag
    assert {if_match for _, _, if_match in web.asked} == {None}


def test_a_server_without_ranges_hands_out_whole_objects(web: Web) -> None:
    web.honours_ranges = False
    uri, counters = web.put("/x", DATA), Counters()
    etag = ranges.stat(uri).etag
    assert fetch([ByteRange(uri, 0, SIZE, etag)], counters)[0].result(60) == DATA
    assert counters.snapshot().requests == len(web.asked) - 1 == 3  # refused, its size, all of it
    asked = [ByteRange(uri, etag=etag), ByteRange(uri, 5, 10, etag), ByteRange(uri, SIZE - 5)]
    assert [future.result(60) for future in fetch(asked, Counters())] == [DATA, DATA[5:10], DATA[-5:]]
    assert failed(ByteRange(uri, 5, SIZE + 1, etag)).status == "truncated"
    web.put("/x", DATA[::-1])
    assert failed(ByteRange(uri, 5, 10, etag)).status == "stale"


def test_a_server_without_ranges_is_not_asked_for_parts_of_what_is_large(web: Web) -> None:
    web.honours_ranges = False
    large = bytes(transfers.WHOLE + 1)
    uri, counters = web.put("/x", large), Counters()
    error = failed(ByteRange(uri, 0, transfers.WHOLE), Network(), counters)
    assert error.status == "unreadable"
    assert "server that answers ranges" in str(error)
    assert counters.snapshot().bytes_read == 0
    assert fetch([ByteRange(uri, 0, len(large))], Counters())[0].result(60) == large


def test_a_slow_body_is_waited_for_where_many_share_the_line(web: Web) -> None:
    web.piece_s = 0.1
    wanted = ByteRange(web.put("/x", DATA), 0, SIZE)
    assert fetch([wanted], Counters(), Network(timeout_s=0.4, attempts=1))[0].result(60) == DATA
    assert "too slowly" in str(failed(wanted, Network(timeout_s=0.4, attempts=1, in_flight=1)))


def test_a_signed_url_goes_out_as_it_is_and_only_by_get(web: Web) -> None:
    web.refuses = {"HEAD": 403}
    path = "/a%2Fb%20c.tif?signature=x%2By%2F%3D&expires=1"
    uri = web.put(path, DATA)
    found = ranges.stat(uri)
    assert found.size == SIZE
    assert fetch([ByteRange(uri, 5, 10, found.etag)], Counters())[0].result(60) == DATA[5:10]
    assert {asked for _, asked, _ in web.asked} == {path}


@pytest.mark.parametrize(
    ("status", "name", "sent"), [(403, "denied", 1), (405, "unreadable", 1), (500, "unreadable", 2)]
)
def test_what_is_asked_again(web: Web, status: int, name: str, sent: int) -> None:
    web.refuses = {"GET": status, "HEAD": status}
    uri, counters = web.put("/x", DATA), Counters()
    assert failed(ByteRange(uri, 0, 10), QUICK, counters).status == name
    assert (counters.snapshot().requests, counters.snapshot().retries, len(web.asked)) == (sent, sent - 1, sent)
    with pytest.raises(ImageError) as refused:
        ranges.stat(uri, QUICK)
    assert refused.value.status == name


def test_azure_and_google_speak_through_their_own_clients(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/container/a%20b%25.bin", "/container/a%20b%25%2Ebin"):  # as Azure and as Google get it
        web.put(path, DATA)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_ENDPOINT", web.url)
    monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")
    key = {"gcs_base_url": web.url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(key))
    for protocol in ("az", "abfs", "gs"):
        uri = f"{protocol}://container/a b%.bin"
        etag = ranges.stat(uri).etag
        assert fetch([ByteRange(uri, 5, 10, etag)], Counters())[0].result(60) == DATA[5:10]
