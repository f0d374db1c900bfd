"""ms a sample and images a second of all models of a task."""

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.step.cases import Case
from benchmarks.step.timing import Call, Effort, Times, fits, in_turns, lap, medians, turn
from benchmarks.step.trainer import CPU, DISTINCT, Pixels, Trainer

Rows = list[dict[str, Any]]
Setting = tuple[int, torch.device]
"""Images in a batch, and where they lie in full."""

GROWTH = 1.1  # of images/s, for which a batch is doubled
STEP_MS = 1000  # on a CPU a batch takes no longer
GRIDS = ("deep_mil", "ips")  # these read whole images, so that a batch must not be larger than there are distinct ones
PAPERS: Setting = (1, CPU)


def settings(batch: int, device: torch.device) -> list[Setting]:
    """The paper's, images in main memory one by one, and `batch` of them on the device, as a small set is trained."""
    return [*dict.fromkeys((PAPERS, (batch, device)))]


def trainer(case: Case, batch: int, device: torch.device, home: torch.device = CPU) -> Trainer:
    """Of random pixels, the full images at `home`."""
    return Trainer(case, Pixels(case, batch, home), device)


def reading(trainer: Trainer) -> Call:
    """What a step reads: views, and the patches of one and the same draw."""
    draw = trainer.propose(trainer.see())

    def read() -> None:
        trainer.pixels.rotate()
        trainer.see()
        trainer.read(draw)

    return read


def saturating_batch(case: Case, device: torch.device, effort: Effort) -> int:
    """From where on more images at once are not faster; on a CPU a fixed one, or less where that takes a second."""
    if device.type != "cpu":
        return _doubled(case, device, effort)
    step_ms, batch = fits(_step_ms, case), effort.cpu_batch
    while batch > 1 and (step_ms is None or batch * step_ms > STEP_MS):
        batch //= 2
    return batch


def _step_ms(case: Case) -> float:
    """On a CPU; of the second step where the first, which takes longer, is not all too long."""
    step = trainer(case, 1, CPU).step
    step_ms = lap(step, CPU).of(CPU)
    return step_ms if step_ms >= 2 * STEP_MS else lap(step, CPU).of(CPU)


def _doubled(case: Case, device: torch.device, effort: Effort) -> int:
    """Doubled while images/s grow and memory lasts."""
    most = min(effort.accelerator_batch, DISTINCT) if case.recipe.model in GRIDS else effort.accelerator_batch
    batch, best = 1, 0.0
    for tried in (2**i for i in range(most.bit_length())):
        speed = fits(_images_per_second, case, tried, device, effort)
        if speed is None or speed < GROWTH * best:
            break
        batch, best = tried, speed
    return batch


def _images_per_second(case: Case, batch: int, device: torch.device, effort: Effort) -> float:
    step = trainer(case, batch, device, device).step
    step()
    return 1000 * batch / medians(turn(step, device, effort.turn_s)).wall_ms


def rows(cases: Sequence[Case], device: torch.device, effort: Effort, label: str) -> Rows:
    """A row a model, all measured in turns; without memory, which needs processes of its own."""
    batches = {case.method: saturating_batch(case, device, effort) for case in cases}
    calls: dict[tuple[str, Setting, str], Call | None] = {}
    for case in cases:
        for setting in settings(batches[case.method], device):
            calls |= {(case.method, setting, what): call for what, call in _calls(case, setting, device).items()}
    times = in_turns(calls, device, effort, label)
    return [_row(case, times, (batches[case.method], device)) for case in cases]


def _calls(case: Case, setting: Setting, device: torch.device) -> dict[str, Call | None]:
    """The step, and at the paper's setting what it reads; None where not even the images fit."""
    batch, home = setting
    one = fits(trainer, case, batch, device, home)
    calls = {"step": one and one.step}
    if setting == PAPERS:
        calls["read"] = one and fits(reading, one)
    return calls


def _row(case: Case, times: dict[tuple[str, Setting, str], Times | None], setting: Setting) -> dict[str, Any]:
    batch, home = setting
    single, read = times[case.method, PAPERS, "step"], times[case.method, PAPERS, "read"]
    step = times[case.method, setting, "step"]
    many = step and step.over(batch)
    return {
        "model": case.method,
        "paper ms": case.paper_ms,
        "ms": single and single.wall_ms,
        "CPU ms": single and single.cpu_ms,
        "read ms": read and read.wall_ms,
        "batch": batch,
        "images in": place(home),
        "ms in it": many and many.wall_ms,
        "CPU ms in it": many and many.cpu_ms,
        "images/s": many and 1000 / many.wall_ms,
        "paper MB": case.paper_mb,
    }


def place(home: torch.device) -> str:
    """Of full images, in a word."""
    return "memory" if home.type == "cpu" else "device"
