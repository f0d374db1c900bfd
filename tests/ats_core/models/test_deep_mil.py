"""Deep MIL: the sum over all patches, and streaming that changes its memory alone."""

import copy
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from ats_core.features import features_of_patches
from ats_core.losses import attention_loss
from ats_core.models import DeepMIL, Model
from tests.ats_core.models.cases import (
    SMALL,
    build,
    classify,
    gradients,
    propose_and_classify,
    read,
    see,
    some_images,
)


def deep_mil(task: str, **settings: object) -> DeepMIL:
    return build(replace(SMALL[task], model="deep_mil", **settings))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("task", SMALL)
def test_classifies_the_sum_over_its_cells(task: str, gated: bool) -> None:
    """Cell by cell, with the formulas of Ilse et al. 2018, eq. 8 and 9."""
    model = deep_mil(task, gated=gated)
    images = some_images(model)
    output = propose_and_classify(model, images)
    net = model.attention
    for image, logits, attention in zip(images, output.logits, output.attention, strict=True):
        f = [model.features(read(model, image[None], torch.tensor([[k]]))[0])[0] for k in range(6)]
        hidden = [torch.tanh(net.hidden.weight @ f_k + net.hidden.bias) for f_k in f]
        if gated:
            gates = [1 / (1 + torch.exp(-(net.gate.weight @ f_k + net.gate.bias))) for f_k in f]
            hidden = [h_k * gate_k for h_k, gate_k in zip(hidden, gates, strict=True)]
        weights = [torch.exp(net.logit.weight[0] @ h_k) for h_k in hidden]
        a = [weight / sum(weights) for weight in weights]
        torch.testing.assert_close(attention, torch.stack(a), rtol=1e-9, atol=1e-12)
        expected = model.classifier(sum(a_k * f_k for a_k, f_k in zip(a, f, strict=True)))
        torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("task", SMALL)
def test_attention_starts_neither_flat_nor_peaked(task: str) -> None:
    torch.manual_seed(0)
    attention = replace(SMALL[task], model="deep_mil").build().attention
    features = nn.functional.normalize(torch.randn(1000, attention.hidden.in_features), dim=-1)
    assert 0.1 < attention(features[None]).std() < 1


def test_its_answer_is_exact() -> None:
    output = propose_and_classify(deep_mil("megapixel_mnist"), some_images(deep_mil("megapixel_mnist")))
    assert output.standard_error.eq(0).all()


def loss(model: Model, images: Tensor) -> Tensor:
    output = propose_and_classify(model, images)
    return attention_loss(output, torch.arange(len(images)) % 3, entropy_weight=0.01)


def with_chunk(model: DeepMIL, chunk: int | None) -> DeepMIL:
    other = copy.deepcopy(model)
    other.chunk = chunk
    return other


CHUNKS = [1, 4, 7, 18, 100]
"""Of 18 patches: even and uneven parts, across images, one part."""


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("task", SMALL)
def test_chunks_change_neither_value_nor_gradient(task: str, chunk: int) -> None:
    model = deep_mil(task)
    images = some_images(model)
    plain, chunked = model, with_chunk(model, chunk)
    values = loss(plain, images), loss(chunked, images)
    torch.testing.assert_close(*values, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradients(plain, values[0]), gradients(chunked, values[1]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("task", SMALL)
def test_chunks_of_a_net_in_training_are_passes_of_their_own(task: str) -> None:
    """Batch norm over each, dropout by the same random numbers twice, running statistics moved once."""
    model = deep_mil(task).train()
    model.chunk = 7
    images = some_images(model)
    patches = read(model, images, model.propose(see(model, images)).cells)
    plain = copy.deepcopy(model)
    torch.manual_seed(1)
    f_BKD = features_of_patches(model.features, patches, 7)
    torch.manual_seed(1)
    apart_MD = torch.cat([plain.features(part) for part in patches.flatten(0, 1).split(7)])
    torch.testing.assert_close(f_BKD.flatten(0, 1), apart_MD, rtol=1e-9, atol=1e-9)
    direction = torch.randn(apart_MD.shape).double()
    torch.testing.assert_close(
        torch.autograd.grad((f_BKD.flatten(0, 1) * direction).sum(), tuple(model.features.parameters())),
        torch.autograd.grad((apart_MD * direction).sum(), tuple(plain.features.parameters())),
        rtol=1e-9,
        atol=1e-9,
    )
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=1e-9, atol=1e-9)


def saved_bytes(model: DeepMIL, rows: int) -> int:
    """What the gradient holds after a forward pass over rows x 4 cells, but the patches and the weights."""
    model.grid = replace(model.grid, view_size=(rows, 4), size=(rows, 4))
    images = some_images(model, 1)
    drawn = model.propose(see(model, images))
    patches = read(model, images, drawn.cells)
    given = {t.untyped_storage().data_ptr() for t in (patches, *model.state_dict().values())}
    held: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor  # kept, so that no address comes twice
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(see(model, images), drawn, patches)
    assert output.logits.requires_grad
    return sum(t.untyped_storage().nbytes() for address, t in held.items() if address not in given)


@pytest.mark.parametrize("task", SMALL)
def test_chunks_hold_features_but_no_activations(task: str) -> None:
    model = deep_mil(task)
    per_patch = {
        chunk: (saved_bytes(with_chunk(model, chunk), 8) - saved_bytes(with_chunk(model, chunk), 2)) / 24
        for chunk in (None, 4)
    }
    n_features, hidden, float64 = model.features.n_features, model.attention.HIDDEN, 8
    assert per_patch[4] <= float64 * (3 * n_features + 2 * hidden + 8)
    assert per_patch[None] > per_patch[4] + float64 * 1000


def test_chunks_bound_every_pass_forward_and_backward() -> None:
    model = with_chunk(deep_mil("megapixel_mnist"), 4)
    sizes: Counter[int] = Counter()
    model.features.register_forward_hook(lambda _, inputs, __: sizes.update([len(inputs[0])]))
    value = loss(model, some_images(model))
    assert sizes == {4: 4, 2: 1}
    value.backward()
    assert sizes.keys() == {4, 2}
    assert sizes[4] >= 4


def test_a_plain_pass_is_one_and_without_gradient_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sizes = deep_mil("megapixel_mnist"), []
    model.features.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    images = some_images(model)
    drawn = model.propose(see(model, images))
    whole = classify(model, images, drawn).logits
    assert sizes == [18]
    monkeypatch.setattr("ats_core.passes.ON_CPU", 5 * model.patch_size**2)
    with torch.no_grad():
        cut = classify(model, images, drawn).logits
    assert sizes[1:] == [5, 5, 5, 3]
    torch.testing.assert_close(cut, whole, rtol=1e-9, atol=1e-9)
