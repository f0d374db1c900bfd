"""What a training step costs: counts against closed forms, memory and time against known ones, and a small run."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from ats_core.geometry import extract_patches
from ats_core.precision import has_bfloat16
from benchmarks.step import costs, memory, phases, variants
from benchmarks.step.__main__ import parsed
from benchmarks.step.cases import TASKS, Case
from benchmarks.step.claims import GOALS, RATIOS, of_costs, of_phases
from benchmarks.step.costs import trainer
from benchmarks.step.counting import Work, work
from benchmarks.step.roofline import Peaks
from benchmarks.step.timing import SMOKE, Effort, in_turns
from benchmarks.step.trainer import DISTINCT, Pixels, Trainer

ROOT, CPU = Path(__file__).parents[2], torch.device("cpu")
FOREIGN = ("ray", "pyarrow", "fsspec", "tyro", "pipelines", "numpy")


def small(model: str, task: str = "colon", **changes: object) -> Case:
    """A case on the task's small images."""
    case = next(case for case in TASKS[task].smoke().cases() if case.recipe.model == model)
    return replace(case, recipe=replace(case.recipe, **changes))


def test_a_small_run_needs_torch_alone_and_prints_all_claims(tmp_path: Path) -> None:
    code = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({FOREIGN!r}))
sys.argv[1:] = ["--smoke", "--tasks", "colon", "--models", "ats", "deep_mil", "--out", {str(tmp_path)!r}]
runpy.run_module("benchmarks.step", run_name="__main__", alter_sys=True)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result, kept = json.loads(run.stdout.splitlines()[-1]), json.loads((tmp_path / "step.json").read_text())
    claimed = {f"{name}_{what}" for name in RATIOS for what in ("time", "memory")}
    assert claimed | set(GOALS) <= result.keys()
    assert {name for name in claimed if result[name]} == {name for name in claimed if "colon_deep_mil" in name}
    assert result.items() <= kept.items()
    assert {"commit", "machine", "command"} <= kept.keys()
    assert kept["precision"] == ("bfloat16" if has_bfloat16(CPU) else "float32")
    tables = {row["table"] for row in kept["rows"]}
    assert len(tables) == 4
    assert all(title in run.stdout for title in tables)


@pytest.mark.parametrize(("task", "sampling"), [("colon", "ATS-10"), ("speed_limits", "ATS-5"), ("mnist", "ATS-100")])
def test_every_row_of_the_paper_is_a_case(task: str, sampling: str) -> None:
    methods = [case.method for case in TASKS[task].cases()]
    assert sampling in methods
    assert set(TASKS[task].paper) <= set(methods)
    assert len(set(methods)) == len(methods)


def test_flops_bytes_and_operations_of_a_product() -> None:
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert work(lambda: torch.mm(a, b).t()) == Work(2 * 3 * 5 * 7, 4 * (3 * 5 + 5 * 7 + 3 * 7), 1)


def test_a_gather_reads_what_it_returns() -> None:
    image, rows = torch.zeros(1000, 1000), torch.arange(2)
    assert work(lambda: image[rows]) == Work(0, 2 * 2 * 1000 * 4, 1)


def test_flops_of_a_step_are_those_of_its_networks() -> None:
    sample = trainer(small("ats", attention="dense"), 2, CPU)
    rows = {row["phase"]: row for row in phases.rows(sample, Peaks("a machine", 10, 10, 10, 10), SMOKE, "phases")}
    cells, weights = sample.model.grid.n_cells, 9 * (3 * 8 + 8 * 8 + 8)
    assert rows["propose"]["GFLOP"] * 1e9 == pytest.approx(2 * weights * cells)
    backward = 2 * weights - 9 * 3 * 8  # nobody asks for the gradient of the view
    assert rows["attention"]["GFLOP"] * 1e9 == pytest.approx(2 * (weights + backward) * cells)
    assert rows["step"]["GFLOP"] == pytest.approx(sum(row["GFLOP"] for name, row in rows.items() if name != "step"))
    assert rows["features"]["of peak"] == pytest.approx(rows["features"]["GFLOP/s"] / 10)


@pytest.mark.parametrize("model", ["ats", "uniform", "deep_mil", "ips"])
def test_patches_are_those_of_the_drawn_cells(model: str) -> None:
    sample = trainer(small(model), 2, CPU)
    draw = sample.propose(sample.see())
    centres = sample.model.grid.centres(draw.cells, sample.pixels.sizes_B2, sample.model.patch_size)
    images = sample.pixels.images_IHWC.movedim(-1, 1)
    patches, inside = extract_patches(images, centres, sample.model.patch_size)
    expected = sample.model.standardise(patches.movedim(2, -1), inside)
    torch.testing.assert_close(sample.read(draw), expected, rtol=0, atol=0)


@pytest.mark.parametrize("model", ["ats", "uniform", "deep_mil", "cnn", "ips"])
def test_a_step_changes_every_weight(model: str) -> None:
    sample = trainer(small(model, "speed_limits"), 2, CPU)
    before = {name: value.clone() for name, value in sample.model.named_parameters()}
    sample.step()
    assert [name for name, value in sample.model.named_parameters() if torch.equal(before[name], value)] == []


def test_variants_compute_what_the_default_does() -> None:
    case = small("ats", features="lenet")  # neither dropout nor batch norm
    logits = {}
    for name, change in variants.variants(case, 2, CPU, CPU, compile=False):
        sample = trainer(case, 2, CPU)
        views = sample.see()
        draw = sample.propose(views)
        change(sample)
        with sample.autocast():
            logits[name] = sample.model(views, draw, sample.read(draw)).logits
        assert logits[name].dtype == torch.float32
        sample.step()
    default = logits.pop(variants.DEFAULT)
    assert not torch.equal(logits["bfloat16"], default)
    for name, values in logits.items():
        tolerance = 0.1 if name == "bfloat16" else 1e-5
        torch.testing.assert_close(values, default, rtol=tolerance, atol=tolerance, msg=name)


def test_memory_is_what_a_step_holds() -> None:
    if not memory.CLEAR.exists():
        pytest.skip("needs Linux, which counts the pages of a process")
    few = small("deep_mil")
    many = replace(few, recipe=replace(few.recipe, mil_grid=(30, 30)))
    chunks = replace(many, recipe=replace(many.recipe, chunk=50))
    few_mb, many_mb, chunks_mb = (memory.peak_mb(case, CPU, processes=1) for case in (few, many, chunks))
    weights_mb = 4e-6 * sum(weight.numel() for weight in few.recipe.build().parameters())
    first_maps_mb = 4e-6 * 36 * 24 * 24 * (900 - 16)  # what the first convolution keeps for the gradient of a patch
    assert few_mb > 4 * weights_mb  # gradients and both of Adam's moments, too
    assert chunks_mb < few_mb + first_maps_mb < many_mb


def test_calls_take_turns_and_times_are_theirs() -> None:
    seen: list[str] = []

    def call(name: str, seconds: float) -> None:
        seen.append(name)
        time.sleep(seconds)

    calls = {"short": lambda: call("short", 0.001), "long": lambda: call("long", 0.02)}
    times = in_turns(calls, CPU, Effort((3, 3), 0, 0), "turns")
    assert seen == ["short", "long"] * 4
    short, long = times["short"], times["long"]
    assert short is not None
    assert long is not None
    assert 1 <= short.wall_ms < long.wall_ms
    assert long.cpu_ms < long.wall_ms  # a sleep takes no time of the processor


def test_batches_rotate_over_distinct_images() -> None:
    pixels = Pixels(small("ats"), 2)
    seen = []
    for _ in range(DISTINCT // 2 + 1):
        seen.append((pixels.images_IHWC.clone(), pixels.views_BhwC.clone()))
        pixels.rotate()
    images, views = (torch.cat(some) for some in zip(*seen, strict=True))
    for all_of_them in (images, views):
        assert len(all_of_them[:-2].unique(dim=0)) == DISTINCT
        assert torch.equal(all_of_them[-2:], all_of_them[:2])


def test_a_batch_larger_than_the_distinct_images_has_views_of_its_own() -> None:
    pixels = Pixels(small("ats"), 8, distinct=4)
    pixels.rotate()
    assert len(pixels.images_IHWC) == 4
    assert len(pixels.views_BhwC.unique(dim=0)) == 8


def too_much() -> None:
    torch.empty(2**60, dtype=torch.uint8)


def test_what_does_not_fit_is_none_and_the_others_are_measured() -> None:
    def too_much_on_an_accelerator() -> None:
        raise torch.OutOfMemoryError("of an accelerator")

    def killed_by_the_system() -> None:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(os._exit, 137).result()

    calls = {"cpu": too_much, "accelerator": too_much_on_an_accelerator, "process": killed_by_the_system}
    calls |= {"absent": None, "fits": lambda: None}
    times = in_turns(calls, CPU, SMOKE, "memory")
    assert [name for name, one in times.items() if one is not None] == ["fits"]


def test_other_errors_are_raised() -> None:
    with pytest.raises(RuntimeError, match="must match"):
        in_turns({"wrong": lambda: torch.ones(2) + torch.ones(3)}, CPU, SMOKE, "an error")


def test_a_variant_or_phase_that_does_not_fit_is_a_row_of_none() -> None:
    case = small("ats", features="lenet")

    def grow(one: Trainer) -> None:
        one.step = too_much  # type: ignore[method-assign]

    changes = {variants.DEFAULT: lambda _: None, "too much": grow}
    default, grown = variants.rows(case, 1, CPU, CPU, changes, SMOKE, "variants")
    assert default["ratio"] == 1
    assert grown == {"variant": "too much", "ms": None, "CPU ms": None, "ratio": None}
    sample = trainer(case, 1, CPU)
    grow(sample)
    rows = {row["phase"]: row for row in phases.rows(sample, Peaks("a machine", 10, 10, 10, 10), SMOKE, "phases")}
    assert [name for name, row in rows.items() if row["ms"] is None] == ["rest", "step"]
    which = {"task": "colon", "batch": 1}
    assert of_phases([which | row for row in rows.values()])["colon_ats_images_per_second"] is None


def test_ratios_are_of_what_was_measured() -> None:
    rows = [{"model": "Deep MIL", "ms": 6.0, "MB": 10.0}, {"model": "ATS-10", "ms": 2.0, "MB": None}]
    found = of_costs({"colon": rows}, "ms")
    assert found["colon_deep_mil_over_ats10_time"] == 3
    assert found["colon_deep_mil_over_ats10_memory"] is None
    assert found["mnist_cnn_over_ats10_time"] is None


@pytest.mark.parametrize(("model", "most"), [("deep_mil", DISTINCT), ("ips", DISTINCT), ("ats", 1024)])
def test_a_batch_of_whole_images_has_distinct_ones(model: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "_images_per_second", lambda case, batch, *_: float(batch))
    assert costs.saturating_batch(small(model), torch.device("cuda"), Effort()) == most


def test_a_batch_is_doubled_while_memory_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    def speed(case: Case, batch: int, *_: object) -> float:
        if batch > 16:
            raise torch.OutOfMemoryError("of an accelerator")
        return float(batch)

    monkeypatch.setattr(costs, "_images_per_second", speed)
    assert costs.saturating_batch(small("ats"), torch.device("cuda"), Effort()) == 16


@pytest.mark.parametrize(
    ("precision", "bfloat16"), [("auto", has_bfloat16(CPU)), ("float32", False), ("bfloat16", True)]
)
def test_a_whole_run_of_any_precision_is_kept(precision: str, bfloat16: bool) -> None:
    options = parsed(["--precision", precision])
    assert options.whole
    assert options.bfloat16 == bfloat16
