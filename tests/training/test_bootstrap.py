"""The bootstrap against enumeration, normal theory and torchmetrics."""

from collections import Counter
from math import sqrt
from statistics import NormalDist

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_auroc

from pipelines.training import bootstrap
from pipelines.training.bootstrap import auroc_of, intervals, mean_of, resample

Z = NormalDist().inv_cdf((1 + bootstrap.COVERAGE) / 2)


def counts_of(groups: list[str], **options: int) -> torch.Tensor:
    return torch.cat(list(resample(groups, **options)))


def test_resamples_of_three_images_are_as_likely_as_enumeration_says() -> None:
    """27 equally likely draws of three: each image thrice 1/27, two of one and one of another 3/27, all once 6/27."""
    n = 54_000
    found = Counter(tuple(row) for row in counts_of(["", "", ""], resamples=n).int().tolist())
    expected = {tuple(c): w / 27 for c, w in (((3, 0, 0), 1), ((2, 1, 0), 3), ((1, 2, 0), 3), ((1, 1, 1), 6))}
    for counts, p in expected.items():
        assert found[counts] / n == pytest.approx(p, abs=4 * sqrt(p * (1 - p) / n))
    assert len(found) == 10


def test_the_interval_of_a_mean_is_that_of_normal_theory() -> None:
    values_B = torch.randn(400, generator=torch.Generator().manual_seed(0))
    low, high = intervals({"mean": mean_of(values_B)}, [""] * 400, resamples=20_000)["mean"]
    half = Z * values_B.std(correction=0).item() / sqrt(400)
    assert low == pytest.approx(values_B.mean().item() - half, abs=0.04 * half)
    assert high == pytest.approx(values_B.mean().item() + half, abs=0.04 * half)


def test_images_of_a_group_come_together_and_widen_the_interval() -> None:
    """Ten copies of 40 images say no more than the 40, though they are 400."""
    groups = [f"patient{i // 10}" for i in range(400)]
    counts_RB = counts_of(groups, resamples=50)
    assert (counts_RB.view(50, 40, 10).std(-1) == 0).all()
    assert (counts_RB.sum(1) == 400).all()
    values_B = torch.randn(40, generator=torch.Generator().manual_seed(1)).repeat_interleave(10)
    low, high = intervals({"mean": mean_of(values_B)}, groups, resamples=20_000)["mean"]
    assert (high - low) / 2 == pytest.approx(Z * values_B.std(correction=0).item() / sqrt(40), rel=0.06)
    alone = intervals({"mean": mean_of(values_B)}, [""] * 400)["mean"]
    assert high - low > 2.5 * (alone[1] - alone[0])


def test_a_group_of_one_is_an_image_alone() -> None:
    assert torch.equal(counts_of([f"{i}" for i in range(9)]), counts_of([""] * 9))


def test_the_seed_decides_and_parts_do_not_lose_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.equal(counts_of([""] * 5, seed=3), counts_of([""] * 5, seed=3))
    assert not torch.equal(counts_of([""] * 5, seed=3), counts_of([""] * 5, seed=4))
    monkeypatch.setattr(bootstrap, "ENTRIES", 35)
    parts = list(resample([""] * 5, resamples=20))
    assert [len(part) for part in parts] == [7, 7, 6]


@settings(max_examples=50, deadline=None)
@given(data=st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=2, max_size=30))
def test_auroc_is_that_of_torchmetrics_on_the_repeated_images(data: list[tuple[int, bool, int]]) -> None:
    scores_B = torch.tensor([score / 4 for score, _, _ in data])
    positive_B = torch.tensor([positive for _, positive, _ in data])
    counts_B = torch.tensor([count for _, _, count in data])
    ours = auroc_of(scores_B, positive_B)(counts_B[None].double())
    repeated = positive_B.repeat_interleave(counts_B)
    if repeated.any() and not repeated.all():
        theirs = binary_auroc(scores_B.repeat_interleave(counts_B), repeated.long())
        assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    else:
        assert ours.isnan()


def test_resamples_without_both_classes_are_passed_over() -> None:
    """One positive in five is missing from (4/5)^5 of the resamples; the others have an AUROC between its extremes."""
    measure = auroc_of(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]), torch.tensor([False, False, True, False, False]))
    values_R = measure(counts_of([""] * 5, resamples=20_000))
    assert values_R.isnan().double().mean().item() == pytest.approx(0.8**5 + 0.2**5, abs=0.01)
    assert intervals({"auroc": measure}, [""] * 5)["auroc"] == (0.0, 1.0)


def test_a_measure_that_no_resample_has_has_no_interval() -> None:
    never = auroc_of(torch.rand(4), torch.ones(4, dtype=torch.bool))
    assert set(intervals({"auroc": never, "mean": mean_of(torch.rand(4))}, [""] * 4)) == {"mean"}
