"""The same behaviour on local files, in memory and on S3."""

import itertools
import time
from pathlib import Path

import fsspec
import pyarrow.fs as pafs
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipelines.storage import objects
from pipelines.storage.objects import ObjectStat

NAMES = ["a b.txt", "100%.txt", "a%20b.txt", "ünï/é.txt", "deep/er/x.txt", "x#y.txt"]


@pytest.fixture(params=["local", "file", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that does not exist yet, in each kind of storage."""
    if request.param == "s3":
        return objects.join(request.getfixturevalue("s3"), "base")
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
    return {"local": f"{tmp_path}/base", "file": f"file://{tmp_path}/base", "memory": "memory://base"}[request.param]


@pytest.fixture
def filled(base: str) -> str:
    for name in NAMES:
        objects.write_bytes(objects.join(base, name), name.encode())
    return base


def test_what_is_written_is_read(filled: str) -> None:
    for name in NAMES:
        uri = objects.join(filled, name)
        assert objects.read_bytes(uri) == name.encode()
        assert objects.stat(uri).size == len(name.encode())


def test_a_write_replaces(filled: str) -> None:
    uri = objects.join(filled, NAMES[0])
    objects.write_bytes(uri, b"other")
    assert objects.read_bytes(uri) == b"other"


def test_listing_is_sorted_full_and_readable(filled: str) -> None:
    for where in (filled, filled + "/"):
        uris = objects.list_uris(where)
        assert uris == sorted(uris)
        folder = objects.root(where)
        assert {objects.relative(uri, folder) for uri in uris} == set(NAMES)
        assert {objects.read_bytes(uri).decode() for uri in uris} == set(NAMES)


def test_globs(filled: str) -> None:
    def names(pattern: str) -> set[str]:
        where = objects.join(filled, pattern)
        return {objects.relative(uri, objects.root(where)) for uri in objects.list_uris(where)}

    assert names("*.txt") == {name for name in NAMES if "/" not in name}
    assert names("a*.txt") == {"a b.txt", "a%20b.txt"}
    assert names("**/*.txt") >= {"ünï/é.txt", "deep/er/x.txt"}
    assert names("deep/*/x.*") == {"er/x.txt"}


def test_a_listing_says_of_each_what_asking_for_it_says(filled: str) -> None:
    stats = objects.list_stats(filled)
    assert list(stats) == objects.list_uris(filled)
    assert {uri: found.size for uri, found in stats.items()} == {uri: objects.stat(uri).size for uri in stats}
    for uri, found in stats.items():
        assert found.etag in ("", objects.stat(uri).etag)


def test_a_folder_with_magic_in_its_name_is_a_folder(base: str) -> None:
    objects.write_bytes(objects.join(base, "[q]", "z.txt"), b"1")
    where = objects.join(base, "[q]")
    (uri,) = objects.list_uris(where)
    assert objects.relative(uri, objects.root(where)) == "z.txt"


def test_what_is_not_there(filled: str) -> None:
    with pytest.raises(FileNotFoundError):
        objects.read_bytes(objects.join(filled, "none.txt"))
    with pytest.raises(FileNotFoundError):
        objects.stat(objects.join(filled, "none.txt"))
    for where in ("nowhere", "none*"):
        with pytest.raises(FileNotFoundError):
            objects.list_uris(objects.join(filled, where))
    assert not objects.exists(objects.join(filled, "none.txt"))
    assert objects.exists(objects.join(filled, NAMES[0]))


def test_what_others_write_is_seen_at_once(filled: str) -> None:
    """A listings cache would hide it."""
    assert len(objects.list_uris(filled)) == len(NAMES)
    objects.write_bytes(objects.join(filled, "new.txt"), b"1")
    assert objects.exists(objects.join(filled, "new.txt"))
    assert len(objects.list_uris(filled)) == len(NAMES) + 1


def test_delete(filled: str) -> None:
    objects.delete([objects.join(filled, name) for name in NAMES[1:]])
    assert [objects.relative(uri, objects.root(filled)) for uri in objects.list_uris(filled)] == NAMES[:1]
    objects.delete([])


def test_the_etag_changes_with_the_content(base: str) -> None:
    uri = objects.join(base, "x")
    objects.write_bytes(uri, b"one")
    first = objects.stat(uri).etag
    assert first == objects.stat(uri).etag
    time.sleep(0.02)  # the clock of file times ticks slower than that of processes
    objects.write_bytes(uri, b"two")
    assert first
    assert '"' not in first
    assert objects.stat(uri).etag != first


def test_reading_leaves_the_etag_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filesystems of SFTP and SMB say when a file was last read, beside when it was written."""
    written = {"size": 3, "mtime": "12:00"}
    reads = itertools.count()

    class Files(MemoryFileSystem):
        protocol = "timed"

        def info(self, path: str, **more: object) -> dict[str, object]:
            return {"name": path, "type": "file", "time": next(reads), **written}

    fsspec.register_implementation("timed", Files, clobber=True)
    first = objects.stat("timed://x")
    assert objects.stat("timed://x") == first
    for name, value in (("mtime", "12:01"), ("size", 4), ("ETag", '"a"'), ("ETag", '"b"')):
        monkeypatch.setitem(written, name, value)
        assert objects.stat("timed://x").etag != first.etag
        first = objects.stat("timed://x")
    monkeypatch.setitem(written, "mtime", "12:02")
    assert objects.stat("timed://x") == ObjectStat(4, "b")


def test_arrow_sees_the_same_files(filled: str) -> None:
    filesystem, path = objects.arrow_filesystem(filled)
    found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    files = {info.path.removeprefix(path).lstrip("/") for info in found if info.type == pafs.FileType.File}
    assert files == set(NAMES)


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    objects.write_bytes("sub/x.txt", b"1")
    assert objects.list_uris("sub/../sub") == [f"{tmp_path}/sub/x.txt"]
    assert objects.absolute("sub") == f"{tmp_path}/sub"
    for uri in ("memory://a/b", "https://host/a b.png", "s3://bucket/a://b"):
        assert objects.absolute(uri) == uri


def test_a_file_can_be_listed_itself(tmp_path: Path) -> None:
    objects.write_bytes(uri := f"{tmp_path}/x.txt", b"1")
    assert objects.list_uris(uri) == [uri]
    assert objects.relative(uri, objects.root(uri)) == "x.txt"


def test_join_puts_one_slash_between() -> None:
    assert objects.join("s3://b/", "c", "d.txt") == "s3://b/c/d.txt"


def test_an_unknown_protocol_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nosuch"):
        objects.read_bytes("nosuch://a/b")


def test_a_filesystem_is_that_of_the_environment_at_hand(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another account is another client: the one that is kept would go on as the first."""
    objects.write_bytes(f"{s3}/x", b"x")
    with monkeypatch.context() as other:
        other.setenv("AWS_SECRET_ACCESS_KEY", "of-somebody-else")
        with pytest.raises(PermissionError):
            objects.read_bytes(f"{s3}/x")
    assert objects.read_bytes(f"{s3}/x") == b"x"
