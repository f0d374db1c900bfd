"""Dealing images out to folds and splits."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.catalog.sources.listing import stratified_folds, stratified_split
from pipelines.errors import CatalogError

labels_lists = st.lists(st.integers(0, 3), min_size=1, max_size=60)


@given(labels=labels_lists, folds=st.integers(2, 7), seed=st.integers(0, 5))
def test_folds_are_even_as_a_whole_and_in_every_class(labels: list[int], folds: int, seed: int) -> None:
    dealt = stratified_folds(labels, folds, seed)
    assert dealt == stratified_folds(labels, folds, seed)
    for chosen in (set(labels), *({label} for label in labels)):
        sizes = Counter(dict.fromkeys(range(folds), 0))
        sizes.update(fold for fold, label in zip(dealt, labels, strict=True) if label in chosen)
        assert max(sizes.values()) - min(sizes.values()) <= 1


@given(data=st.data(), labels=labels_lists, seed=st.integers(0, 5))
def test_a_group_is_in_one_fold(data: st.DataObject, labels: list[int], seed: int) -> None:
    groups = data.draw(st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=len(labels), max_size=len(labels)))
    dealt = stratified_folds(labels, 3, seed, groups)
    for name in set(groups) - {""}:
        assert len({fold for fold, group in zip(dealt, groups, strict=True) if group == name}) == 1


def test_the_seed_decides() -> None:
    labels = [0, 1] * 20
    assert stratified_folds(labels, 5, 0) != stratified_folds(labels, 5, 1)


def test_one_in_five_tests_and_the_unlabelled_have_no_split() -> None:
    labels = [0] * 50 + [-1] * 3 + [1] * 50
    splits = stratified_split(labels, 0)
    assert Counter(zip(splits, labels, strict=True)) == {
        ("train", 0): 40, ("test", 0): 10, ("train", 1): 40, ("test", 1): 10, ("", -1): 3,
    }  # fmt: skip
    assert [s for s in splits if s] == stratified_split([y for y in labels if y >= 0], 0), "they change nothing"


@pytest.mark.parametrize("labels", [[], [-1], [0]])
def test_the_smallest_data_sets(labels: list[int]) -> None:
    assert len(stratified_split(labels, 0)) == len(labels)


@pytest.mark.parametrize("folds", [-1, 0, 1])
def test_fewer_than_two_folds_are_refused(folds: int) -> None:
    with pytest.raises(CatalogError, match="one of several is tested on"):
        stratified_folds([0, 1], folds, seed=0)
