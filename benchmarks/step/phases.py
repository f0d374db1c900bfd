"""Where the time of attention sampling goes, beside what the machine could do."""

from collections.abc import Sequence

import torch

from ats_core.features import features_of_patches
from benchmarks.step.costs import Rows, reading
from benchmarks.step.counting import Work, work
from benchmarks.step.roofline import Peaks
from benchmarks.step.timing import Call, Effort, Times, fits, in_turns
from benchmarks.step.trainer import Trainer

STEP = "step"
PHASES = ("propose", "read", "attention", "features", STEP)


def calls(trainer: Trainer) -> dict[str, Call]:
    """The phases of a step, each alone, and the step: networks forward and backward, with a gradient of ones."""
    model, views = trainer.model, trainer.see()
    draw = trainer.propose(views)
    patches = trainer.read(draw)

    def attention() -> None:
        model.zero_grad()
        with trainer.autocast():
            a_BK = model.attend(views)
        a_BK.backward(torch.ones_like(a_BK))

    def features() -> None:
        model.zero_grad()
        with trainer.autocast():
            f_BND = features_of_patches(model.features, patches)
        f_BND.backward(torch.ones_like(f_BND))

    return {
        "propose": lambda: trainer.propose(views),
        "read": reading(trainer),
        "attention": attention,
        "features": features,
        STEP: trainer.step,
    }


def rows(trainer: Trainer, peaks: Peaks, effort: Effort, label: str) -> Rows:
    """A row a phase, of an image; the rest is what the step takes beyond the others. None for what does not fit."""
    parts = fits(calls, trainer) or {}
    device, peak_gflops = trainer.device, peaks.gflops(trainer.device, trainer.bfloat16)
    works = {name: fits(work, call) for name, call in parts.items()}
    times = in_turns(parts, device, effort, label)
    step = times.get(STEP)
    found = {name: _row(times.get(name), works.get(name), trainer, step) for name in PHASES}
    shares = {name: _shares(times.get(name), works.get(name), device, peak_gflops, peaks.gb_per_s) for name in PHASES}
    others = [name for name in PHASES if name != STEP]
    rest = {column: _beyond(whole, [found[name][column] for name in others]) for column, whole in found[STEP].items()}
    rows = {name: found[name] | shares[name] for name in others}
    rows |= {"rest": rest | dict.fromkeys(shares[STEP]), STEP: found[STEP] | shares[STEP]}
    return [{"phase": name, **row} for name, row in rows.items()]


def _beyond(whole: float | None, parts: Sequence[float | None]) -> float | None:
    """What is left of the whole, if all is known."""
    known = [part for part in parts if part is not None]
    return None if whole is None or len(known) < len(parts) else whole - sum(known)


def _row(times: Times | None, work: Work | None, trainer: Trainer, step: Times | None) -> dict[str, float | None]:
    one = times and times.over(trainer.batch)
    return {
        "ms": one and one.wall_ms,
        "CPU ms": one and one.cpu_ms,
        "of step": times and step and times.of(trainer.device) / step.of(trainer.device),
        "GFLOP": work and work.flops / trainer.batch / 1e9,
        "MB": work and work.bytes / trainer.batch / 1e6,
        "operations": work and work.operations,
    }


def _shares(
    times: Times | None, work: Work | None, device: torch.device, peak_gflops: float, peak_gb_per_s: float
) -> dict[str, float | None]:
    """Rates, and over the peaks; that of bytes can pass 1 where they never leave a cache."""
    if times is None or work is None:
        return dict.fromkeys(("GFLOP/s", "of peak", "GB/s", "of bandwidth"))
    gflops, gb_per_s = work.flops / 1e6 / times.of(device), work.bytes / 1e6 / times.of(device)
    return {
        "GFLOP/s": gflops,
        "of peak": gflops / peak_gflops,
        "GB/s": gb_per_s,
        "of bandwidth": gb_per_s / peak_gb_per_s,
    }
