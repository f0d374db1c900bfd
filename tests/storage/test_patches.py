"""One suite that every way of keeping images passes, for every format: the patches are those of a plain decode.

Whole images, strips and tiles are made here; `test_real_data.py` has slides and maps that others made.
"""

import gc
import io
import multiprocessing
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ats_core.errors import GeometryError, RecipeError
from pipelines.errors import ImageError
from pipelines.storage import images as images_
from pipelines.storage import objects, ranges
from pipelines.storage.patches import ImageRef, PatchReader
from pipelines.storage.tiff import is_tiff, read_index
from pipelines.storage.tiles import WHOLE_BYTES, Target

KEPT = ("bucket", "memory", "memory-encoded", "device")
FORMATS = {
    "jpg": {"quality": 90},
    "png": {},
    "webp": {"lossless": True},
    "bmp": {},
    "tiff": {"compression": "tiff_lzw"},
}
SIZES = {"jpg": (61, 83), "png": (40, 40), "webp": (7, 130), "bmp": (97, 12), "tiff": (1, 1)}
TILED = {  # options of tifffile, and the size
    "strips": ({"rowsperstrip": 7, "compression": "packbits"}, (50, 33)),
    "tiles": ({"tile": (16, 32)}, (61, 83)),
    "jpeg": ({"tile": (32, 32), "compression": "jpeg", "compressionargs": {"level": 90}}, (97, 130)),
    "zstd": ({"tile": (48, 16), "compression": "zstd", "predictor": 2}, (70, 61)),
    "planar": ({"tile": (16, 16), "planarconfig": "separate", "compression": "deflate"}, (33, 40)),
    "large": ({"tile": (64, 64)}, (400, 500)),  # above the size that is asked for whole
}
NAMES = (*FORMATS, *TILED)


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(1, 256, (height, width, 3))
    return noise.astype(np.uint8)


def encoded(pixels: np.ndarray, suffix: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, {"jpg": "jpeg"}.get(suffix, suffix), **FORMATS[suffix])
    return buffer.getvalue()


@lru_cache
def plain(uri: str) -> np.ndarray:
    if uri.endswith(".tif"):
        return tifffile.imread(uri) if "planar" not in uri else np.moveaxis(tifffile.imread(uri), 0, -1)
    with Image.open(uri) as image:
        return np.asarray(image.convert("RGB"))


def reference(uri: str) -> ImageRef:
    """As a catalog has it."""
    data, stored = objects.read_bytes(uri), ranges.stat(uri)
    index = read_index(io.BytesIO(data), uri) if is_tiff(data) else None
    if index is None:
        height, width = images_.decode(data, uri).shape[:2]
        return ImageRef(uri, height, width, 3, stored.etag, stored.size)
    level = index.levels[0]
    return ImageRef(uri, level.height, level.width, 3, stored.etag, stored.size, index.dumps())


def cropped(pixels: np.ndarray, centre: tuple[int, int], patch: int) -> tuple[np.ndarray, np.ndarray]:
    """A patch pixel by pixel: slow, and independent of the reader."""
    height, width = pixels.shape[:2]
    out, inside = np.zeros((patch, patch, 3), np.uint8), np.zeros((patch, patch), bool)
    for row in range(patch):
        for column in range(patch):
            y, x = centre[0] - patch // 2 + row, centre[1] - patch // 2 + column
            if 0 <= y < height and 0 <= x < width:
                out[row, column], inside[row, column] = pixels[y, x], True
    return out, inside


@pytest.fixture(scope="module")
def refs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageRef]:
    """One image a format, each of its own size."""
    folder = tmp_path_factory.mktemp("images")
    made = {}
    for suffix, (height, width) in SIZES.items():
        uri = str(folder / f"a 100% ü.{suffix}")
        objects.write_bytes(uri, encoded(scene(height, width), suffix))
        made[suffix] = reference(uri)
    for name, (options, (height, width)) in TILED.items():
        pixels = scene(height, width)
        if name == "planar":
            pixels = np.moveaxis(pixels, -1, 0)
        uri = str(folder / f"{name}.tif")
        tifffile.imwrite(uri, pixels, photometric="rgb", **options)
        made[name] = reference(uri)
    assert made["large"].n_bytes > WHOLE_BYTES
    return made


@pytest.fixture(scope="module")
def readers() -> Callable[[str, int], PatchReader]:
    """Readers that live for the whole suite, as they do in a process: caches and threads are used again."""
    made: dict[tuple[str, int], PatchReader] = {}

    def get(images_in: str, patch_size: int) -> PatchReader:
        return made.setdefault((images_in, patch_size), PatchReader(patch_size, images_in=images_in))

    return get


def check(reader: PatchReader, images: list[ImageRef], centres: np.ndarray) -> None:
    patches, inside = reader.read(images, centres)
    size = reader.patch_size
    assert patches.shape == (len(images), centres.shape[1], size, size, 3)
    assert inside.shape == patches.shape[:-1]
    assert (patches.dtype, inside.dtype) == (torch.uint8, torch.bool)
    for b, image in enumerate(images):
        pixels = plain(image.uri)
        for n, centre in enumerate(centres[b].tolist()):
            expected, expected_inside = cropped(pixels, centre, size)
            np.testing.assert_array_equal(patches[b, n].numpy(), expected)
            np.testing.assert_array_equal(inside[b, n].numpy(), expected_inside)


@pytest.mark.parametrize("images_in", KEPT)
class TestReader:
    @pytest.mark.parametrize("suffix", NAMES)
    @pytest.mark.parametrize("patch_size", [1, 8, 33])
    def test_corners_middle_and_far_outside(self, readers, refs, images_in: str, suffix: str, patch_size: int) -> None:
        image = refs[suffix]
        h, w = image.height, image.width
        centres = [(0, 0), (h - 1, w - 1), (h, w), (h // 2, w // 2), (-4, 2), (-500, 9_000), (-5, -5)]
        check(readers(images_in, patch_size), [image], np.array([centres]))

    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_random_batches(self, readers, refs, images_in: str, data: st.DataObject) -> None:
        names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5), "formats, repeated or not")
        patch_size = data.draw(st.sampled_from([1, 2, 5, 6, 17]), "patch size")
        n = data.draw(st.integers(1, 4), "patches")
        pair = st.tuples(st.integers(-30, 140), st.integers(-30, 140))
        centres = data.draw(st.lists(pair, min_size=len(names) * n, max_size=len(names) * n), "centres")
        check(readers(images_in, patch_size), [refs[name] for name in names], np.reshape(centres, (len(names), n, 2)))

    def test_centres_may_be_of_any_integers_and_anywhere(self, readers, refs, images_in: str) -> None:
        centres = torch.tensor([[[3, 4], [20, 20]]])
        expected = readers(images_in, 8).read([refs["png"]], centres)[0]
        for same in (centres.int(), centres.numpy(), centres.numpy().astype(np.int16)[:, ::1]):
            assert torch.equal(readers(images_in, 8).read([refs["png"]], same)[0], expected)

    def test_no_patch_and_no_image(self, readers, refs, images_in: str) -> None:
        assert readers(images_in, 8).read([refs["png"]], np.zeros((1, 0, 2), int))[0].shape == (1, 0, 8, 8, 3)
        assert readers(images_in, 8).read([], np.zeros((0, 3, 2), int))[1].shape == (0, 3, 8, 8)

    def test_submit_is_read(self, readers, refs, images_in: str) -> None:
        reader, images = readers(images_in, 9), list(refs.values())
        batches = [np.full((len(images), 3, 2), 5 * i) for i in range(6)]
        futures = [reader.submit(images, centres) for centres in batches]
        for centres, future in zip(batches, futures, strict=True):
            assert torch.equal(future.result(30)[0], reader.read(images, centres)[0])

    def test_pickling_keeps_the_options_alone(self, refs, images_in: str) -> None:
        reader = PatchReader(8, images_in=images_in, memory_limit_mb=7, threads=2)
        centres = np.full((1, 2, 2), 11)
        expected = reader.read([refs["jpg"]], centres)[0]
        data = pickle.dumps(reader)
        assert len(data) < 1_000
        copy = pickle.loads(data)
        assert (copy.patch_size, copy.options) == (8, reader.options)
        assert copy.stats.requests == 0
        assert torch.equal(copy.read([refs["jpg"]], centres)[0], expected)

    def test_two_threads(self, readers, refs, images_in: str) -> None:
        reader, images = readers(images_in, 8), list(refs.values())
        batches = [np.random.default_rng(i).integers(-5, 60, (len(images), 4, 2)) for i in range(8)]
        expected = [reader.read(images, centres) for centres in batches]
        with ThreadPoolExecutor(2) as threads:
            found = list(threads.map(lambda centres: reader.read(images, centres), batches))
        for (patches, inside), (expected_patches, expected_inside) in zip(found, expected, strict=True):
            assert torch.equal(patches, expected_patches)
            assert torch.equal(inside, expected_inside)

    def test_counters(self, refs, images_in: str) -> None:
        reader = PatchReader(8, images_in=images_in)
        image, other = refs["jpg"], refs["png"]
        reader.read([image, other, image], np.zeros((3, 2, 2), int))
        stats = reader.stats
        assert stats.tiles == 2, "an image that is in the batch twice is decoded once"
        assert (stats.requests, stats.retries) == (2, 0)
        assert stats.bytes_read == stats.bytes_needed == image.n_bytes + other.n_bytes
        assert stats.wait_s > 0
        assert stats.decode_s > 0
        reader.read([image], np.zeros((1, 1, 2), int))
        again = reader.stats.since(stats)
        assert (again.requests, again.tiles) == (0, 0 if images_in in ("memory", "device") else 1)

    @pytest.mark.parametrize("wrong", [{"height": 62}, {"width": 82}, {"channels": 1}, {"etag": "another"}])
    def test_a_stale_reference_is_an_error(self, refs, images_in: str, wrong: dict[str, int]) -> None:
        stale = replace(refs["jpg"], **wrong)
        for _ in range(2):  # the second time it must not come out of a cache
            with pytest.raises(ImageError, match=r"catalog|etag") as caught:
                PatchReader(8, images_in=images_in).read([refs["png"], stale], np.zeros((2, 1, 2), int))
            assert caught.value.status == "stale"

    def test_an_overwritten_image_is_an_error(self, images_in: str, tmp_path: Path) -> None:
        uri = str(tmp_path / "a.png")
        objects.write_bytes(uri, encoded(scene(20, 20, 0), "png"))
        image = ImageRef(uri, 20, 20, etag=objects.stat(uri).etag)
        time.sleep(0.02)  # the clock of file times ticks slower than that of processes
        objects.write_bytes(uri, encoded(scene(20, 20, 1), "png"))
        with pytest.raises(ImageError, match="etag"):
            PatchReader(8, images_in=images_in).read([image], np.zeros((1, 1, 2), int))

    def test_errors_name_the_first_image_of_the_batch(self, refs, images_in: str, tmp_path: Path) -> None:
        broken, gone = str(tmp_path / "broken.jpg"), str(tmp_path / "gone.jpg")
        objects.write_bytes(broken, Path(refs["jpg"].uri).read_bytes()[:-200])
        images = [refs["png"], ImageRef(broken, 61, 83), ImageRef(gone, 61, 83)]
        reader = PatchReader(8, images_in=images_in)
        for _ in range(3):
            with pytest.raises(ImageError) as caught:
                reader.submit(images, np.zeros((3, 1, 2), int)).result(30)
            assert (caught.value.thing, caught.value.status) == (broken, "truncated")
        assert reader.stats.retries == 3, "a body may be cut on its way: each read tries once more, and no more"

    @pytest.mark.parametrize("centres", [np.zeros((1, 2, 2)), np.zeros((2, 2, 2), int), np.zeros((1, 2), int)])
    def test_centres_that_do_not_fit(self, readers, refs, images_in: str, centres: np.ndarray) -> None:
        with pytest.raises(GeometryError, match="centres"):
            readers(images_in, 8).read([refs["png"]], centres)


def test_memory_keeps_the_recently_used_within_its_bound(tmp_path: Path) -> None:
    images = []
    for i in range(3):
        objects.write_bytes(uri := str(tmp_path / f"{i}.png"), encoded(scene(100, 100, i), "png"))
        images.append(ImageRef(uri, 100, 100))
    reader = PatchReader(8, images_in="memory", memory_limit_mb=0.07)  # two images of 30 kB
    centres = np.zeros((1, 1, 2), int)
    decoded = []
    for i in (0, 1, 0, 2, 0, 1):
        before = reader.stats
        reader.read([images[i]], centres)
        decoded.append(reader.stats.since(before).tiles)
    assert decoded == [1, 1, 0, 1, 0, 1]


def test_an_image_above_the_bound_is_read_and_not_kept(refs: dict[str, ImageRef]) -> None:
    reader = PatchReader(8, images_in="memory", memory_limit_mb=0.001)
    for _ in range(2):
        check(reader, [refs["jpg"]], np.zeros((1, 1, 2), int))
    assert reader.stats.tiles == 2


@pytest.mark.parametrize("images_in", ["memory", "memory-encoded", "device"])
def test_what_does_not_fit_is_read_by_its_tiles_and_said_once(refs, images_in: str, caplog) -> None:
    image, centres = refs["large"], np.full((1, 1, 2), 100)
    reader = PatchReader(8, images_in=images_in, memory_limit_mb=0.5)  # decoded and encoded it takes .6 MB
    for _ in range(3):
        check(reader, [image], centres)
    assert reader.stats.bytes_needed <= 3 * 64 * 64 * 3
    caplog.clear()
    check(reader, [image], centres + 99)
    fits = PatchReader(8, images_in=images_in, memory_limit_mb=1)
    check(fits, [image], centres)
    assert not caplog.text


def test_no_reading_outlives_its_patches(refs: dict[str, ImageRef]) -> None:
    """Nothing waits for the cyclic collector, which does not know how large bytes are."""
    reader, images = PatchReader(8, cache_mb=0), [refs["large"], refs["jpg"], refs["planar"]]
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            reader.read(images, np.full((3, 4, 2), 20))
        time.sleep(0.1)  # the threads let go of the last one
        assert not [thing for thing in gc.get_objects() if type(thing) is Target]
    finally:
        gc.enable()


def test_a_future_cannot_be_cancelled_and_always_ends(refs: dict[str, ImageRef]) -> None:
    reader = PatchReader(8)
    future = reader.submit([refs["large"]], np.full((1, 1, 2), 20))
    assert not future.cancel()
    assert future.result(10)[1].all()
    reader._connected().pool.shutdown()  # as an ending interpreter does
    with pytest.raises(RuntimeError, match="shutdown"):
        reader.submit([refs["large"]], np.full((1, 1, 2), 300)).result(10)


def test_images_of_a_call_are_read_at_the_same_time(refs: dict[str, ImageRef]) -> None:
    """The server hands out no image before both are asked for: one after the other, neither would come."""
    both_asked = threading.Barrier(2, timeout=30)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            both_asked.wait()
            body = Path(refs["png"].uri).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        images = [ImageRef(f"http://127.0.0.1:{server.server_port}/{name}.png", 40, 40) for name in "ab"]
        patches, _ = PatchReader(4, threads=2).read(images, np.full((2, 1, 2), 10))
        server.shutdown()
    assert torch.equal(patches[0], patches[1])


def test_options_that_do_not_exist() -> None:
    with pytest.raises(RecipeError, match="disk"):
        PatchReader(8, images_in="disk")
    with pytest.raises(GeometryError, match="patch_size"):
        PatchReader(0)


def test_a_reader_works_after_a_fork(refs: dict[str, ImageRef]) -> None:
    """In a process of its own: this one has threads that a fork would leave behind."""
    code = f"""
import os, numpy as np
from pipelines.storage.patches import ImageRef, PatchReader
reader = PatchReader(8)
image = ImageRef({refs["png"].uri!r}, 40, 40)
expected = reader.read([image], np.zeros((1, 1, 2), int))[0]
if (child := os.fork()) == 0:
    os._exit(not (reader.read([image], np.zeros((1, 1, 2), int))[0] == expected).all())
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_reader_is_sent_to_a_spawned_process(refs: dict[str, ImageRef]) -> None:
    reader, images, centres = PatchReader(8, on_error="skip"), [refs["jpg"], refs["zstd"]], np.full((2, 3, 2), 30)
    expected = reader.read(images, centres)[0]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        found = processes.submit(reader.read, images, centres).result(60)[0]
    assert torch.equal(found, expected)


@pytest.mark.s3
def test_reading_from_s3(s3: str, refs: dict[str, ImageRef]) -> None:
    uri = objects.join(s3, "a b", "100% ü.jpg")
    objects.write_bytes(uri, Path(refs["jpg"].uri).read_bytes())
    image = replace(refs["jpg"], uri=uri, etag=objects.stat(uri).etag)
    reader, centres = PatchReader(16), np.array([[[0, 0], [30, 40]]])
    patches, inside = reader.read([image], centres)
    expected, expected_inside = reader.read([refs["jpg"]], centres)
    assert torch.equal(patches, expected)
    assert torch.equal(inside, expected_inside)
    objects.write_bytes(uri, encoded(scene(61, 83, 5), "jpg"))
    assert torch.equal(reader.read([image], centres)[0], expected), "of the image referred to, since it is kept"
    with pytest.raises(ImageError, match="etag") as caught:
        PatchReader(16).read([image], centres)
    assert caught.value.status == "stale"
