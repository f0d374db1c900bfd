"""Metrics against figures worked out by hand."""

from math import log
from typing import Any

import pytest
import torch

from pipelines.training.evaluate import Predictions
from pipelines.training.metrics import metrics

CLASSES = ("none", "red", "blue")


def said(labels: list[int], winners: list[int], **more: Any) -> Predictions:
    logits = [[4.0 if c == winner else 0.0 for c in range(3)] for winner in winners]
    return Predictions([f"{i}" for i in range(len(labels))], [""] * len(labels), labels, logits, **more)


def test_error_and_recall() -> None:
    found = metrics(said([0, 0, 1, 1, 2], [0, 1, 1, 1, 0]), CLASSES)
    assert found["test_error"] == pytest.approx(2 / 5)
    assert [found[f"recall_{name}"] for name in CLASSES] == [0.5, 1.0, 0.0]
    assert found["n_test"] == 5


def test_auroc_is_the_mean_of_each_class_against_the_rest() -> None:
    perfect = metrics(said([0, 1, 2], [0, 1, 2]), CLASSES)
    assert perfect["test_auroc"] == pytest.approx(1)
    logits = [[2.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1.0, 0.0]]  # red's lead: -2, 1; and 2, -1 where it is red
    mixed = metrics(Predictions(list("abcd"), [""] * 4, [0, 0, 1, 1], logits), ("blue", "red"))
    assert mixed["test_auroc"] == pytest.approx(3 / 4)


def test_a_class_without_images_has_no_recall_and_forbids_auroc() -> None:
    found = metrics(said([0, 1], [0, 1]), CLASSES)
    assert "recall_blue" not in found
    assert not any(name.startswith("test_auroc") for name in found)


def test_intervals_hold_what_they_are_of() -> None:
    labels = [i % 3 for i in range(60)]
    found = metrics(said(labels, [label if i % 4 else 0 for i, label in enumerate(labels)]), CLASSES)
    for name in ("test_error", "test_loss", "test_auroc"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]


def test_the_recall_of_the_only_class_is_what_its_error_leaves() -> None:
    found = metrics(said([1] * 40, [1] * 30 + [0] * 10), CLASSES)
    assert found["recall_red"] == pytest.approx(0.75)
    assert found["recall_red_low"] == pytest.approx(1 - found["test_error_high"])
    assert found["recall_red_high"] == pytest.approx(1 - found["test_error_low"])


def test_the_interval_of_a_recall_is_over_the_images_of_its_class() -> None:
    labels, winners = [0] * 40 + [1] * 4000, [0] * 20 + [1] * 20 + [1] * 4000
    found = metrics(said(labels, winners), CLASSES)
    assert found["recall_none_high"] - found["recall_none_low"] == pytest.approx(4 * 0.5 / 40**0.5, rel=0.15)
    assert "recall_red_low" not in found  # every resample has it at 1


def test_intervals_widen_where_the_images_of_a_group_are_alike() -> None:
    labels, winners = [0] * 30 + [1] * 30, [0] * 20 + [1] * 30 + [0] * 10
    alone, together = said(labels, winners), said(labels, winners)
    together.groups = [f"{i // 10}" for i in range(60)]
    widths = [m["test_error_high"] - m["test_error_low"] for m in (metrics(p, CLASSES) for p in (alone, together))]
    assert widths[1] > 2 * widths[0]
    assert metrics(alone, CLASSES)["test_error"] == metrics(together, CLASSES)["test_error"]


def test_shares_on_boxes_are_means_over_the_images_that_have_boxes() -> None:
    shares = {"on_box": [0.0, 0.5], "on_box_uniform": [0.1, 0.3], "attention_on_box": [0.2, 0.8]}
    found = metrics(said([0, 1, 2], [0, 1, 2], **shares), CLASSES)
    assert found["patches_on_box"] == pytest.approx(0.25)
    assert found["patches_on_box_uniform"] == found["attention_on_box_uniform"] == pytest.approx(0.2)
    assert found["images_with_a_patch_on_box"] == pytest.approx(0.5)
    assert found["attention_on_box"] == pytest.approx(0.5)
    assert "patches_on_box" not in metrics(said([0], [0]), CLASSES)


def test_effective_cells_are_those_of_uniform_attention_of_the_same_entropy() -> None:
    found = metrics(said([0, 1], [0, 1], entropy=[log(6), log(2)]), CLASSES)
    assert found["attention_entropy"] == pytest.approx(log(12) / 2)
    assert found["effective_cells"] == pytest.approx(4)


def test_parts_of_several_workers_add_up_and_json_keeps_what_metrics_need() -> None:
    def on_boxes(*shares: float) -> dict[str, list[float]]:
        return {name: list(shares) for name in ("on_box", "on_box_uniform", "attention_on_box")}

    whole = said([0, 1, 2], [0, 1, 1], entropy=[1.0, 2.0, 3.0], **on_boxes(1.0, 0.0))
    first = said([0, 1], [0, 1], entropy=[1.0, 2.0], maps={"0": torch.ones(2, 3)}, **on_boxes(1.0))
    second = said([2], [1], entropy=[3.0], maps={"2": torch.zeros(2, 3)}, **on_boxes(0.0))
    parts = first + second
    assert metrics(parts, CLASSES) == metrics(whole, CLASSES) == metrics(Predictions(**parts.to_json()), CLASSES)
    assert set(parts.maps) == {"0", "2"}
    assert "maps" not in parts.to_json()


def test_what_no_resample_changes_has_no_interval() -> None:
    labels = [i % 3 for i in range(30)]
    right, wrong = metrics(said(labels, labels), CLASSES), metrics(said(labels, [(c + 1) % 3 for c in labels]), CLASSES)
    assert (right["test_error"], right["test_auroc"], wrong["test_error"]) == (0, 1, 1)
    for found in (right, wrong):
        assert not any(name.startswith("test_error_") for name in found)
    assert "test_auroc_low" not in right
