import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.catalog.schema import Box
from pipelines.catalog.sources.road_scenes import DIFFICULTIES, MARKER, RoadScenes, label_of, touch_probability
from pipelines.catalog.sources.scenes.painter import Plan, plan_scene, render_scene
from pipelines.catalog.sources.scenes.placement import Sign
from pipelines.catalog.sources.scenes.signs import LOOKALIKES, OTHER_SIGNS, SPEED_SIGNS, TYPES, sprite
from pipelines.catalog.sources.speed_limits import CLASSES, SpeedLimits, choose_label, parse_signs
from pipelines.errors import CatalogError
from pipelines.storage.images import make_view

SMALL = RoadScenes(images="", n_train=8, n_test=4, difficulty="easy", seed=3)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> RoadScenes:
    source = replace(SMALL, images=str(tmp_path_factory.mktemp("scenes")))
    source.entries()
    return source


def plans(difficulty: str, n: int) -> Iterator[Plan]:
    for i in range(n):
        yield plan_scene(np.random.default_rng((5, i)), i % 3 + 1, DIFFICULTIES[difficulty])


def own_boxes(signs: Iterable[Sign], name: str) -> list[Box]:
    return [sign.box for sign in signs if sign.name == name]


def hue_share(pixels: np.ndarray, low: float, high: float) -> float:
    """Share of saturated pixels with a hue in [low, high) degrees, red at 0."""
    hsv = np.asarray(Image.fromarray(pixels).convert("HSV")).astype(float)
    hue = (hsv[..., 0] * 360 / 255 + 20) % 360 - 20
    return float(((hue >= low) & (hue < high) & (hsv[..., 1] > 100)).mean())


def test_the_loader_of_the_swedish_signs_reads_every_scene(generated: RoadScenes) -> None:
    entries = generated.entries()
    assert entries == SpeedLimits(images=generated.images).entries()
    assert [e.split for e in entries] == ["train"] * 8 + ["test"] * 4
    assert len({e.image_id for e in entries}) == 12
    for entry in entries:
        with Image.open(entry.uri) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (1280, 960))


def test_labels_and_boxes_are_those_of_what_was_painted(generated: RoadScenes) -> None:
    for entry in generated.entries():
        part, index = ("Set1", "Set2").index(entry.image_id[:4]), int(Path(entry.uri).stem)
        label = label_of(generated.seed, part, index, DIFFICULTIES["easy"].cycle)
        rng = np.random.default_rng((generated.seed, part, index))
        plan = plan_scene(rng, label, DIFFICULTIES["easy"])
        assert entry.label == label
        assert list(entry.boxes) == own_boxes(plan.signs, CLASSES[label])
        assert bool(entry.boxes) == (label > 0)


def test_classes_are_balanced_in_every_cycle() -> None:
    easy = [label_of(0, 0, i, DIFFICULTIES["easy"].cycle) for i in range(40)]
    assert np.bincount(easy).tolist() == [10, 10, 10, 10]
    default = [label_of(0, 0, i, DIFFICULTIES["default"].cycle) for i in range(60)]
    assert np.bincount(default).tolist() == [30, 10, 10, 10]
    assert easy[:8] != [0, 1, 2, 3] * 2
    assert default != [label_of(1, 0, i, DIFFICULTIES["default"].cycle) for i in range(60)]


def test_an_image_depends_on_seed_and_index_alone(generated: RoadScenes, tmp_path: Path) -> None:
    fewer = replace(generated, images=str(tmp_path / "fewer"), n_train=2, n_test=1)
    other = replace(fewer, images=str(tmp_path / "other"), seed=4)
    for source in (fewer, other):
        source.entries()
    for name in ("Set1/00000.jpg", "Set1/00001.jpg", "Set2/00000.jpg"):
        first = (Path(generated.images) / name).read_bytes()
        assert first == (Path(fewer.images) / name).read_bytes()
        assert first != (Path(other.images) / name).read_bytes()


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("label", [1, 2, 3])
def test_there_is_a_red_and_yellow_sign_in_the_box(difficulty: str, label: int) -> None:
    level = replace(DIFFICULTIES[difficulty], light=0.0, flagged=0.0)
    image, signs = render_scene(np.random.default_rng((1, label)), label, level)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=90)
    pixels = np.asarray(Image.open(jpeg))
    boxes = own_boxes(signs, CLASSES[label])
    assert boxes
    for y0, x0, y1, x1 in boxes:
        inside = pixels[y0:y1, x0:x1]
        assert hue_share(inside, -20, 25) > 0.15  # the ring
        assert hue_share(inside, 35, 65) > 0.15  # the disc


def template(name: str) -> np.ndarray:
    flat = sprite(name).convert("RGBA")
    return digits(flat, (0, 0, *flat.size))


def digits(image: Image.Image, box: Sequence[float]) -> np.ndarray:
    """The middle of a sign, grey, 16 x 20, of zero mean and unit variance."""
    grey = np.asarray(image.convert("L").resize((32, 32), box=tuple(box)), float)[8:24, 6:26]
    return (grey - grey.mean()) / grey.std()


def reads(image: Image.Image, box: Box, scale: float) -> str:
    """The speed that fits the pixels in the box best, moved by up to 8 %: a reader who knows where to look."""
    y0, x0, y1, x1 = (scale * v for v in box)
    moves = [(dy * (y1 - y0), dx * (x1 - x0)) for dy in (-0.08, 0, 0.08) for dx in (-0.08, 0, 0.08)]
    seen = [digits(image, (x0 + dx, y0 + dy, x1 + dx, y1 + dy)) for dy, dx in moves]
    fits = {name: max((s * template(name)).mean() for s in seen) for name in SPEED_SIGNS}
    return max(fits, key=fits.__getitem__)


def test_signs_are_readable_in_the_patch_and_not_reliably_in_the_view_by_default() -> None:
    patch, view = [], []
    for i in range(18):
        image, signs = render_scene(np.random.default_rng((7, i)), i % 3 + 1, DIFFICULTIES["default"])
        small = Image.fromarray(make_view(np.asarray(image), RoadScenes.view_size))
        for sign in signs:
            if sign.name == SPEED_SIGNS[i % 3] and sign.visibility == "VISIBLE":
                patch.append(reads(image, sign.box, 1.0) == sign.name)
                view.append(reads(small, sign.box, 0.3) == sign.name)
    assert np.mean(patch) > 0.97
    assert np.mean(view) < 0.9


def test_an_empty_scene_lists_no_sign_but_may_have_lookalikes() -> None:
    lookalikes = 0
    for i in range(20):
        plan = plan_scene(np.random.default_rng(i), 0, DIFFICULTIES["default"])
        assert plan.signs == []
        lookalikes += len(plan.placed)
    assert lookalikes > 10


def test_other_signs_are_other_to_the_loader() -> None:
    assert set(OTHER_SIGNS) == set(TYPES) - set(SPEED_SIGNS)
    assert CLASSES[1:] == SPEED_SIGNS
    assert not set(LOOKALIKES) & set(TYPES)
    seen = set()
    for plan in plans("default", 60):
        listed = parse_signs(";".join(sign.annotation() for sign in plan.signs))
        seen |= {sign.visibility for sign in listed}
        assert len(listed) == sum(TYPES[sign.name] != "MISC_SIGNS" for sign in plan.signs)
        others = [sign for sign in listed if sign.name in OTHER_SIGNS]
        assert choose_label(others) == (None if others else 0)
    assert seen == {"VISIBLE", "BLURRED", "OCCLUDED", "SIDE_ROAD"}


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_signs_have_the_size_and_number_of_the_difficulty_and_never_overlap(difficulty: str) -> None:
    level = DIFFICULTIES[difficulty]
    for i, plan in enumerate(plans(difficulty, 20)):
        own = [s for s in plan.signs if s.name == SPEED_SIGNS[i % 3] and s.visibility == "VISIBLE"]
        assert 1 <= len(own) <= level.n_signs[1]
        for sign in own:
            assert level.sign_px[0] - 2 <= sign.box[2] - sign.box[0] <= 1.1 * level.sign_px[1]
        covered = np.zeros((960, 1280), dtype=int)
        for y0, x0, y1, x1 in (sign.box for sign in plan.placed):
            covered[y0:y1, x0:x1] += 1
            assert 0 <= y0 < y1 <= 960
            assert 0 <= x0 < x1 <= 1280
        assert covered.max() == 1


def test_ten_uniform_draws_touch_a_sign_in_half_of_the_easy_scenes_and_seldom_by_default() -> None:
    touch = {
        name: np.mean(
            [touch_probability(own_boxes(p.signs, SPEED_SIGNS[i % 3])) for i, p in enumerate(plans(name, 40))]
        )
        for name in DIFFICULTIES
    }
    assert 0.4 < touch["easy"] < 0.65
    assert 0.05 < touch["default"] < 0.2


def test_touch_probability_of_one_box_is_the_share_of_its_patches() -> None:
    # every cell of a fine grid within 50 px of the centre: 100 x 100 of 960 x 1280 pixels
    one = touch_probability([(430, 590, 530, 690)], n_draws=1, cells=(960, 1280))
    assert one == pytest.approx(100 * 100 / (960 * 1280))
    assert touch_probability([]) == 0


def test_what_was_generated_before_is_kept(generated: RoadScenes) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(generated.images).rglob("*")}
    generated.entries()
    assert before == {path: path.stat().st_mtime_ns for path in Path(generated.images).rglob("*")}


def test_an_interrupted_generation_is_finished(tmp_path: Path) -> None:
    source = replace(SMALL, images=str(tmp_path), n_train=1, n_test=1)
    source.entries()
    (tmp_path / "Set2/annotations.txt").unlink()
    (tmp_path / "Set2/00000.jpg").write_bytes(b"half")
    assert len(source.entries()) == 2
    with Image.open(tmp_path / "Set2/00000.jpg") as image:
        image.load()


def test_other_settings_or_other_files_are_refused(generated: RoadScenes, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"seed 3, not 4.*delete this one"):
        replace(generated, seed=4).entries()
    marker = Path(generated.images) / MARKER
    assert json.loads(marker.read_text())["difficulty"] == "easy"
    (tmp_path / "photo.jpg").write_bytes(b"someone's")
    with pytest.raises(CatalogError, match="Name an empty folder"):
        replace(SMALL, images=str(tmp_path)).entries()
    with pytest.raises(CatalogError, match="Take one of: default, easy"):
        RoadScenes(images="x", difficulty="hard")
    with pytest.raises(CatalogError, match="negative"):
        RoadScenes(images="x", n_train=-1)
