"""Where the time of attention sampling goes, beside what the machine could do."""

import torch

from ats_core.features import features_of_patches
from benchmarks.step.costs import Rows, reading
from benchmarks.step.counting import Work, work
from benchmarks.step.roofline import Peaks
from benchmarks.step.timing import Call, Effort, Times, in_turns
from benchmarks.step.trainer import Trainer

STEP = "step"


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
    """A row a phase, of an image; the rest is what the step takes beyond the others."""
    parts, device = calls(trainer), trainer.device
    works = {name: work(call) for name, call in parts.items()}
    times = in_turns(parts, device, effort, label)
    others, peak_gflops = [name for name in parts if name != STEP], peaks.gflops(device, trainer.bfloat16)
    measured = {name: _row(times[name], works[name], trainer, times[STEP].of(device)) for name in parts}
    shares = {name: _shares(times[name].of(device), works[name], peak_gflops, peaks.gb_per_s) for name in parts}
    rest = {column: whole - sum(measured[name][column] for name in others) for column, whole in measured[STEP].items()}
    rows = {name: measured[name] | shares[name] for name in others}
    rows |= {"rest": rest | dict.fromkeys(shares[STEP]), STEP: measured[STEP] | shares[STEP]}
    return [{"phase": name, **row} for name, row in rows.items()]


def _row(times: Times, work: Work, trainer: Trainer, step: float) -> dict[str, float]:
    one = times.over(trainer.batch)
    return {
        "ms": one.wall_ms,
        "CPU ms": one.cpu_ms,
        "of step": times.of(trainer.device) / step,
        "GFLOP": work.flops / trainer.batch / 1e9,
        "MB": work.bytes / trainer.batch / 1e6,
        "operations": work.operations,
    }


def _shares(ms: float, work: Work, peak_gflops: float, peak_gb_per_s: float) -> dict[str, float]:
    """Rates, and over the peaks; that of bytes can pass 1 where they never leave a cache."""
    gflops, gb_per_s = work.flops / 1e6 / ms, work.bytes / 1e6 / ms
    return {
        "GFLOP/s": gflops,
        "of peak": gflops / peak_gflops,
        "GB/s": gb_per_s,
        "of bandwidth": gb_per_s / peak_gb_per_s,
    }
