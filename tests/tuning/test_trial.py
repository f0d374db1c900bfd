"""What is left of one trial when the next one takes over its process, and what is heard of it."""

from collections.abc import Iterator

import pytest
import torch

from ats_core.errors import RecipeError
from pipelines.training.memory import peak_memory_mb
from pipelines.tuning.trial import begin_afresh, said, warnings_alone


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_the_peak_of_memory_is_forgotten() -> None:
    cpu = torch.device("cpu")
    torch.ones(100_000_000)  # 400 MB
    before = peak_memory_mb(cpu)
    begin_afresh(2.5)
    assert peak_memory_mb(cpu) < before - 300
    assert torch.get_num_threads() == 2
    begin_afresh(0.25)
    assert torch.get_num_threads() == 1


def test_of_what_a_training_prints_its_warnings_are_heard(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings_alone():
        print("epoch 1/3: loss .7")
        print("WARNING: a checkpoint is not whole")
    print("after")
    assert capsys.readouterr().out == "WARNING: a checkpoint is not whole\nafter\n"


def test_an_error_is_one_line() -> None:
    assert said(RecipeError("a", "b\n  c", "D")) == "RecipeError: a: b c. D"
