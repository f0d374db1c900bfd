"""Searches that suggest every training once, and stop the worse ones early."""

import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from pipelines.tuning.search import Distinct, MissingExtraError, asha, optuna_search
from pipelines.tuning.trial import METRIC


def name_of(numbers: Mapping[str, int]) -> str:
    """Model 1 has no use for the second axis: 3 + 1 trainings."""
    return f"{numbers['model']}-{numbers['n'] if numbers['model'] == 0 else ''}"


def search(left: int, losses: dict[str, float] | None = None, first: Any = ()) -> Distinct:
    pytest.importorskip("optuna")
    return Distinct(optuna_search({"model": 2, "n": 3}, first, seed=0), name_of, left, losses or {})


def run_all(search: Distinct) -> list[str]:
    names = []
    while (suggested := search.suggest(trial := f"t{len(names)}")) != Searcher.FINISHED:
        names.append(suggested["trial"])
        search.on_trial_complete(trial, {METRIC: 0.1 * len(names)})
    return names


def test_every_training_is_suggested_once() -> None:
    assert sorted(run_all(search(left=10))) == ["0-0", "0-1", "0-2", "1-"]
    assert len(run_all(search(left=2))) == 2


def test_what_has_ended_is_not_suggested_and_what_was_interrupted_comes_first() -> None:
    names = run_all(search(left=10, losses={"0-1": 0.3, "1-": 0.2}, first=[{"model": 0, "n": 2}]))
    assert names[0] == "0-2"
    assert sorted(names) == ["0-0", "0-2"]


def test_a_failed_trial_has_no_loss_and_is_not_tried_again() -> None:
    found = search(left=10)
    failed = found.suggest("t")["trial"]
    found.on_trial_complete("t", error=True)
    assert failed not in run_all(found)
    assert failed not in found.losses


def test_without_optuna_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'attention-sampling\[search\]'"):
        optuna_search({"n": 2}, [], 0)


def test_asha_stops_what_is_not_among_the_best_third() -> None:
    """Nine trials are compared after the grace period of a ninth of the epochs, as they come."""
    scheduler = asha(epochs=9, grace_epochs=None)
    decisions = []
    for i, loss in enumerate((0.5, 0.6, 0.4, 0.7)):
        trial = SimpleNamespace(trial_id=str(i))
        scheduler.on_trial_add(None, trial)
        assert scheduler.on_trial_result(None, trial, {"epoch": 1}) == TrialScheduler.CONTINUE, "no loss, no decision"
        decisions.append(scheduler.on_trial_result(None, trial, {"epoch": 1, METRIC: loss}))
    assert decisions == ["CONTINUE", "STOP", "CONTINUE", "STOP"]
    assert asha(epochs=2, grace_epochs=5) is not None, "a grace longer than the run is all of it"
