"""Painted scenes with German signs: labels are those of what was painted, and every type of GTSDB is there."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.train_speed_limits import Options, source_of
from pipelines.catalog.sources.german_scenes import GermanScenes, scene_of, vocabulary_of
from pipelines.catalog.sources.gtsdb import TASKS, parse_signs
from pipelines.catalog.sources.scenes import land
from pipelines.catalog.sources.scenes.german import GERMAN, kind_of
from pipelines.catalog.sources.scenes.painter import Plan, plan_scene
from pipelines.catalog.sources.scenes.signs import LOOKALIKES, sprite
from pipelines.errors import CatalogError


@pytest.fixture(scope="module", params=TASKS)
def painted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GermanScenes:
    source = GermanScenes(
        images=str(tmp_path_factory.mktemp("scenes")), task=request.param, n_train=8, n_test=4, seed=3
    )
    source.entries()
    return source


def plans(n: int) -> Iterator[Plan]:
    scene, signs = scene_of(40.0, 2), vocabulary_of("prohibitory")
    for i in range(n):
        yield plan_scene(np.random.default_rng((5, i)), i % 2, scene, signs)


def test_labels_and_boxes_are_those_of_the_signs_in_its_gt_txt(painted: GermanScenes) -> None:
    entries = painted.entries()
    assert [e.split for e in entries] == ["train"] * 8 + ["test"] * 4
    assert np.bincount([e.label for e in entries]).tolist() == [12 // len(painted.classes)] * len(painted.classes)
    kinds = list(TASKS[painted.task].values())
    for part in ("train", "test"):
        signs = parse_signs((Path(painted.images) / part / "gt.txt").read_text())
        for entry in (e for e in entries if e.split == part):
            of_frame = signs.get(int(Path(entry.uri).stem), [])
            assert set(entry.boxes) == {box for kind, box in of_frame if kind in kinds[entry.label]}
            assert bool(entry.boxes) == (entry.label > 0)
            assert {label for label, of in enumerate(kinds) for kind, _ in of_frame if kind in of} <= {entry.label}
            with Image.open(entry.uri) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (1280, 960))


def test_a_scene_depends_on_seed_and_index_alone(painted: GermanScenes, tmp_path: Path) -> None:
    fewer = replace(painted, images=str(tmp_path / "fewer"), n_train=2, n_test=1)
    other = replace(fewer, images=str(tmp_path / "other"), seed=4)
    for source in (fewer, other):
        source.entries()
    for name in ("train/00000.jpg", "train/00001.jpg", "test/00000.jpg"):
        first = (Path(painted.images) / name).read_bytes()
        assert first == (Path(fewer.images) / name).read_bytes()
        assert first != (Path(other.images) / name).read_bytes()


def test_scenes_of_other_settings_are_refused(painted: GermanScenes) -> None:
    with pytest.raises(CatalogError, match="n_train 8, not 9"):
        replace(painted, n_train=9).entries()


def test_every_type_is_there_and_decides_as_in_gtsdb() -> None:
    assert [kind_of(name) for name in GERMAN] == list(range(43))
    for task, classes in TASKS.items():
        signs = vocabulary_of(task)
        assert [{kind_of(name) for name in names} for names in signs.deciding] == [
            set(k) for k in classes.values() if k
        ]
        assert sorted(name for names in (*signs.deciding, signs.others) for name in names) == sorted(GERMAN)


@pytest.mark.parametrize("name", GERMAN)
def test_prohibitory_signs_are_red_rings_around_white_and_no_others(name: str) -> None:
    pixels = np.asarray(sprite(name).convert("RGB")).astype(int)
    turns, middle = np.linspace(0, 2 * np.pi, 36, endpoint=False), pixels.shape[0] / 2

    def circle(radius: float) -> np.ndarray:
        y, x = (middle * (1 + radius * turn(turns)) for turn in (np.sin, np.cos))
        return pixels[y.astype(int), x.astype(int)]

    is_red = ((circle(0.85)[:, 0] > 150) & (circle(0.85)[:, 1] < 80)).all()
    is_white = circle(0.7).min() > 200
    assert (is_red and is_white) == (kind_of(name) in TASKS["prohibitory"]["prohibitory"])


def test_other_signs_and_lookalikes_stand_in_scenes_of_both_classes() -> None:
    found = list(plans(60))
    for label in (0, 1):
        names = {sign.name for plan in found[label::2] for sign in plan.placed}
        others = names & set(vocabulary_of("prohibitory").others)
        assert len(others) > 10
        assert names & set(LOOKALIKES)


def test_adverse_scenes_are_the_clear_ones_in_another_light(painted: GermanScenes, tmp_path: Path) -> None:
    adverse = replace(painted, images=str(tmp_path), light="adverse")
    both = list(zip(painted.entries(), adverse.entries(), strict=True))
    assert [clear.label for clear, _ in both] == [dark.label for _, dark in both]
    deviations = [[np.asarray(Image.open(e.uri)).mean() for e in pair] for pair in both]
    clear, dark = np.std(deviations, axis=0)
    assert dark > 1.3 * clear


def test_a_camera_that_misjudges_the_light_still_orders_it() -> None:
    ramp = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))
    taken = [np.asarray(land.misjudge(np.random.default_rng(seed), ramp))[0].astype(int) for seed in range(30)]
    assert all((np.diff(levels, axis=0) >= 0).all() for levels in taken)
    means = [levels.mean() for levels in taken]
    assert min(means) < 80 < 170 < max(means)


def test_the_job_paints_scenes_beside_its_runs_whatever_its_seed(tmp_path: Path) -> None:
    asked = Options(source="german_scenes", task="speed_limit", n_test=5, out=str(tmp_path), seed=7)
    source = source_of(asked)
    assert isinstance(source, GermanScenes)
    assert (source.task, source.n_train, source.n_test, source.seed) == ("speed_limit", 1200, 5, 0)
    assert Path(source.images).parent == tmp_path / "images"
    smoke = source_of(replace(asked, smoke=True))
    assert (smoke.n_train, smoke.n_test) == (16, 16)
