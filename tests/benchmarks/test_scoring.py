"""The benchmarks of scoring: what they count and compare, without a Ray or an S3."""

import io
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ats_core import bundle
from ats_core.models import AttentionSampling
from benchmarks.scoring import claims, plain, savings, small_images, whole_images
from benchmarks.scoring.__main__ import compared
from benchmarks.scoring.cells import Cell, Startup
from benchmarks.scoring.data import MANY, Images, Nets, bands
from benchmarks.scoring.jobs import scoring, started
from benchmarks.scoring.plain import PROCESSES
from benchmarks.scoring.prefixes import Prefixes, looks
from benchmarks.scoring.processes import Watch
from benchmarks.scoring.rows import differences
from benchmarks.scoring.ways import Cost
from benchmarks.scoring.whole_grid import WholeGrid
from pipelines.errors import ImageError
from pipelines.storage.images import decode
from pipelines.storage.layouts import ImageRef
from pipelines.storage.patches import PatchReader
from pipelines.storage.pyramid import write_pyramid

SPIN = "import time; end = time.process_time() + {}\nwhile time.process_time() < end: pass\n{}"


def row(image_id: str, **more: Any) -> dict[str, Any]:
    patch = {"y": 10, "x": 20, "attention": 0.5, "weight": 0.25}
    nothing = {"etag": "e", "height": 64, "width": 64, "label": "", "model": "m@1", "standard_error": math.nan}
    of_one = {"status": "ok", "prediction": "red", "probabilities": [0.25, 0.75], "n_patches": 1, "patches": [patch]}
    return {"image_id": image_id, "uri": f"s3://b/{image_id}", **nothing, **of_one} | more


def test_rows_that_are_missing_twice_foreign_or_other_are_found() -> None:
    expected = [row("a"), row("b"), row("c", standard_error=math.inf)]
    assert differences(expected, expected[::-1]) == []
    assert differences(expected, [row("a"), row("b"), row("b")]) == ["'c' is missing", "'b' is there 2 times"]
    assert differences(expected[:1], [row("a"), row("z")]) == ["'z' should not be there"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"status": "missing"}, "status"),
        ({"etag": "f"}, "etag"),
        ({"probabilities": [0.2501, 0.7499]}, "numbers"),
        ({"standard_error": 0.0}, "numbers"),
        ({"patches": [{"y": 10, "x": 21, "attention": 0.5, "weight": 0.25}]}, "patches"),
        ({"patches": [{"y": 10, "x": 20, "attention": 0.5, "weight": 0.26}]}, "numbers"),
    ],
)
def test_a_row_that_is_other_is_told_by_what(change: dict[str, Any], named: str) -> None:
    (line,) = differences([row("a")], [row("a", **change)])
    assert line.startswith(f"'a': other {named}: ")


def test_numbers_may_differ_by_rounding_and_requests_by_anything() -> None:
    assert differences([row("a", requests=1)], [row("a", requests=9, probabilities=[0.250004, 0.749996])]) == []


def test_a_bucket_has_every_way_to_be_broken_and_names_as_people_give_them() -> None:
    images = list(small_images._images(400, seed=0))
    names = [name for name, _, _ in images]
    assert len(set(names)) == 400
    for sign in (" ", "'", '"', "ü", "%", "..", "#", "[", "?", "/"):
        assert any(sign in name for name in names), sign
    ways = [name.rsplit(" ", 1)[0] for name in names if name.rsplit(" ", 1)[0] in small_images.BROKEN]
    assert len(ways) == round(400 * small_images.BROKEN_SHARE)
    assert set(ways) == set(small_images.BROKEN)


@pytest.mark.parametrize("way", list(small_images.BROKEN))
def test_what_is_broken_reads_as_it_should(way: str) -> None:
    pixels, how = small_images.pixels_of(np.random.default_rng(0)), small_images.BROKEN[way]
    data = how.make(pixels)
    if how.status in ("missing", "denied"):  # of the storage
        assert (data is None) == (how.status == "missing")
        return
    assert data is not None
    if how.status == "ok":
        assert decode(data, way).shape == pixels.shape
        return
    with pytest.raises(ImageError) as error:
        decode(data, way)
    assert error.value.status == how.status


def test_a_16_bit_image_and_one_in_cmyk_are_what_they_are_called() -> None:
    pixels = small_images.pixels_of(np.random.default_rng(0))
    modes = {}
    for way in ("cmyk", "sixteen bit"):
        with Image.open(io.BytesIO(small_images.BROKEN[way].make(pixels) or b"")) as image:
            modes[way] = image.mode
    assert modes == {"cmyk": "CMYK", "sixteen bit": "I;16"}


def prefixes(**more: Any) -> Prefixes:
    """Two images, one draw: the first is sure and right at once, the second is wrong until 20 patches."""
    sizes = np.array([5, 10, 20, 30])
    defaults: dict[str, Any] = {
        "first": 10,
        "sizes_S": sizes,
        "labels_I": np.array([0, 1]),
        "predictions_IRS": np.array([[[0, 0, 0, 0]], [[0, 0, 1, 1]]]),
        "stated_IRS": np.array([[[0.9, 0.5, 0.4, 0.3]], [[3.0, 2.0, 0.4, 0.3]]]),
        "best_IRS2": np.stack([np.array([[[9.0] * 4], [[1.0] * 4]]), np.zeros((2, 1, 4))], axis=-1),
        "margin_IRS": np.zeros((2, 1, 4)),
        "margin_stated_IRS": np.ones((2, 1, 4)),
    }
    return Prefixes(**defaults | more)


def test_patches_are_drawn_on_in_steps_of_half_as_many() -> None:
    assert looks(10, 200) == [10, 20, 30, 45, 67, 100, 150, 200]
    assert looks(10, 4) == [4]


def test_errors_of_fixed_numbers_and_of_a_bound_are_those_of_the_prefixes() -> None:
    found = prefixes()
    assert [(r["patches"], r["error"], r["changed"]) for r in savings.fixed(found)] == [
        (5, 0.5, 0.5),
        (10, 0.5, 0.5),
        (20, 0.0, 0.0),
        (30, 0.0, 0.0),
    ]
    by_bound = {r["bound"]: (r["patches"], r["error"]) for r in savings.until(found)}
    assert by_bound[1.0] == (15.0, 0.0)  # 10 are enough for one, 20 for the other
    assert by_bound[10.0] == (10.0, 0.5)
    assert by_bound[0.1] == (20.0, 0.0)  # the first one's margin is 9: an error of .5 is not a tenth of what is left
    absolute = {r["bound"]: r["patches"] for r in savings.until(found, "absolute")}
    assert (absolute[0.01], absolute[10.0]) == (30.0, 10.0)


def test_what_is_saved_is_at_equal_error() -> None:
    found = prefixes()
    equal = savings.saved(savings.fixed(found), savings.until(found))
    assert equal["mean"] == 15.0
    assert 10 < equal["fixed"] <= 20
    assert equal["saved"] == 1 - 15.0 / equal["fixed"]
    never = savings.saved(savings.fixed(found), [{"patches": 10, "bound": 1.0, "error": 1.0}])
    assert never["mean"] == 30
    assert never["bound"] is None


def test_calibration_compares_the_stated_error_with_the_spread_of_draws() -> None:
    rng = np.random.default_rng(0)
    margin = rng.normal(0, 2.0, (50, 40, 4))
    margin[..., 3] = 0.0
    empty = {name: np.zeros((50, 40, 4)) for name in ("predictions_IRS", "stated_IRS")}
    stated = np.full((50, 40, 4), 2.0)
    sizes = np.array([5, 10, 20, 200])
    found = prefixes(sizes_S=sizes, labels_I=np.zeros(50), margin_IRS=margin, margin_stated_IRS=stated, **empty)
    first = savings.calibration(found)[0]
    assert first["stated / actual"] == pytest.approx(1, abs=0.05)
    assert first["within 2"] == pytest.approx(0.954, abs=0.02)
    assert savings.calibration(found)[-1]["stated / actual"] is None


def test_start_up_is_what_few_images_cost_beyond_their_own() -> None:
    def cell(images: int, wall_s: float, cpu_s: float) -> Cell:
        return Cell(None, None, 0.0, None, 1, costs=[Cost(images, wall_s, cpu_s, images, 2.0 * images, 1.0)])

    few, many = cell(4, 10.4, 20.8), cell(104, 20.4, 40.8)  # 10 s and 20 s, then .1 s and .2 s an image
    many.startup = Startup(few, many)
    assert many.startup.seconds() == pytest.approx((10.0, 20.0))
    each = many.each()
    assert (each.wall_s, each.cpu_s, each.requests, each.read_mb) == pytest.approx((0.1, 0.2, 1.0, 2.0))


def test_goals_are_told_beside_what_was_measured() -> None:
    result = {
        "scoring_8192_over_whole_image_cpu": 10.0,
        "scoring_8192_bytes_fraction": 0.05,
        "scoring_memory_growth": 1.0,
    }
    assert [line["reached"] for line in claims.beside_goals(result)] == ["no", "yes", "yes"]


def test_the_networks_are_told_from_what_is_spent_around_them() -> None:
    of_ways = {claims.OURS: 0.375, claims.CATALOG: 0.25, claims.WHOLE: 2.125}
    rows = [{"side": 8192, "way": way, "latency ms": 20, "CPU s/image": cpu_s} for way, cpu_s in of_ways.items()]
    assert list(claims.without_networks(rows, 8192, network_cpu_s=0.125, one_by_one_cpu_s=0.125).values()) == [8.0]
    (found,) = claims.where_time_goes(rows, network_cpu_s=0.125, reading_cpu_s=0.0625)
    parts = {"networks": 0.125, "opening": 0.125, "reading patches": 0.0625, "rest": 0.0625}
    assert found == {"side": 8192, **parts, "all": 0.375}


def test_other_nets_have_a_ratio_of_their_own() -> None:
    of_ways = {claims.OURS: 1.0, claims.WHOLE: 2.0, "ours, x": 0.5, "ours, catalog, x": 0.25, "whole image, x": 2.0}
    rows = [{"side": 8192, "way": way, "latency ms": 20, "CPU s/image": cpu_s} for way, cpu_s in of_ways.items()]
    assert list(claims.of_light_nets(rows, 8192, ", x").values()) == [4.0, 8.0]


class Counted:
    """Says how many images it was given at a time."""

    def __call__(self, images: list[str]) -> dict[str, list[float]]:
        return {image: [float(len(images))] for image in images}


def test_plain_processes_share_images_and_do_not_count_their_first() -> None:
    images = [str(i) for i in range(4 * PROCESSES)]
    spent = plain.score(Counted, images)
    assert spent.probabilities == {image: [3.0] for image in images[PROCESSES:]}
    assert spent.worker_mb > 50


def test_a_plain_process_that_dies_is_told() -> None:
    with pytest.raises(RuntimeError, match="a process has ended with 3"):
        plain.score(partial(os._exit, 3), ["a"])


def test_a_whole_grid_reads_its_rows_and_no_other_image_s(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.tif", "b.tif")]
    for path in paths:
        write_pyramid(iter([np.zeros((600, 600, 3), np.uint8)]), (600, 600), path)
    grid = WholeGrid(600, rows=2)
    assert grid([ImageRef(str(paths[0]), 600, 600)]) == {}
    first = grid.reader.stats.tiles
    assert first
    grid([ImageRef(str(paths[1]), 600, 600)])
    assert grid.reader.stats.tiles == 2 * first


def test_what_says_other_things_of_the_same_pixels_is_refused() -> None:
    nets, images = Nets("", "m", (8, 8)), Images(8, 1.0, {MANY: 1})

    def cell(name: str, probability: float, of: Nets = nets) -> Cell:
        way = SimpleNamespace(name=name, nets=of)
        return Cell(way, images, 0.0, None, 1, said={"a": [probability], name: [0.0]} if probability else {})

    good = [cell("ours", 0.5), cell("whole", 0.5001), cell("grid", 0.0), cell("light", 0.9, Nets("x", "l", (8, 8)))]
    assert compared(good)["probabilities_differ_by"] == pytest.approx(1e-4)
    with pytest.raises(RuntimeError, match="others"):
        compared([*good, cell("other", 0.6)])


def test_cpu_of_a_session_counts_children_and_what_has_ended() -> None:
    child, own = SPIN.format(0.5, ""), SPIN.format(0.5, "time.sleep(1)")
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])\n{own}"
    process = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True)
    with Watch({process.pid}, process.pid) as watch:
        assert process.wait(60) == 0
    assert 0.8 < watch.cpu_s < 3
    assert 5 < watch.driver_mb < 500


def test_nothing_is_left_of_a_job(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    parent = f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {stubborn!r}]); time.sleep(60)"
    with started([sys.executable, "-c", parent], os.environ, tmp_path / "log") as job:
        deadline = time.monotonic() + 30
        while len(job.processes()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(job.processes()) == 2
        os.kill(job.process.pid, signal.SIGKILL)
        assert job.wait(10) == -signal.SIGKILL
        job.grace_s = 0.5
    assert job.processes() == []


def test_a_command_is_as_a_user_types_it() -> None:
    command = scoring(model="m", images="s3://b", max_patches=5)
    assert command[1:] == ["jobs/score_bucket.py", "--model", "m", "--images", "s3://b", "--max-patches", "5"]


def test_whole_images_give_the_patches_that_the_reader_gives(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "a.tif"
    smooth = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)).resize((700, 600))
    write_pyramid(iter([np.asarray(smooth)]), (600, 700), path)
    pixels, for_view = whole_images.decoded(path.read_bytes(), (288, 384))
    assert for_view is pixels  # no reduced level is large enough
    starts = np.array([[-20, 300], [280, 650], [100, 100], [590, -90]])
    patches, inside = whole_images.cut(pixels, starts, 100)
    expected = PatchReader(100).read([ImageRef(str(path), 600, 700)], (starts + 50)[None])
    assert torch.equal(inside, expected[1][0])
    assert torch.equal(patches, expected[0][0])


def test_a_canvas_is_of_its_size_and_always_the_same() -> None:
    painted = [np.full((20, 30, 3), value, np.uint8) for value in (1, 2)]
    canvas = np.vstack(list(bands(painted, 50, seed=0)))
    assert canvas.shape == (50, 50, 3)
    assert np.array_equal(canvas, np.vstack(list(bands(painted, 50, seed=0))))


def test_the_small_model_is_always_the_same(tmp_path: Path) -> None:
    models = [bundle.load(small_images.small_model(tmp_path / name))[0] for name in ("a", "b")]
    for first, second in zip(*(model.state_dict().values() for model in models), strict=True):
        assert torch.equal(first, second)
    assert isinstance(models[0], AttentionSampling)
