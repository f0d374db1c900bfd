"""A bucket of small images as buckets are: a few broken in each way, names as people give them; and a small model."""

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import botocore.session
import numpy as np
import torch
from PIL import Image

from ats_core import bundle
from ats_core.recipes import Recipe
from pipelines.storage import objects
from tests.s3.server import BUCKET

BROKEN_SHARE = 0.03
SIDES = (64, 200)
NAMES = (
    "with space {n}", "quote's {n}", 'double "quote" {n}', "ünïcödé 図 {n}", "100 % {n}", "per%20cent%2F {n}",
    "..{n}", "two..dots {n}", "sub folder/..deep {n}", "plus+and&hash#{n}", "[{n}]", "comma, semi; {n}", "{n}?",
)  # fmt: skip
ODD_EVERY = 8  # images; between them are plain names
UPLOADS = 16

SMALL = Recipe(
    task="small",
    classes=("blue", "red"),
    view_size=(32, 32),
    patch_size=16,
    attention="dense",
    features="lenet",
    n_patches=4,
)


@dataclass(frozen=True, slots=True)
class Broken:
    """A way to be broken, or to look so."""

    suffix: str
    status: str
    """That its row must have."""
    make: Callable[[np.ndarray], bytes | None]
    """Pixels -> the object; None for one that was removed after it was listed."""
    denied: bool = False


def _encoded(pixels: np.ndarray, kind: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def jpeg(pixels: np.ndarray) -> bytes:
    """A whole one."""
    return _encoded(pixels, "JPEG")


def png(pixels: np.ndarray) -> bytes:
    """A whole one."""
    return _encoded(pixels, "PNG")


def bomb(pixels: np.ndarray) -> bytes:
    """A PNG of some hundred bytes whose header promises 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    framed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def sixteen_bit(pixels: np.ndarray) -> bytes:
    """A grey PNG of 16 bit."""
    return _encoded(pixels[..., 0].astype(np.uint16) * 257, "PNG", "I;16")


BROKEN = {
    "truncated": Broken(".jpg", "truncated", lambda pixels: jpeg(pixels)[: len(jpeg(pixels)) // 2]),
    "text": Broken(".jpg", "not_an_image", lambda pixels: b"Dear colleague, please find attached.\n"),
    "empty": Broken(".png", "empty", lambda pixels: b""),
    "bomb": Broken(".png", "too_large", bomb),
    "denied": Broken(".jpg", "denied", jpeg, denied=True),
    "deleted": Broken(".png", "missing", lambda pixels: None),
    "cmyk": Broken(".jpg", "ok", lambda pixels: _encoded(pixels, "JPEG", "CMYK")),
    "sixteen bit": Broken(".png", "ok", sixteen_bit),
}


@dataclass(frozen=True, slots=True)
class Bucket:
    """What lies in the bucket."""

    listing: str
    """URI of a text file, a URI a line."""
    statuses: dict[str, str]
    """That the row of each URI must have."""


def fill(uri: str, n: int, seed: int = 0) -> Bucket:
    """Write n images below a URI of the server's bucket, and a list of them beside; forbid some to be read.

    BROKEN_SHARE of them are broken, and at least one in each way.
    """
    images = list(_images(n, seed))
    with ThreadPoolExecutor(UPLOADS) as pool:
        there = [(objects.join(uri, "images", name), data) for name, _, data in images if data is not None]
        list(pool.map(lambda item: objects.write_bytes(*item), there))
    forbid(objects.join(uri, "images", "denied"))
    statuses = {objects.join(uri, "images", name): status for name, status, _ in images}
    listing = objects.join(uri, "images.txt")
    objects.write_bytes(listing, "\n".join(statuses).encode())
    return Bucket(listing, statuses)


def _images(n: int, seed: int) -> Iterator[tuple[str, str, bytes | None]]:
    """Name, status and bytes of each."""
    rng = np.random.default_rng(seed)
    broken = set(rng.choice(n, max(len(BROKEN), round(n * BROKEN_SHARE)), replace=False).tolist())
    ways = [list(BROKEN)[i % len(BROKEN)] for i in range(len(broken))]
    for number in range(n):
        pixels = pixels_of(rng)
        if number in broken:
            way = ways.pop()
            how = BROKEN[way]
            yield f"{way} {number}{how.suffix}", how.status, how.make(pixels)
        else:
            suffix, make = ((".jpg", jpeg), (".png", png))[number % 2]
            odd = NAMES[number // ODD_EVERY % len(NAMES)] if number % ODD_EVERY == 0 else "{n:05d}"
            yield f"{odd.format(n=number)}{suffix}", "ok", make(pixels)


def pixels_of(rng: np.random.Generator) -> np.ndarray:
    """Noise of some colour, with a brighter square."""
    height, width = rng.integers(*SIDES, 2, endpoint=True)
    pixels = rng.integers(60, 120, (height, width, 3), dtype=np.uint8)
    y, x = (int(rng.integers(0, side - 24)) for side in (height, width))
    pixels[y : y + 24, x : x + 24, rng.integers(3)] = 250
    return pixels


def forbid(prefix: str) -> None:
    """Nobody may read what begins so, from now on."""
    resource = f"arn:aws:s3:::{prefix.removeprefix('s3://')}*"
    rule = {"Sid": "denied", "Effect": "Deny", "Principal": "*", "Action": ["s3:GetObject"], "Resource": [resource]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
    botocore.session.get_session().create_client("s3").put_bucket_policy(Bucket=BUCKET, Policy=policy)


def small_model(folder: Path) -> str:
    """A bundle of SMALL with random weights, always the same; its path."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bundle.save(SMALL.build().eval(), SMALL, folder)
    return str(folder)
