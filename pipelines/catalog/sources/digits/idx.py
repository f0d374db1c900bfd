"""MNIST's four IDX files (LeCun & Cortes), raw or gzipped, known by the md5 of what they hold."""

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipelines.catalog.sources.digits.pictures import SIDE, SPLITS, Pictures
from pipelines.catalog.sources.download import fetch, local_folder
from pipelines.errors import CatalogError
from pipelines.storage import objects

URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
"""Of the raw bytes: archives of the same file differ from mirror to mirror."""

_PREFIXES = dict(zip(SPLITS, ("train", "t10k"), strict=True))
_IMAGES_HEADER, _LABELS_HEADER = 16, 8  # bytes
_DAMAGED = (OSError, EOFError, zlib.error)  # what gzip raises


def mnist(folder: str, *, md5: Mapping[str, str] = MD5) -> Mapping[str, Pictures]:
    """MNIST's digits by split, from a folder or URI prefix; CatalogError when a file is missing or not the original."""
    raw = {name: _checked(folder, name, digest) for name, digest in md5.items()}
    return {split: _pictures(raw, prefix) for split, prefix in _PREFIXES.items()}


def download_mnist(folder: str, *, url: str = URL, md5: Mapping[str, str] = MD5) -> None:
    """Fetches the four files (12 MB) into a local folder; those that are there, whole, are kept.

    Raises:
        CatalogError: the folder is not local, a file cannot be had, or its md5 is another.
    """
    target = local_folder(folder)
    for name, digest in md5.items():
        fetch(f"{url}/{name}.gz", target / f"{name}.gz", digest, md5_of=raw_md5)


def raw_md5(path: Path) -> str:
    """The md5, in hexadecimal, of what a gzipped file holds; of a damaged one, of its own bytes."""
    return hashlib.md5(_raw(path.read_bytes())).hexdigest()


def _pictures(raw: Mapping[str, bytes], prefix: str) -> Pictures:
    pixels = np.frombuffer(raw[f"{prefix}-images-idx3-ubyte"], np.uint8, offset=_IMAGES_HEADER)
    labels = np.frombuffer(raw[f"{prefix}-labels-idx1-ubyte"], np.uint8, offset=_LABELS_HEADER)
    return Pictures(pixels.reshape(-1, SIDE, SIDE), labels)


def _checked(folder: str, name: str, md5: str) -> bytes:
    """The raw bytes of a file; with them known to the bit, its header needs no reading."""
    uri = _find(folder, name)
    raw = _raw(objects.read_bytes(uri))
    if (found := hashlib.md5(raw).hexdigest()) != md5:
        raise CatalogError(uri, f"its raw md5 is {found}, not {md5}", "It is damaged or not MNIST's: fetch it again.")
    return raw


def _find(folder: str, name: str) -> str:
    for candidate in (name, f"{name}.gz"):
        if objects.exists(uri := objects.join(folder, candidate)):
            return uri
    remedy = "Name the folder of MNIST's four IDX files, raw or gzipped, or leave --mnist out."
    raise CatalogError(folder, f"there is no {name}, nor {name}.gz", remedy)


def _raw(data: bytes) -> bytes:
    """Unpacked if it is an archive; if that is damaged, as it is: the md5 tells."""
    try:
        return gzip.decompress(data)
    except _DAMAGED:
        return data
