import os
import time
from collections.abc import Iterator

import pytest
import s3fs
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.s3.proxy import Fault, Passed, Proxy, most_at_once, round_trips

NAME = "a b%.bin"
DATA = bytes(range(256)) * 40


@pytest.fixture
def proxy(s3: str) -> Iterator[Proxy]:
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if not endpoint.startswith("http://"):
        pytest.skip("The proxy passes plain HTTP: set AWS_ENDPOINT_URL to an S3 that speaks it.")
    s3fs.S3FileSystem().pipe(f"{s3}/{NAME}", DATA)
    with Proxy(endpoint) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: Proxy, s3: str) -> S3Store:
    """A client that sends each request once and checks nothing but lengths."""
    bucket, _, prefix = s3.removeprefix("s3://").partition("/")
    options = {"allow_http": True, "read_timeout": "500ms"}
    return S3Store(bucket, prefix=prefix, endpoint=proxy.url, client_options=options, retry_config={"max_retries": 0})


def test_bytes_and_signatures_pass_both_ways(proxy: Proxy, s3: str) -> None:
    files = s3fs.S3FileSystem(endpoint_url=proxy.url, skip_instance_cache=True)
    assert files.cat_file(f"{s3}/{NAME}") == DATA
    files.pipe_file(f"{s3}/ü#?.bin", DATA[:100])
    assert s3fs.S3FileSystem().cat_file(f"{s3}/ü#?.bin") == DATA[:100]
    assert [name.rsplit("/", 1)[1] for name in files.ls(s3)] == [NAME, "ü#?.bin"]


def test_a_wrong_key_is_refused_through_it(proxy: Proxy, s3: str) -> None:
    files = s3fs.S3FileSystem(endpoint_url=proxy.url, key="nobody", secret="nothing", skip_instance_cache=True)
    with pytest.raises(PermissionError):
        files.cat_file(f"{s3}/{NAME}")
    with pytest.raises(PermissionError):
        files.pipe_file(f"{s3}/b.bin", DATA)


def test_the_log_says_what_was_asked_and_answered(proxy: Proxy, store: S3Store) -> None:
    assert store.get_range(NAME, start=10, end=30).to_bytes() == DATA[10:30]
    (passed,) = proxy.log
    assert (passed.method, passed.range, passed.status, passed.sent) == ("GET", "bytes=10-29", 206, 20)
    assert passed.path.endswith("/a%20b%25.bin")
    assert store.head(NAME)["size"] == len(DATA)
    assert (proxy.log[1].method, proxy.log[1].sent) == ("HEAD", 0)
    proxy.clear()
    assert proxy.log == []


def test_latency_is_added_to_each_request(proxy: Proxy, store: S3Store) -> None:
    proxy.latency_s = 0.2
    began = time.monotonic()
    store.get_range(NAME, start=0, end=1)
    store.get_range(NAME, start=0, end=1)
    assert time.monotonic() - began >= 0.4
    assert all(passed.end - passed.start >= 0.2 for passed in proxy.log)
    assert round_trips(proxy.log) == 2


@pytest.mark.parametrize(("kind", "status"), [("503", 503), ("reset", 0), ("truncate", 206), ("stall", 206)])
def test_faults_are_errors_to_the_client(proxy: Proxy, store: S3Store, kind: str, status: int) -> None:
    proxy.faults = [Fault(kind, first=1)]
    with pytest.raises(BaseError):
        store.get_range(NAME, start=0, end=1000)
    (passed,) = proxy.log
    assert passed.status == status
    assert store.get_range(NAME, start=0, end=1000).to_bytes() == DATA[:1000]


def test_a_corrupted_body_differs_in_one_byte(proxy: Proxy, store: S3Store) -> None:
    proxy.faults = [Fault("corrupt")]
    data = store.get_range(NAME, start=0, end=1000).to_bytes()
    assert sum(a != b for a, b in zip(data, DATA[:1000], strict=True)) == 1


def test_which_requests_a_fault_hits() -> None:
    def hits(fault: Fault, paths: str = "aaaaaa", method: str = "GET") -> str:
        return "".join("x" if fault.hits(method, path) else "." for path in paths)

    assert hits(Fault("503")) == "xxxxxx"
    assert hits(Fault("503", first=2)) == "xx...."
    assert hits(Fault("503", every=3)) == "..x..x"
    assert hits(Fault("503", path="b"), "abcabc") == ".x..x."
    assert hits(Fault("503", path="b", first=1), "abcabc") == ".x...."
    assert hits(Fault("503"), method="PUT") == "......"


def test_round_trips_and_concurrency_of_known_logs() -> None:
    def log(*spans: tuple[float, float]) -> list[Passed]:
        return [Passed("GET", "/", "", 206, 1, start, end) for start, end in spans]

    assert (round_trips([]), most_at_once([])) == (0, 0)
    together, chain = log((0, 3), (1, 4), (2, 5)), log((0, 1), (1, 2), (3, 4))
    assert (round_trips(together), most_at_once(together)) == (1, 3)
    assert (round_trips(chain), most_at_once(chain)) == (3, 1)
    assert round_trips(log((0, 10), (0, 1), (2, 3), (11, 12))) == 3
