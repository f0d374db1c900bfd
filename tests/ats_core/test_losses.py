"""The training objective and its weights."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from ats_core.losses import attention_loss, inverse_prior_weights
from ats_core.models import Output


def random_output(b: int = 8, classes: int = 3, cells: int = 20, seed: int = 0) -> Output:
    g = torch.Generator().manual_seed(seed)
    attention = torch.randn(b, cells, generator=g).softmax(-1)
    return Output(torch.randn(b, classes, generator=g), attention, torch.zeros(b, classes))


LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 2, 0])


class TestInversePriorWeights:
    @settings(deadline=None, derandomize=True)
    @given(st.lists(st.integers(0, 1000), min_size=1, max_size=6).filter(any))
    def test_have_mean_one_over_the_training_set(self, counts: list[int]) -> None:
        weights = inverse_prior_weights(counts)
        assert (weights.double() @ torch.tensor(counts).double()).item() / sum(counts) == pytest.approx(1)

    def test_are_inverse_to_the_share(self) -> None:
        weights = inverse_prior_weights([400, 100, 100, 100])
        torch.testing.assert_close(weights, torch.tensor([1.0, 4.0, 4.0, 4.0]) * 7 / 16)

    def test_of_an_absent_class_is_zero(self) -> None:
        assert inverse_prior_weights([5, 0, 5]).tolist() == [1, 0, 1]

    def test_of_equal_classes_are_one(self) -> None:
        assert inverse_prior_weights([7, 7]).tolist() == [1, 1]


class TestAttentionLoss:
    def test_alone_is_the_cross_entropy(self) -> None:
        output = random_output()
        torch.testing.assert_close(attention_loss(output, LABELS), functional.cross_entropy(output.logits, LABELS))

    def test_is_the_plain_sum(self) -> None:
        output, weights = random_output(), inverse_prior_weights([5, 2, 1])
        total = 0.0
        for logits, attention, label in zip(output.logits, output.attention, LABELS.tolist(), strict=True):
            cross_entropy = math.log(sum(math.exp(z) for z in logits)) - logits[label].item()
            entropy = -sum(a * math.log(a) for a in attention.tolist())
            total += weights[label].item() * cross_entropy - 0.05 * entropy
        loss = attention_loss(output, LABELS, entropy_weight=0.05, class_weights_C=weights)
        assert loss.item() == pytest.approx(total / 8, rel=1e-5)

    @pytest.mark.parametrize("class_weights", [None, inverse_prior_weights([5, 2, 1])])
    def test_mean_over_two_workers_is_the_loss_of_the_joint_batch(self, class_weights: Tensor | None) -> None:
        """The halves hold other classes: a mean over weights, torch's own, would not have this."""
        output = random_output()
        settings = {"entropy_weight": 0.01, "class_weights_C": class_weights}
        halves = [
            attention_loss(
                Output(output.logits[half], output.attention[half], output.standard_error[half]),
                LABELS[half],
                **settings,
            )
            for half in (slice(0, 4), slice(4, 8))
        ]
        joint = attention_loss(output, LABELS, **settings)
        torch.testing.assert_close(sum(halves) / 2, joint)

    def test_rewards_entropy(self) -> None:
        """A step against the gradient of the loss spreads the attention."""
        attention_logits = torch.tensor([[3.0, 0.0, 0.0]], requires_grad=True)
        output = Output(torch.zeros(1, 3), attention_logits.softmax(-1), torch.zeros(1, 3))
        attention_loss(output, LABELS[:1], entropy_weight=1.0).backward()
        assert attention_logits.grad is not None
        assert attention_logits.grad[0, 0] > 0
        assert (attention_logits.grad[0, 1:] < 0).all()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_keeps_the_dtype_of_the_logits(self, dtype: torch.dtype) -> None:
        output = random_output()
        output = Output(output.logits.to(dtype), output.attention.to(dtype), output.standard_error.to(dtype))
        loss = attention_loss(output, LABELS, entropy_weight=0.1, class_weights_C=inverse_prior_weights([5, 2, 1]))
        assert loss.dtype == dtype
