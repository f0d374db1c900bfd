"""Fetches the Swedish traffic signs from their public page (1.5 GB or so), checked by md5."""

import hashlib
import sys
import time
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import CatalogError

URL = "http://www.isy.liu.se/cvl/research/trafficSigns/swedishSignsSummer"
MD5 = {
    "Set1/Set1Part0.zip": "9106a905a86209c95dc9b51d12f520d6",
    "Set2/Set2Part0.zip": "09debbc67f6cd89c1e2a2688ad1d03ca",
}

_CHUNK = 2**20
_REPORT_S = 5.0


def download(directory: str, *, url: str = URL, md5: Mapping[str, str] = MD5) -> None:
    """Fetches, checks and unpacks Set1 and Set2 into a local directory; an archive that is there, whole, is kept.

    Raises:
        CatalogError: the directory is not local, an archive cannot be had, or its md5 is another.
    """
    if "://" in directory:
        raise CatalogError(directory, "it is not local", "Download to a local folder and copy that.")
    for name, digest in md5.items():
        archive = Path(directory, name)
        archive.parent.mkdir(parents=True, exist_ok=True)
        if not archive.exists() or file_md5(archive) != digest:
            _fetch(f"{url}/{name}", archive, digest)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(archive.parent)


def _fetch(url: str, archive: Path, digest: str) -> None:
    """Through a file beside, so that `archive` is whole or not there."""
    part = archive.with_suffix(".part")
    try:
        with urllib.request.urlopen(url, timeout=60) as response, part.open("wb") as file:
            _copy(response, file, archive.name, int(response.headers.get("Content-Length", 0)))
    except OSError as error:
        raise CatalogError(url, f"cannot be fetched ({error})", "Fetch and unpack it by hand.") from error
    if (found := file_md5(part)) != digest:
        part.unlink()
        raise CatalogError(url, f"its md5 is {found}, not {digest}", "Try again: the download was cut or altered.")
    part.rename(archive)


def _copy(response: BinaryIO, file: BinaryIO, name: str, total: int) -> None:
    """Copies, and says how far it is every few seconds."""
    last = time.monotonic()
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        if time.monotonic() - last > _REPORT_S:
            last = time.monotonic()
            print(f"{name}: {file.tell() / 1e6:.0f} of {total / 1e6:.0f} MB", file=sys.stderr, flush=True)


def file_md5(path: Path) -> str:
    """The md5 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
