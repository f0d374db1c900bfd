"""URI -> bytes, for everything fsspec speaks, configured by the URI and environment variables alone.

A URI is a local path, or `protocol://...` as fsspec reads it: nothing is percent-decoded, so that `100 %.jpg` is a name
like any other. Local results are absolute paths without a protocol. Errors of a storage come out as they are
(FileNotFoundError, PermissionError, botocore's where it does not answer): the callers know whether an image, a catalog
or a label file is missing.
"""

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import pyarrow.fs as pafs
from fsspec.core import has_magic, split_protocol

from pipelines.errors import StorageError
from pipelines.storage.stores import Environment, environment

LOCAL = ("file", "local")
_ETAGS = ("ETag", "etag")  # as the filesystems call it
_CHANGED = ("mtime", "modified", "LastModified", "last_modified")  # the same


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """What the storage says of an object."""

    size: int
    """Bytes."""
    etag: str
    """Changes when the object is overwritten, and only then: the server's ETag, else time of change and size."""


def _protocol(uri: str) -> str:
    return split_protocol(uri)[0] or "file"


@lru_cache
def _filesystem_of(protocol: str, process: int, variables: Environment) -> fsspec.AbstractFileSystem:
    # One per process: a client that crosses a fork raises or hangs. One per environment: it keeps that of its making.
    # No listings cache: it would hide what others write.
    try:
        return fsspec.filesystem(protocol, use_listings_cache=False, skip_instance_cache=True)
    except (ImportError, ValueError) as error:
        reason = f"nothing here speaks it ({error})"
        raise StorageError(f"{protocol}://", reason, "Check the URI, or install what it names.") from error


def _open(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    local = _protocol(uri) in LOCAL
    filesystem = _filesystem_of(_protocol(uri), os.getpid(), frozenset() if local else environment())
    path = filesystem._strip_protocol(uri)
    return filesystem, os.path.normpath(path) if local else path


def _is_glob(filesystem: fsspec.AbstractFileSystem, path: str) -> bool:
    return has_magic(path) and not filesystem.isdir(path)


def _full(uri: str, path: str) -> str:
    """The URI of a filesystem's path, in the protocol of another URI."""
    protocol = _protocol(uri)
    if protocol in LOCAL or path.startswith(f"{protocol}://"):  # the path of a web address is all of it
        return path
    return f"{protocol}://{path.removeprefix('/')}"


def read_bytes(uri: str, start: int | None = None, end: int | None = None) -> bytes:
    """The whole object, or its bytes start ... end - 1 as far as it has them; OSError when it cannot be had."""
    filesystem, path = _open(uri)
    return filesystem.cat_file(path, start=start, end=end)


def write_bytes(uri: str, data: bytes) -> None:
    """Writes the whole object, with the folders that a local path needs; replaces what was there, all at once."""
    filesystem, path = _open(uri)
    filesystem.makedirs(filesystem._parent(path), exist_ok=True)
    if _protocol(uri) not in LOCAL:
        filesystem.pipe_file(path, data)
        return
    partial = Path(path).with_name(f".{uuid.uuid4().hex}.partial")  # a name that fits, whatever the path is
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def upload(path: str | Path, uri: str) -> None:
    """Writes a local file to another place; an object store shows it only when it is complete."""
    filesystem, target = _open(uri)
    filesystem.makedirs(filesystem._parent(target), exist_ok=True)
    filesystem.put_file(str(path), target)


def is_local(uri: str) -> bool:
    """Whether it is a file of this machine."""
    return _protocol(uri) in LOCAL


def delete(uris: Sequence[str]) -> None:
    """Removes objects, all of one filesystem."""
    if uris:
        filesystem, _ = _open(uris[0])
        filesystem.rm([_open(uri)[1] for uri in uris])


def exists(uri: str) -> bool:
    """Whether there is an object or a folder."""
    filesystem, path = _open(uri)
    return filesystem.exists(path)


def stat(uri: str) -> ObjectStat:
    """Size and etag, in one request; OSError when it cannot be had."""
    filesystem, path = _open(uri)
    if _protocol(uri) in LOCAL:
        status = Path(path).stat()
        return ObjectStat(status.st_size, f"{status.st_mtime_ns}-{status.st_size}")
    info = filesystem.info(path)
    return ObjectStat(int(info["size"]), _etag(info) or str(filesystem.ukey(path)))


def _etag(info: Mapping[str, Any]) -> str:
    """Of what a filesystem says of an object; "" where it says neither. The rest (times of access, say) may change."""
    tag = next((info[name] for name in _ETAGS if info.get(name)), "")
    changed = next((f"{info[name]}-{info['size']}" for name in _CHANGED if info.get(name)), "")
    return str(tag).strip('"') or changed


def list_uris(where: str) -> list[str]:
    """All objects below a folder or prefix, or that match a glob, sorted; FileNotFoundError when there are none.

    A folder whose name holds `*`, `?` or `[` is a folder.
    """
    return sorted(_full(where, path) for path in _listed(where))


def list_stats(where: str) -> dict[str, ObjectStat]:
    """The same, with what the listing says of each; etag "" and size 0 where it does not. No request an object."""
    listed = {_full(where, path): info for path, info in _listed(where).items()}
    of = _local_stat if is_local(where) else lambda uri: _remote_stat(listed[uri])
    return {uri: of(uri) for uri in sorted(listed)}


def _remote_stat(info: Mapping[str, Any]) -> ObjectStat:
    return ObjectStat(int(info.get("size") or 0), _etag(info))


def _listed(where: str) -> dict[str, Mapping[str, Any]]:
    filesystem, path = _open(where)
    if _is_glob(filesystem, path):
        found = {name: info for name, info in filesystem.glob(path, detail=True).items() if info["type"] == "file"}
    else:
        # Locally a folder without permission would be left out without a word.
        found = filesystem.find(path, detail=True, **({"on_error": "raise"} if is_local(where) else {}))
    if not found:
        raise FileNotFoundError(where)
    return found


def _local_stat(path: str) -> ObjectStat:
    """As `stat` has it; nothing of a link to nothing."""
    return stat(path) if Path(path).exists() else ObjectStat(0, "")


def root(where: str) -> str:
    """The folder or prefix that `list_uris(where)` looks below: a glob up to its first magic part."""
    filesystem, path = _open(where)
    if _is_glob(filesystem, path):
        parts = path.split("/")
        path = "/".join(parts[: next(i for i, part in enumerate(parts) if has_magic(part))])
    return _full(where, path)


def relative(uri: str, folder: str) -> str:
    """The name of a listed object below the `root` of where it was listed; its file name where it is that root."""
    return uri.removeprefix(folder).lstrip("/") or uri.rsplit("/", 1)[-1]


def join(base: str, *names: str) -> str:
    """`base/name/...`, with one slash between."""
    return "/".join([base.rstrip("/"), *names])


def arrow_filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """What Arrow and Ray Data read and write through: their own clients for local files and S3, fsspec for the rest."""
    filesystem, path = _open(uri)
    if _protocol(uri) in LOCAL:
        return pafs.LocalFileSystem(), path
    if _protocol(uri) == "s3":
        return pafs.FileSystem.from_uri(f"s3://{quote(path)}")
    return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path


def absolute(uri: str) -> str:
    """The same object for whoever reads it: a local path from the root on, any other URI as it is."""
    return _full(uri, _open(uri)[1])
