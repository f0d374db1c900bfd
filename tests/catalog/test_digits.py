"""Digits and noise: their files, the draws behind an image, the image, and its labels by counting."""

import gzip
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from pipelines.catalog.sources.digits.collage import Collage
from pipelines.catalog.sources.digits.idx import MD5, download_mnist, mnist
from pipelines.catalog.sources.digits.layout import MIN_SIDE, Layout
from pipelines.catalog.sources.digits.noise import draw_patterns
from pipelines.catalog.sources.digits.pictures import Pictures, small_digits
from pipelines.catalog.sources.digits.rules import deciding, labels_of
from pipelines.errors import CatalogError

TEN = np.arange(10, dtype=np.uint8).repeat(3)  # labels of thirty pictures
SEEDS, SIDES = st.integers(0, 2**32 - 1), st.integers(MIN_SIDE, 400)


def pictures(seed: int = 0) -> Pictures:
    pixels = np.random.RandomState(seed).randint(0, 256, (len(TEN), 28, 28), np.uint8)
    return Pictures(pixels, TEN)


def idx_files() -> dict[str, bytes]:
    """The four files as they are laid out, of as many digits as `pictures` has."""
    files = {}
    for part, seed in (("train", 0), ("t10k", 1)):
        n, pixels = len(TEN).to_bytes(4), pictures(seed).pixels
        files[f"{part}-images-idx3-ubyte"] = b"\0\0\x08\x03" + n + bytes([0, 0, 0, 28] * 2) + pixels.tobytes()
        files[f"{part}-labels-idx1-ubyte"] = b"\0\0\x08\x01" + n + TEN.tobytes()
    return files


FILES = idx_files()
AUTHORS_TRAIN, AUTHORS_TEST = "46a841a019c44dbd713c63f8172493b0", "396868f49fcd71ccfb767fb05af4d6e1"
SEED_7 = "89cdb3563ac52a3abf2a5cfe28213fec"
OWN_MD5 = {name: hashlib.md5(data).hexdigest() for name, data in FILES.items()}


def write(folder: Path, **other: bytes) -> str:
    """The files, half of them gzipped; some with other bytes."""
    for n, (name, data) in enumerate((FILES | other).items()):
        (folder / (name + ".gz" * (n % 2))).write_bytes(gzip.compress(data) if n % 2 else data)
    return str(folder)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address that serves the gzipped files, and its folder."""
    folder = tmp_path / "server"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", folder
        http.shutdown()


def test_raw_and_gzipped_files_are_read(tmp_path: Path) -> None:
    found = mnist(write(tmp_path), md5=OWN_MD5)
    for split, seed in (("train", 0), ("test", 1)):
        np.testing.assert_array_equal(found[split].pixels, pictures(seed).pixels)
        np.testing.assert_array_equal(found[split].labels, TEN)


def test_what_is_not_the_original_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    with pytest.raises(CatalogError, match=f"train-images-idx3-ubyte.*not {MD5['train-images-idx3-ubyte']}"):
        mnist(folder)
    packed = tmp_path / "t10k-labels-idx1-ubyte.gz"
    for damaged in (packed.read_bytes()[:-9], b"\x1f\x8bno archive", b""):
        packed.write_bytes(damaged)
        with pytest.raises(CatalogError, match=r"t10k-labels-idx1-ubyte\.gz.*fetch it again"):
            mnist(folder, md5=OWN_MD5)
    packed.unlink()
    with pytest.raises(CatalogError, match=r"there is no t10k-labels.*leave --mnist out"):
        mnist(folder, md5=OWN_MD5)


def test_the_files_are_fetched_checked_and_kept(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    target = str(tmp_path / "here")
    download_mnist(target, url=url, md5=OWN_MD5)
    assert len(mnist(target, md5=OWN_MD5)["test"].labels) == len(TEN)
    for path in folder.iterdir():
        path.unlink()
    download_mnist(target, url=url, md5=OWN_MD5)  # all is there: the server has nothing any more


def test_a_download_that_fails_leaves_no_file_that_passes_for_one(server: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = server
    target = tmp_path / "here"
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"altered on the way")
    with pytest.raises(CatalogError, match="md5"):
        download_mnist(str(target), url=url, md5=OWN_MD5)
    with pytest.raises(CatalogError, match="cannot be fetched"):
        download_mnist(str(target), url=f"{url}/nowhere", md5=OWN_MD5)
    with pytest.raises(CatalogError, match="not local"):
        download_mnist("s3://bucket/prefix", url=url, md5=OWN_MD5)
    assert not list(target.glob("*.gz"))


def test_mnist_itself_and_its_draws_are_those_of_the_authors(shared_data: Path) -> None:
    found = mnist(str(shared_data / "mnist"))
    assert {split: digits.pixels.shape for split, digits in found.items()} == {
        "train": (60_000, 28, 28),
        "test": (10_000, 28, 28),
    }
    assert np.bincount(found["test"].labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # what github.com/idiap/attention-sampling, scripts/make_mnist.py, draws for 300 images of 1500 x 1500
    for split, seed, digest in (("train", 1, AUTHORS_TRAIN), ("test", 0, AUTHORS_TEST)):
        layout = Layout.draw(seed, found[split].labels, 300, 1500, 50)
        drawn = (layout.numbers_N5, layout.positions_N52, layout.noise_positions_NM2, layout.noise_numbers_NM)
        assert hashlib.md5(b"".join(part.tobytes() for part in drawn)).hexdigest() == digest


def test_the_digits_of_scikit_learn_are_scaled_and_dealt_out_once() -> None:
    small, labels = load_digits(return_X_y=True)
    found = small_digits()
    pixels = np.concatenate([found[split].pixels for split in ("train", "test")])
    assert (pixels.shape, pixels.dtype, pixels.min(), pixels.max()) == ((1797, 28, 28), np.uint8, 0, 255)
    np.testing.assert_array_equal(np.concatenate([found["train"].labels, found["test"].labels]), labels)
    assert len(found["test"].labels) == 359
    assert set(found["test"].labels) == set(range(10))
    reduced = [np.asarray(Image.fromarray(p).resize((8, 8), Image.Resampling.BOX)).ravel() for p in pixels[::50]]
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(reduced, small[::50], strict=True)) > 0.95


def test_noise_is_two_strokes_from_a_corner_with_a_brightness_of_every_pixel() -> None:
    patterns = draw_patterns(np.random.RandomState(3), 4000)
    lit = patterns > 0
    assert (patterns.dtype, patterns.shape) == (np.uint8, (4000, 28, 28))
    assert (patterns[lit].min(), patterns[lit].max()) == (204, 254)  # of 255 the share in [.8, 1), cut
    assert patterns[lit].mean() == pytest.approx(255 * 0.9 - 0.5, abs=0.1)
    assert lit[:, 0, 0].all()
    assert (lit.any(axis=1).all(axis=1) | lit.any(axis=2).all(axis=1)).all()  # it crosses the square
    assert lit.sum(axis=(1, 2)).max() <= 2 * 56
    # the second stroke begins in another corner where it is mirrored, each way with .33; flat ones end there too
    assert lit[:, 0, 27].mean() == pytest.approx(0.33 * 0.67, abs=0.03)
    assert lit[:, 27, 0].mean() == pytest.approx(0.33 * 0.67 + 0.02, abs=0.03)


def test_both_strokes_of_a_pattern_have_the_slope_of_some_pattern() -> None:
    lit = draw_patterns(np.random.RandomState(0), 1)[0] > 0  # alone: its own line, and that one mirrored or not
    angle = np.random.RandomState(0).random_sample() * np.pi / 2.5
    x = np.linspace(0, 27.49 / max(1, np.tan(angle)), 56)
    own = np.zeros((28, 28), bool)
    own[np.round(x).astype(int), np.round(np.tan(angle) * x).astype(int)] = True
    mirrored = [own | other for other in (own, own[::-1], own[:, ::-1], own[::-1, ::-1])]
    assert any((lit == expected).all() for expected in mirrored)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, side=SIDES, n=st.integers(0, 4), n_noise=st.integers(0, 60))
def test_digits_never_overlap_and_all_lies_inside(seed: int, side: int, n: int, n_noise: int) -> None:
    layout = Layout.draw(seed, TEN, n, side, n_noise)
    assert layout.numbers_N5.shape == (n, 5)
    assert layout.noise_positions_NM2.shape == (n, n_noise, 2)
    for corners in layout.positions_N52:
        assert corners.min() >= 0
        assert corners.max() <= side - 28
        covered = np.zeros((side, side), int)
        for y, x in corners:
            covered[y : y + 28, x : x + 28] += 1
        assert (covered.max(), covered.sum()) == (1, 5 * 28 * 28)
    for array, below in ((layout.noise_positions_NM2, side - 28), (layout.noise_numbers_NM, n_noise)):
        assert (array < below).all()
    assert (layout.noise_positions_NM2 >= 28).all()
    assert (layout.noise_numbers_NM >= 0).all()


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, n=st.integers(1, 30))
def test_three_of_one_class_and_two_of_others_whatever_the_noise(seed: int, n: int) -> None:
    layout, without = Layout.draw(seed, TEN, n, 200, 50), Layout.draw(seed, TEN, n, 200, 0)
    for digits in TEN[layout.numbers_N5].tolist():
        assert len(set(digits[:3])) == 1
        assert digits[0] not in digits[3:]
    np.testing.assert_array_equal(layout.numbers_N5, without.numbers_N5)
    np.testing.assert_array_equal(layout.positions_N52, without.positions_N52)


def test_digits_are_drawn_evenly() -> None:
    layout = Layout.draw(0, TEN, 4000, 1500, 1)
    assert np.bincount(TEN[layout.numbers_N5[:, 0]], minlength=10) == pytest.approx(np.full(10, 400), abs=80)
    assert np.bincount(layout.numbers_N5.ravel()) == pytest.approx(np.full(30, 20_000 / 30), abs=150)
    assert layout.positions_N52.mean(axis=(0, 1)) == pytest.approx([736, 736], abs=12)
    assert np.ptp(layout.positions_N52) == 1472
    assert layout.noise_positions_NM2.mean() == pytest.approx((28 + 1471) / 2, abs=20)


def test_a_seed_means_the_same_images_for_ever() -> None:
    digests = [digest_of(Collage.draw(pictures(), 3, seed, side=200, n_noise=20)) for seed in (7, 7, 8)]
    assert digests[0] == digests[1] == SEED_7  # where it changes, raise VERSION of the source
    assert digests[2] != digests[0]


def digest_of(collage: Collage) -> str:
    return hashlib.md5(b"".join(collage.image(i).tobytes() for i in range(len(collage)))).hexdigest()


def fits(pixels: np.ndarray, corner: np.ndarray, square: np.ndarray) -> bool:
    y, x = corner
    return bool((pixels[y : y + 28, x : x + 28] == square).all())


@pytest.mark.parametrize("digits_on_top", [False, True])
def test_what_is_written_last_is_seen_whole(digits_on_top: bool) -> None:
    collage = Collage.draw(pictures(), 6, 1, side=150, n_noise=40, digits_on_top=digits_on_top)
    layout = collage.layout
    seen = []
    for i in range(len(collage)):
        pixels, dark = collage.image(i), np.ones((150, 150), bool)
        for y, x in (*layout.positions_N52[i], *layout.noise_positions_NM2[i]):
            dark[y : y + 28, x : x + 28] = False
        assert (pixels.dtype, pixels.shape) == (np.uint8, (150, 150))
        assert not pixels[dark].any()
        squares = collage.pictures.pixels[layout.numbers_N5[i]]
        seen += [fits(pixels, at, square) for at, square in zip(layout.positions_N52[i], squares, strict=True)]
        last = layout.patterns_M[layout.noise_numbers_NM[i, -1]]
        assert digits_on_top or fits(pixels, layout.noise_positions_NM2[i, -1], last)
    assert all(seen) == digits_on_top


def test_an_image_is_rendered_alone() -> None:
    collage = Collage.draw(pictures(), 4, 1, side=150, n_noise=5)
    forth = [collage.image(i) for i in range(4)]
    back = [collage.image(i) for i in reversed(range(4))]
    np.testing.assert_array_equal(forth, back[::-1])
    assert not np.array_equal(forth[0], forth[1])


FIVE = st.tuples(
    st.lists(st.integers(0, 9), min_size=5, max_size=5), st.lists(st.integers(0, 3), min_size=5, max_size=5)
)


@given(drawn=FIVE)
def test_labels_are_those_that_one_counts(drawn: tuple[list[int], list[int]]) -> None:
    digits, y = drawn
    digits_N5, y_N5 = np.array([digits], np.uint8), np.array([y])
    assert labels_of("max", digits_N5, y_N5).tolist() == [max(digits)]
    assert labels_of("multi", digits_N5, y_N5).tolist() == [[digit in digits for digit in range(10)]]
    first = y.index(min(y))
    assert labels_of("top", digits_N5, y_N5).tolist() == [digits[first]]
    assert deciding("top", digits_N5, y_N5).tolist() == [[n == first for n in range(5)]]
    assert deciding("max", digits_N5, y_N5).tolist() == [[digit == max(digits) for digit in digits]]
    assert deciding("multi", digits_N5, y_N5).all()
    [(most, times), *_] = Counter(digits).most_common()
    if times == 3:
        assert labels_of("majority", digits_N5, y_N5).tolist() == [most]
        assert deciding("majority", digits_N5, y_N5).tolist() == [[digit == most for digit in digits]]


def test_boxes_are_those_of_the_deciding_digits() -> None:
    collage = Collage.draw(pictures(), 20, 2, side=300, n_noise=0)
    own = zip(collage.labels(), collage.boxes(), collage.boxes("top"), collage.boxes("multi"), strict=True)
    for i, (label, three, top, five) in enumerate(own):
        lit = collage.image(i)
        numbers = collage.layout.numbers_N5[i]
        assert (len(three), len(top), len(five)) == (3, 1, 5)
        assert set(three) < set(five)
        assert top[0][0] == min(y for y, *_ in five)
        for y0, x0, y1, x1 in three:
            square = lit[y0:y1, x0:x1]
            assert any((square == collage.pictures.pixels[n]).all() for n in numbers if TEN[n] == label)
