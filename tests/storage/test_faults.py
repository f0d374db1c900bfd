"""What is damaged, late or gone never becomes a patch: it is read again, or an error that says what and where."""

import io
import logging
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from pipelines.catalog.opened import dump_index, open_image
from pipelines.errors import ImageError
from pipelines.storage import objects, ranges
from pipelines.storage.layouts import checksum
from pipelines.storage.patches import ImageRef, Network, PatchReader
from pipelines.storage.stats import Counters
from pipelines.storage.tiff import TiffIndex, read_index
from tests.s3.proxy import Fault, Proxy

QUICK = Network(timeout_s=1)
SIDE, TILE = 600, 64
CENTRES = np.array([[[10, 10], [300, 310], [590, 40], [333, 555]]])
BROKEN = 5  # rows 0 - 63, columns 320 - 383
ON_BROKEN = np.array([[[30, 350], [300, 300]]])


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def tiled(uri: str, seed: int = 0) -> ImageRef:
    """An image of tiles with a checksum each, above the size that is asked for whole."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels(seed), photometric="rgb", tile=(TILE, TILE), compression="jpeg")
    objects.write_bytes(uri, buffer.getvalue())
    return reference(uri, buffer.getvalue())


def reference(uri: str, data: bytes) -> ImageRef:
    stored = ranges.stat(uri)
    index = read_index(io.BytesIO(data), uri)
    (level,) = index.levels
    sums = [ranges_crc(data[o : o + c]) for o, c in zip(level.offsets.tolist(), level.counts.tolist(), strict=True)]
    index = TiffIndex((replace(level, checksums=np.array(sums, np.uint32)),))
    return ImageRef(uri, SIDE, SIDE, 3, stored.etag, stored.size, index.dumps())


def ranges_crc(segment: bytes) -> int:
    return int.from_bytes(checksum(segment)[-4:], "big")


def whole(uri: str) -> ImageRef:
    """A JPEG with a checksum."""
    Image.fromarray(pixels()).save(buffer := io.BytesIO(), "jpeg", quality=50)
    objects.write_bytes(uri, buffer.getvalue())
    stored = ranges.stat(uri)
    return ImageRef(uri, SIDE, SIDE, 3, stored.etag, stored.size, checksum(buffer.getvalue()))


def damage(image: ImageRef) -> ImageRef:
    """One byte in the middle of a tile is another one, and the etag that of the new object."""
    data = bytearray(objects.read_bytes(image.uri))
    (level,) = TiffIndex.loads(image.index).levels
    data[level.offsets[BROKEN] + level.counts[BROKEN] // 2] ^= 1
    objects.write_bytes(image.uri, bytes(data))
    return replace(image, etag=ranges.stat(image.uri).etag)


@pytest.fixture
def proxy(s3: str, s3_account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """All ranges that this process reads come through it; what it writes does not."""
    if s3_account is None:
        pytest.skip("the S3 of the environment is not on loopback: it cannot be reached through the proxy")
    assert not objects.exists(s3), "and so the client that writes is there before the endpoint changes"
    with Proxy(s3_account.environment()["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.mark.s3
class TestThroughFaults:
    @pytest.mark.parametrize("kind", ["503", "reset", "truncate", "stall", "corrupt"])
    @pytest.mark.parametrize("make", [tiled, whole])
    def test_a_fault_that_passes_changes_nothing_but_the_counters(self, s3: str, proxy: Proxy, kind, make) -> None:
        image = make(objects.join(s3, "a b%.tif"))
        expected = PatchReader(32).read([image], CENTRES)
        proxy.clear()
        proxy.faults = [Fault(kind, first=1)]
        reader = PatchReader(32, network=QUICK)
        for one, other in zip(reader.read([image], CENTRES), expected, strict=True):
            assert torch.equal(one, other)
        assert reader.stats.retries == 1
        assert reader.stats.requests == len(proxy.log)

    @pytest.mark.parametrize("kind", ["503", "reset", "truncate", "stall", "corrupt"])
    def test_a_fault_that_stays_is_an_error_in_time(self, s3: str, proxy: Proxy, kind: str) -> None:
        image = tiled(objects.join(s3, "a.tif"))
        proxy.faults = [Fault(kind)]
        began = time.monotonic()
        with pytest.raises(ImageError) as caught:
            PatchReader(32, network=replace(QUICK, attempts=2)).read([image], CENTRES)
        assert time.monotonic() - began < 8
        assert caught.value.thing == image.uri
        assert "bytes" in caught.value.reason

    @pytest.mark.parametrize("kind", ["503", "reset", "truncate", "stall"])
    def test_an_image_is_opened_and_seen_through_faults(self, s3: str, proxy: Proxy, kind: str) -> None:
        uri = tiled(objects.join(s3, "a.tif")).uri
        image = open_image(uri, Counters())
        expected = dump_index(image, Counters(), checksums=True), image.view((60, 60)).tobytes()
        proxy.faults = [Fault(kind, every=3), Fault(kind, first=1, method="HEAD")]
        counters = Counters()
        image = open_image(uri, counters, QUICK)
        found = dump_index(image, counters, QUICK, checksums=True), image.view((60, 60)).tobytes()
        assert found == expected
        assert counters.snapshot().retries > 0

    def test_requests_and_bytes_are_those_that_pass(self, s3: str, proxy: Proxy) -> None:
        images = [tiled(objects.join(s3, f"{i}.tif"), i) for i in range(3)]
        proxy.clear()
        reader = PatchReader(32)
        reader.read(images, np.repeat(CENTRES, 3, axis=0))
        assert reader.stats.requests == len(proxy.log)
        assert reader.stats.bytes_read == sum(passed.sent for passed in proxy.log)
        assert all(passed.range and passed.status == 206 for passed in proxy.log)
        before = reader.stats
        reader.read(images, np.repeat(CENTRES, 3, axis=0))
        assert reader.stats.since(before).requests == 0, "the tiles are kept"

    def test_an_image_overwritten_since_is_stale(self, s3: str, proxy: Proxy) -> None:
        image = tiled(objects.join(s3, "a.tif"))
        tiled(image.uri, seed=1)
        with pytest.raises(ImageError, match="etag") as caught:
            PatchReader(32).read([image], CENTRES)
        assert caught.value.status == "stale"


class TestDamage:
    def test_the_error_names_the_object_the_level_the_tile_and_the_bytes(self, tmp_path: Path) -> None:
        image = damage(tiled(str(tmp_path / "a.tif")))
        (level,) = TiffIndex.loads(image.index).levels
        start = level.offsets[BROKEN]
        reader = PatchReader(32)
        with pytest.raises(
            ImageError, match=f"level 0, tile 5, bytes {start}-{start + level.counts[BROKEN]}"
        ) as caught:
            reader.read([image], ON_BROKEN)
        assert (caught.value.thing, caught.value.status) == (image.uri, "truncated")
        assert reader.stats.retries == 1
        assert reader.read([image], CENTRES)[1].any(), "the other tiles are fine"

    @pytest.mark.parametrize("images_in", ["bucket", "memory", "memory-encoded", "device"])
    def test_mask_leaves_the_tile_out_and_skip_the_image(self, tmp_path: Path, images_in: str) -> None:
        good = tiled(str(tmp_path / "good.tif"))
        expected, inside = PatchReader(64).read([good, good], np.repeat(ON_BROKEN, 2, axis=0))
        assert inside[:, 1].all()
        bad = damage(tiled(str(tmp_path / "bad.tif")))
        hole = torch.zeros(64, 64, dtype=torch.bool)  # rows -2 - 61, columns 318 - 381
        hole[2:, 2:] = True
        for _ in range(2):
            reader = PatchReader(64, images_in=images_in, on_error="mask")
            patches, found = reader.read([good, bad], np.repeat(ON_BROKEN, 2, axis=0))
            assert torch.equal(found[0], inside[0])
            assert torch.equal(found[1, 0], inside[1, 0] & ~hole)
            assert torch.equal(found[1, 1], inside[1, 1])
            assert torch.equal(patches, expected * found[..., None])
            assert reader.stats.bad == 1
        reader = PatchReader(64, images_in=images_in, on_error="skip")
        patches, found = reader.read([good, bad], np.repeat(ON_BROKEN, 2, axis=0))
        assert torch.equal(patches[0], expected[0])
        assert not patches[1].any()
        assert not found[1].any()

    def test_images_without_hope_are_skipped_too(self, tmp_path: Path) -> None:
        good = tiled(str(tmp_path / "good.tif"))
        gone, other_size = replace(good, uri=str(tmp_path / "gone.tif")), replace(good, height=SIDE - 1)
        for on_error in ("skip", "mask"):
            reader = PatchReader(32, on_error=on_error)
            patches, inside = reader.read([gone, good, other_size], np.repeat(CENTRES, 3, axis=0))
            assert inside.flatten(1).any(1).tolist() == [False, True, False]
            assert patches.flatten(1).any(1).tolist() == [False, True, False]
            assert reader.stats.bad == 2

    def test_what_is_left_out_is_said(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        gone = ImageRef(str(tmp_path / "gone.tif"), 9, 9)
        with caplog.at_level(logging.WARNING):
            PatchReader(32, on_error="skip").read([gone], CENTRES)
        assert "gone.tif: bytes 0 - end: there is no such object" in caplog.text

    def test_too_many_bad_images_are_an_error_all_the_same(self, tmp_path: Path) -> None:
        good, gone = tiled(str(tmp_path / "good.tif")), ImageRef(str(tmp_path / "gone.tif"), 9, 9)
        reader = PatchReader(8, on_error="skip", max_bad=0.03)
        for _ in range(3):
            reader.read([gone, good], CENTRES.repeat(2, axis=0))
        with pytest.raises(ImageError, match="4 of 8 images could not be read"):
            reader.read([gone, good], CENTRES.repeat(2, axis=0))
        patient = PatchReader(8, on_error="skip", max_bad=0.03)
        for _ in range(110):
            patient.read([good], CENTRES)
        for _ in range(3):
            patient.read([gone], CENTRES)

    def test_a_damaged_index_is_that_images_failure(self, tmp_path: Path) -> None:
        good = tiled(str(tmp_path / "a.tif"))
        damaged = replace(good, index=good.index[:-9] + bytes(9))
        with pytest.raises(ImageError) as caught:
            PatchReader(32).read([damaged], CENTRES)
        assert caught.value.status == "stale"
        _, inside = PatchReader(32, on_error="skip").read([damaged, good], CENTRES.repeat(2, axis=0))
        assert inside.flatten(1).any(1).tolist() == [False, True]

    def test_an_index_of_another_image_is_stale(self, tmp_path: Path) -> None:
        image = replace(tiled(str(tmp_path / "a.tif")), width=SIDE + 1)
        with pytest.raises(ImageError, match="its index is of 600 x 600") as caught:
            PatchReader(32).read([image], CENTRES)
        assert caught.value.status == "stale"


@contextmanager
def without_rights() -> Iterator[None]:
    """Root may read everything; nobody may not."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_what_cannot_be_had_says_why(tmp_path: Path) -> None:
    secret = tiled(str(tmp_path / "secret.tif"))
    for uri, status in ((f"{tmp_path}/none.jpg", "missing"), (str(tmp_path), "unreadable")):
        with pytest.raises(ImageError) as caught:
            PatchReader(8).read([ImageRef(uri, 9, 9)], CENTRES)
        assert (caught.value.status, caught.value.thing) == (status, uri)
    Path(secret.uri).chmod(0)
    with without_rights(), pytest.raises(ImageError) as caught:
        PatchReader(8).read([secret], CENTRES)
    assert caught.value.status == "denied"


def test_threads_that_share_a_reader_share_its_cache_and_never_its_arrays(tmp_path: Path) -> None:
    image = tiled(str(tmp_path / "a.tif"))
    reader, barrier = PatchReader(32), threading.Barrier(2)
    plain = tifffile.imread(image.uri)

    def read(seed: int) -> None:
        barrier.wait()
        for centres in np.random.default_rng(seed).integers(16, SIDE - 16, (40, 1, 3, 2)):
            patches, _ = reader.read([image], centres)
            for patch, (y, x) in zip(patches[0].numpy(), centres[0].tolist(), strict=True):
                np.testing.assert_array_equal(patch, plain[y - 16 : y + 16, x - 16 : x + 16])

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(read, range(2)))
