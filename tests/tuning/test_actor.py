"""A training between reports: it waits, goes on, ends, fails, is stopped."""

import threading

import pytest

from pipelines.tuning.actor import Training
from pipelines.tuning.trial import METRIC, Observer, Report


def test_a_training_waits_after_each_report_until_the_next_is_asked_for() -> None:
    reached: list[int] = []

    def work(report: Report) -> dict[str, str]:
        for i in range(3):
            reached.append(i)
            report({"epoch": i})
        return {"error": "E: none"}

    training = Training(work, elsewhere=False)
    assert [training.next()["epoch"] for _ in range(2)] == [0, 1]
    assert reached == [0, 1]
    assert training.next() == {"epoch": 2}
    assert training.next() == {"epoch": 2, "error": "E: none", "done": True}
    assert training.stop()


def test_a_training_that_is_refused_has_no_loss() -> None:
    def work(report: Report) -> dict[str, str]:
        report({"epoch": 1, METRIC: 0.01})
        return {"error": "DivergedError: loss of nan"}

    training = Training(work, elsewhere=False)
    assert training.next()[METRIC] == 0.01
    assert METRIC not in training.next()
    assert training.stop()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_what_goes_wrong_is_raised_where_the_report_is_asked_for(error: BaseException) -> None:
    def work(report: Report) -> dict[str, str]:
        raise error

    with pytest.raises(type(error)):
        Training(work, elsewhere=False).next()


def test_a_stopped_training_ends_where_it_waits() -> None:
    ended = threading.Event()

    def work(report: Report) -> dict[str, str]:
        try:
            while True:
                report({})
        finally:
            ended.set()

    training = Training(work, elsewhere=False)
    training.next()
    assert not ended.is_set()
    assert training.stop()
    assert ended.is_set()
    assert Training(work, elsewhere=False).stop(), "one that never began has ended"


def test_tune_hears_of_the_first_epoch_and_of_every_evaluation_but_the_last() -> None:
    told: list[dict[str, float]] = []
    observe = Observer(lambda row: told.append(dict(row)), epochs=4)
    for epoch in range(1, 5):
        row = {"epoch": epoch, "seconds": 2.0, "train_loss": 1.0}
        observe(row)
        if epoch != 2:
            observe(row | {METRIC: 0.5})
    assert told == [
        {"epoch": 1, "seconds": 2.0},
        {"epoch": 1, "seconds": 2.0, METRIC: 0.5},
        {"epoch": 3, "seconds": 2.0, METRIC: 0.5},
    ]
