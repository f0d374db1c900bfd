"""Faults of the network, accounts and processes: what can be recovered from is, all is counted, nothing hangs."""

import asyncio
import functools
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from pipelines.errors import ImageError
from pipelines.storage import clients, objects, ranges, stores, transfers
from pipelines.storage.ranges import ByteRange, Network, fetch
from pipelines.storage.stats import Counters
from tests.s3.proxy import Fault, Proxy, most_at_once, round_trips
from tests.storage.web import DATA, Web, failed

ROOT = Path(__file__).parents[2]
QUICK = Network(timeout_s=0.5, attempts=2)


def _until(holds: Callable[[], bool]) -> None:
    """Waits for what comes by itself."""
    for _ in range(500):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("It did not come in 10 seconds.")


@pytest.mark.parametrize("kind", ["503", "reset", "truncate", "stall"])
def test_faults_are_recovered_from_and_counted(proxy: Proxy, uri: str, kind: str) -> None:
    etag = ranges.stat(uri).etag
    proxy.clear()
    proxy.faults = [Fault(kind, every=3)]
    counters = Counters()
    asked = [ByteRange(uri, i * 100, i * 100 + 1000, etag) for i in range(20)]
    network = Network(timeout_s=0.5, attempts=8)
    got = [future.result(60) for future in fetch(asked, counters, network)]
    assert got == [DATA[i * 100 : i * 100 + 1000] for i in range(20)]
    stats = counters.snapshot()
    assert stats.requests == len(proxy.log) > 20
    assert stats.retries == stats.requests - 20
    assert stats.bytes_read == 20_000


@pytest.mark.parametrize("kind", ["503", "reset", "truncate", "stall"])
def test_attempts_and_time_are_bounded(proxy: Proxy, uri: str, kind: str) -> None:
    proxy.faults = [Fault(kind)]
    counters, began = Counters(), time.monotonic()
    error = failed(ByteRange(uri, 0, 1000), QUICK, counters)
    assert time.monotonic() - began < 5
    assert error.status == "unreadable"
    assert "2 attempts" in str(error)
    assert counters.snapshot().requests == len(proxy.log) == 2


def test_an_answer_that_does_not_come_is_given_up(proxy: Proxy, uri: str) -> None:
    proxy.latency_s = 30
    began = time.monotonic()
    assert failed(ByteRange(uri, 0, 1000), Network(timeout_s=0.3, attempts=1)).status == "unreadable"
    with pytest.raises(ImageError):
        ranges.stat(uri, Network(timeout_s=0.3, attempts=1))
    assert time.monotonic() - began < 5


def test_one_bad_object_delays_no_other(proxy: Proxy, uri: str, bucket: str) -> None:
    objects.write_bytes(good := f"{bucket}/good.bin", DATA)
    proxy.faults = [Fault("stall", path="image.tif")]
    bad, fine = fetch([ByteRange(uri, 0, 1000), ByteRange(good, 0, 1000)], Counters(), Network(1.0, attempts=1))
    assert fine.result(60) == DATA[:1000]
    assert not bad.done()
    assert isinstance(bad.exception(60), ImageError)


def test_all_ranges_go_at_once_and_no_more_than_the_bound(proxy: Proxy, uri: str) -> None:
    asked = [ByteRange(uri, i, i + 10) for i in range(48)]
    assert [future.result(60) for future in fetch(asked, Counters())] == [DATA[i : i + 10] for i in range(48)]
    proxy.latency_s = 0.5
    for in_flight, trips in ((48, 1), (24, 2)):
        proxy.clear()
        for future in fetch(asked, Counters(), Network(in_flight=in_flight)):
            future.result(60)
        assert most_at_once(proxy.log) == in_flight
        assert round_trips(proxy.log) == trips


def test_the_bound_is_one_for_all_threads(proxy: Proxy, uri: str) -> None:
    proxy.latency_s = 0.02
    network, counters = Network(in_flight=5), Counters()

    def read(first: int) -> list[bytes]:
        asked = [ByteRange(uri, first + i, first + i + 10) for i in range(10)]
        return [future.result(60) for future in fetch(asked, counters, network)]

    with ThreadPoolExecutor(8) as pool:
        for first, got in enumerate(pool.map(read, range(8))):
            assert got == [DATA[first + i : first + i + 10] for i in range(10)]
    assert most_at_once(proxy.log) == 5
    assert counters.snapshot().requests == len(proxy.log) == 80


def test_what_is_cancelled_in_time_is_not_asked_for(proxy: Proxy, uri: str) -> None:
    proxy.latency_s = 0.3
    first, *others = fetch([ByteRange(uri, i, i + 1) for i in range(5)], Counters(), Network(in_flight=1))
    assert all(other.cancel() for other in others)
    assert first.result(60) == DATA[:1]
    with pytest.raises(CancelledError):
        others[0].result(60)
    assert fetch([ByteRange(uri, 9, 10)], Counters(), Network(in_flight=1))[0].result(60) == DATA[9:10]
    assert [passed.range for passed in proxy.log] == ["bytes=0-0", "bytes=9-9"]


def test_what_waits_for_its_place_is_settled_too(web: Web) -> None:
    web.answer_s = 1.0
    first, second = fetch([ByteRange(web.put("/x", DATA), 0, 10)] * 2, Counters(), Network(in_flight=1))
    _until(first.running)
    reader = transfers._reader()
    asyncio.run_coroutine_threadsafe(reader._give_up(), reader.loop).result(10)
    assert [isinstance(future.exception(5), asyncio.CancelledError) for future in (first, second)] == [True, True]


def test_what_nobody_foresaw_is_settled_too(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(error: Exception) -> None:
        raise NameError(f"unforeseen, of {error}")

    monkeypatch.setattr(clients, "judge", fails)
    for uri in (str(tmp_path / "none"), f"{web.url}/none"):
        with pytest.raises(NameError, match="unforeseen"):
            fetch([ByteRange(uri, 0, 1)], Counters())[0].result(10)
        with pytest.raises(NameError, match="unforeseen"):
            ranges.stat(uri)


# Who one is


@pytest.fixture
def no_account(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The keys, which the environment no longer holds."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    for name in keys:
        monkeypatch.delenv(name)
    return keys


def test_a_profile_serves_as_well_as_variables(uri: str, no_account: dict[str, str], tmp_path: Path) -> None:
    lines = [f"{name.lower()} = {value}" for name, value in no_account.items()]
    (tmp_path / "credentials").write_text("\n".join(["[lab]", *lines]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_PROFILE", "lab")
        assert fetch([ByteRange(uri, 5, 10)], Counters())[0].result(60) == DATA[5:10]


@pytest.mark.usefixtures("no_account")
def test_without_an_account_all_is_denied(uri: str) -> None:
    counters = Counters()
    for wanted in (ByteRange(uri, 0, 10), ByteRange(uri, 5, 10)):
        error = failed(wanted, Network(), counters)
        assert error.status == "denied"
        assert "no AWS credentials" in str(error)


@pytest.mark.usefixtures("no_account")
def test_keys_that_come_later_are_found(
    uri: str, no_account: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "NO_CREDENTIALS_S", 0.1)
    assert failed(ByteRange(uri, 0, 10)).status == "denied"
    lines = [f"{name.lower()} = {value}" for name, value in no_account.items()]
    (tmp_path / "credentials").write_text("\n".join(["[default]", *lines]))
    time.sleep(0.2)
    assert fetch([ByteRange(uri, 0, 10)], Counters())[0].result(60) == DATA[:10]


def test_keys_that_take_long_hold_up_no_other(
    web: Web, uri: str, no_account: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, secret = no_account.values()
    (tmp_path / "keys").write_text(json.dumps({"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret}))
    wait = f"touch {tmp_path}/asked; until [ -e {tmp_path}/go ]; do sleep 0.05; done; cat {tmp_path}/keys"
    (tmp_path / "find.sh").write_text(wait)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = sh {tmp_path}/find.sh\n")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(lambda: fetch([ByteRange(uri, 5, 10)], Counters())[0].result(60))
        try:
            _until((tmp_path / "asked").exists)
            assert fetch([ByteRange(web.put("/x", DATA), 0, 10)], Counters())[0].result(5) == DATA[:10]
        finally:
            (tmp_path / "go").touch()
        assert slow.result(60) == DATA[5:10]


def test_a_wrong_key_is_denied(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    counters = Counters()
    assert failed(ByteRange(uri, 0, 10), Network(), counters).status == "denied"
    assert counters.snapshot().requests == 1


def test_options_that_only_fsspec_understands_are_left_to_it(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = ranges.stat(uri).etag
    monkeypatch.setitem(fsspec.config.conf, "s3", {"default_block_size": 1000})
    counters = Counters()
    assert fetch([ByteRange(uri, 5, 10, etag)], counters)[0].result(60) == DATA[5:10]
    assert counters.snapshot().requests == 2  # the range, and a stat for the etag


# Processes


def test_requests_cross_processes(uri: str) -> None:
    network, wanted = Network(timeout_s=3, in_flight=2), ByteRange(uri, 1, 2, "e")
    assert pickle.loads(pickle.dumps((network, wanted))) == (network, wanted)
    stat = functools.partial(ranges.stat, network=network)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(stat, (uri,)) == ranges.stat(uri)
        with pytest.raises(ImageError, match="no such object"):
            pool.apply(stat, (uri + "none",))


def run(code: str) -> str:
    """What a Python of its own prints; it must end by itself, and well."""
    start = "import os, sys\nfrom pipelines.storage.ranges import *\n"
    done = subprocess.run(
        [sys.executable, "-c", start + code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_fork_after_reading_is_a_clear_error_and_local_files_still_work(web: Web, tmp_path: Path) -> None:
    uri = web.put("/x", DATA)
    (tmp_path / "x").write_bytes(DATA)
    said = run(f"""
def read(uri):
    return fetch([ByteRange(uri, 0, 10)], Counters())[0]
read({uri!r}).result(20), read({str(tmp_path / "x")!r}).result(20)
if os.fork() == 0:
    error = read({uri!r}).exception(20)
    print(error.status, error, len(read({str(tmp_path / "x")!r}).result(20)))
else:
    os.wait()
""")
    assert said.startswith("unreadable")
    assert "start processes by spawn" in said
    assert said.endswith(" 10\n")


def test_a_fork_before_reading_reads(web: Web) -> None:
    said = run(f"""
pid = os.fork()
read = fetch([ByteRange({web.put("/x", DATA)!r}, 0, 10)], Counters())[0].result(20)
os.write(1, b"%d\\n" % len(read))  # in one piece: both processes write
if pid:
    os.wait()
""")
    assert said == "10\n10\n"


def test_a_process_ends_with_requests_under_way(proxy: Proxy, uri: str) -> None:
    proxy.latency_s = 0.2
    said = run(f"""
futures = fetch([ByteRange({uri!r}, i, i + 10) for i in range(500)], Counters())
futures[0].result(20)
print(sum(future.done() for future in futures) < 500)
""")
    assert said == "True\n"


def test_a_process_ends_with_a_thread_stuck() -> None:
    said = run("""
import time
import fsspec
from fsspec.implementations.memory import MemoryFileSystem
class Stuck(MemoryFileSystem):
    protocol = "stuck"
    def cat_file(self, *span, **more):
        time.sleep(3600)
fsspec.register_implementation("stuck", Stuck)
print(fetch([ByteRange("stuck://x", 0, 1)], Counters(), Network(0.2, attempts=1))[0].exception(20).status)
""")
    assert said == "unreadable\n"
