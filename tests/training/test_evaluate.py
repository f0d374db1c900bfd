"""Metrics against figures worked out by hand, and requests made ahead in the order of their batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.examples import in_turn
from pipelines.training.evaluate import Predictions, metrics
from pipelines.training.read_ahead import read_ahead

CLASSES = ("none", "red", "blue")


def said(labels: list[int], winners: list[int], **more: list[float]) -> Predictions:
    logits = [[4.0 if c == winner else 0.0 for c in range(3)] for winner in winners]
    return Predictions([f"{i}" for i in range(len(labels))], labels, logits, **more)


def test_error_and_recall() -> None:
    found = metrics(said([0, 0, 1, 1, 2], [0, 1, 1, 1, 0]), CLASSES)
    assert found["test_error"] == pytest.approx(2 / 5)
    assert [found[f"recall_{name}"] for name in CLASSES] == [0.5, 1.0, 0.0]
    assert found["n_test"] == 5


def test_auroc_is_the_mean_of_each_class_against_the_rest() -> None:
    perfect = metrics(said([0, 1, 2], [0, 1, 2]), CLASSES)
    assert perfect["test_auroc"] == pytest.approx(1)
    logits = [[2.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1.0, 0.0]]  # red's lead: -2, 1; and 2, -1 where it is red
    mixed = metrics(Predictions(list("abcd"), [0, 0, 1, 1], logits), ("blue", "red"))
    assert mixed["test_auroc"] == pytest.approx(3 / 4)


def test_a_class_without_images_has_no_recall_and_forbids_auroc() -> None:
    found = metrics(said([0, 1], [0, 1]), CLASSES)
    assert "recall_blue" not in found
    assert "test_auroc" not in found


def test_shares_on_boxes_are_means_over_the_images_that_have_boxes() -> None:
    found = metrics(said([0, 1, 2], [0, 1, 2], on_box=[0.0, 0.5], on_box_uniform=[0.1, 0.3]), CLASSES)
    assert found["patches_on_box"] == pytest.approx(0.25)
    assert found["patches_on_box_uniform"] == pytest.approx(0.2)
    assert found["images_with_a_patch_on_box"] == pytest.approx(0.5)
    assert "patches_on_box" not in metrics(said([0], [0]), CLASSES)


def test_parts_of_several_workers_add_up() -> None:
    whole = said([0, 1, 2], [0, 1, 1], on_box=[1.0, 0.0], on_box_uniform=[0.1, 0.1])
    parts = said([0, 1], [0, 1], on_box=[1.0], on_box_uniform=[0.1]) + said(
        [2], [1], on_box=[0.0], on_box_uniform=[0.1]
    )
    assert metrics(parts, CLASSES) == metrics(whole, CLASSES)


@given(n=st.integers(0, 8), depth=st.integers(0, 10))
def test_a_request_is_made_depth_batches_before_it_is_used(n: int, depth: int) -> None:
    asked: list[int] = []
    used = []
    for request in read_ahead(range(n), lambda batch: asked.append(batch) or batch, depth):
        used.append(request)
        assert len(asked) == min(n, len(used) + depth)
    assert used == asked == list(range(n))


def test_examples_take_the_classes_in_turn() -> None:
    assert in_turn(list("abcdef"), [0, 0, 0, 1, 1, 2], 4) == ["a", "d", "f", "b"]
