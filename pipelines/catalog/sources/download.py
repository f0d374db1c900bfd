"""Fetches data sets from their public pages, checked by md5: here the Swedish traffic signs (1.5 GB or so)."""

import hashlib
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
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
    folder = local_folder(directory)
    for name, digest in md5.items():
        archive = folder / name
        fetch(f"{url}/{name}", archive, digest)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(archive.parent)


def local_folder(directory: str) -> Path:
    """The folder to download into; CatalogError when it is not of this machine."""
    if "://" in directory:
        raise CatalogError(directory, "it is not local", "Download to a local folder and copy that.")
    return Path(directory)


def file_md5(path: Path) -> str:
    """The md5 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def fetch(url: str, path: Path, md5: str, *, md5_of: Callable[[Path], str] = file_md5) -> None:
    """One file into a local path, through a file beside: it is whole or not there. What is there, whole, is kept.

    Args:
        url: of the file.
        path: where to.
        md5: in hexadecimal.
        md5_of: finds it: of the file, unless what counts is what an archive holds.

    Raises:
        CatalogError: the file cannot be had, or its md5 is another.
    """
    if path.exists() and md5_of(path) == md5:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        with urllib.request.urlopen(url, timeout=60) as response, part.open("wb") as file:
            _copy(response, file, path.name, int(response.headers.get("Content-Length", 0)))
    except OSError as error:
        raise CatalogError(url, f"cannot be fetched ({error})", "Fetch and unpack it by hand.") from error
    if (found := md5_of(part)) != md5:
        part.unlink()
        raise CatalogError(url, f"its md5 is {found}, not {md5}", "Try again: the download was cut or altered.")
    part.rename(path)


def _copy(response: BinaryIO, file: BinaryIO, name: str, total: int) -> None:
    """Copies, and says how far it is every few seconds."""
    last = time.monotonic()
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        if time.monotonic() - last > _REPORT_S:
            last = time.monotonic()
            print(f"{name}: {file.tell() / 1e6:.0f} of {total / 1e6:.0f} MB", file=sys.stderr, flush=True)
