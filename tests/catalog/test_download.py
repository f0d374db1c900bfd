"""The download, from a server on loopback that serves small archives."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines.catalog.sources.download import MD5, download, file_md5
from pipelines.errors import CatalogError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, dict[str, str], Path]]:
    """An address, the md5 of its archives, and its folder."""
    folder, digests = tmp_path / "server", {}
    for name in MD5:
        with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
            archive.writestr("annotations.txt", f"{name}.jpg:\n")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(buffer.getvalue())
        digests[name] = hashlib.md5(buffer.getvalue()).hexdigest()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", digests, folder
        http.shutdown()


def test_archives_are_fetched_checked_and_unpacked_once(server, tmp_path: Path) -> None:
    url, digests, folder = server
    target = tmp_path / "here"
    download(str(target), url=url, md5=digests)
    assert (target / "Set1" / "annotations.txt").read_text() == "Set1/Set1Part0.zip.jpg:\n"
    assert (target / "Set2" / "annotations.txt").exists()
    for name in digests:
        (folder / name).unlink()
    download(str(target), url=url, md5=digests)  # all is there: the server has nothing any more


def test_another_md5_leaves_nothing(server, tmp_path: Path) -> None:
    url, digests, folder = server
    (folder / "Set1/Set1Part0.zip").write_bytes(b"altered on the way")
    with pytest.raises(CatalogError, match="md5"):
        download(str(tmp_path / "here"), url=url, md5=digests)
    assert [path for path in (tmp_path / "here").rglob("*") if path.is_file()] == []


def test_a_damaged_archive_is_fetched_again(server, tmp_path: Path) -> None:
    url, digests, _ = server
    archive = tmp_path / "here/Set1/Set1Part0.zip"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"half")
    download(str(tmp_path / "here"), url=url, md5=digests)
    assert file_md5(archive) == digests["Set1/Set1Part0.zip"]


def test_no_server_and_no_local_folder(server, tmp_path: Path) -> None:
    url, digests, _ = server
    with pytest.raises(CatalogError, match="cannot be fetched"):
        download(str(tmp_path), url=f"{url}/nowhere", md5=digests)
    with pytest.raises(CatalogError, match="not local"):
        download("s3://bucket/prefix", url=url, md5=digests)
