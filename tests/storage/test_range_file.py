"""An object as a file: the same answers as a file in memory, in few requests."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import ImageError
from pipelines.storage import ranges
from pipelines.storage.ranges import RangeFile
from pipelines.storage.stats import Counters
from tests.s3.proxy import Proxy
from tests.storage.web import DATA, SIZE, Web


@pytest.mark.parametrize("block", [1, 7, 64, 10_000])
def test_a_range_file_is_a_file(tmp_path: Path, block: int) -> None:
    data = DATA[:3000]
    (tmp_path / "x").write_bytes(data)
    moves = st.tuples(st.sampled_from(["seek", "end", "read", "into"]), st.integers(-1, 3500))

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(moves, max_size=30))
    def check(steps: list[tuple[str, int]]) -> None:
        ours = RangeFile(str(tmp_path / "x"), ranges.stat(str(tmp_path / "x")), Counters(), block=block)
        theirs = io.BytesIO(data)
        for step, n in steps:
            if step == "read":
                assert ours.read(n) == theirs.read(n)
            elif step == "into":
                a, b = bytearray(max(0, n)), bytearray(max(0, n))
                assert (ours.readinto(a), a) == (theirs.readinto(b), b)
            else:
                arguments = (max(0, n),) if step == "seek" else (-min(max(0, n), 3000), os.SEEK_END)
                assert ours.seek(*arguments) == theirs.seek(*arguments)
            assert ours.tell() == theirs.tell()

    check()


def test_a_range_file_asks_once_a_read_and_never_twice(proxy: Proxy, uri: str) -> None:
    counters = Counters()
    file = RangeFile(uri, ranges.stat(uri), counters, block=1000)
    assert proxy.log.pop().method == "HEAD"
    assert (file.read(10), file.read(900)) == (DATA[:10], DATA[10:910])
    file.seek(5500)
    assert file.read(3000) == DATA[5500:8500]
    file.seek(0)
    assert file.read() == DATA
    assert file.seek(-4, os.SEEK_END) == SIZE - 4
    assert file.read(100) == DATA[-4:]
    assert [passed.range for passed in proxy.log] == ["bytes=0-999", "bytes=5000-8999", f"bytes=1000-{SIZE - 1}"]
    assert counters.snapshot().requests == 3


def test_a_range_file_keeps_no_more_than_its_bound(web: Web) -> None:
    uri = web.put("/x", DATA)
    file = RangeFile(uri, ranges.stat(uri), Counters(), block=100)
    assert file.read() == DATA
    file.seek(0)
    web.asked.clear()
    assert file.read(100) == DATA[:100]
    file.seek(SIZE - 100 * (ranges.KEPT_BLOCKS - 1))
    assert file.read() == DATA[-100 * (ranges.KEPT_BLOCKS - 1) :]
    assert len(web.asked) == 1


def test_a_range_file_of_an_overwritten_object_is_stale(web: Web) -> None:
    uri = web.put("/x", DATA)
    file = RangeFile(uri, ranges.stat(uri), Counters(), block=1000)
    file.read(10)
    web.put("/x", DATA[::-1])
    file.seek(10_000)
    with pytest.raises(ImageError) as stale:
        file.read(10)
    assert stale.value.status == "stale"


def test_a_range_file_refuses_what_no_file_has(web: Web) -> None:
    uri = web.put("/x", DATA)
    file = RangeFile(uri, ranges.stat(uri), Counters())
    assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
    with pytest.raises(ValueError, match="no position"):
        file.seek(-1)
