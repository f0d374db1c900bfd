"""The memory that a training takes: what one update held, whatever was held or freed before."""

import gc
import mmap
import sys

import pytest
import torch

from pipelines.training import memory
from pipelines.training.memory import MemoryMeter, forget_peak

CPU = torch.device("cpu")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process forget its peak of memory")


def fill(megabytes: int) -> int:
    """Hold so much for a moment."""
    return torch.ones(megabytes * 10**6, dtype=torch.uint8).numel()


@LINUX
def test_the_growth_of_some_work_is_what_it_held_though_the_heap_keeps_what_was_freed() -> None:
    meter = MemoryMeter(CPU)
    kept = [torch.ones(100_000, dtype=torch.uint8) for _ in range(2_000)]  # small enough for the heap
    del kept
    gc.collect()  # of what other tests left
    result, grown_mb = meter.growth_mb(lambda: fill(50))
    assert result == 50 * 10**6
    assert grown_mb == pytest.approx(50, abs=10)


@LINUX
def test_what_is_held_in_turns_is_held_once() -> None:
    def map_and_unmap() -> None:
        """By the system itself: whether the heap gives a block back, or hands it out again, depends on its layout."""
        with mmap.mmap(-1, 50 * 10**6) as pages:
            for start in range(0, len(pages), mmap.PAGESIZE):
                pages[start] = 1

    _, grown_mb = MemoryMeter(CPU).growth_mb(lambda: [map_and_unmap() for _ in range(3)])
    assert grown_mb == pytest.approx(50, abs=10)


@LINUX
def test_the_peak_of_a_training_outlasts_the_measurement_of_its_updates() -> None:
    meter = MemoryMeter(CPU)
    fill(300)
    before = meter.peak_mb()
    meter.growth_mb(lambda: fill(1))
    assert meter.peak_mb() == before
    forget_peak(CPU)
    assert MemoryMeter(CPU).peak_mb() < before - 200


def test_where_the_system_does_not_tell_the_work_is_done_all_the_same(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(memory, "PEAK", tmp_path / "nothing")
    assert MemoryMeter(CPU).growth_mb(lambda: 7) == (7, None)
