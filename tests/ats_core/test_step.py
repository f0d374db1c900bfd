"""One update: what it returns, and how far it goes."""

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from ats_core.errors import DivergedError
from ats_core.losses import classification_loss
from ats_core.recipes import ColonCancer
from ats_core.sampling import Draw
from ats_core.step import train_step

LABELS = torch.tensor([0, 1])
WEIGHTS = torch.tensor([0.5, 2.0])  # of two classes, for views of three channels


def case() -> tuple[nn.Module, Tensor, Draw, Tensor]:
    torch.manual_seed(0)
    model = ColonCancer(view_size=(20, 20), n_patches=3).build().eval()
    views = torch.randn(2, 3, 20, 20)
    return model, views, model.propose(views), torch.randn(2, 3, 3, 27, 27)


def weights_of(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("entropy_weight", [0.0, 10.0])
def test_it_returns_the_weighted_classification_loss_before_it_alone(entropy_weight: float) -> None:
    model, *sample = case()
    expected = classification_loss(model(*sample), LABELS, WEIGHTS).item()
    options = {"entropy_weight": entropy_weight, "clip_norm": 1.0, "class_weights_C": WEIGHTS}
    loss = train_step(model, SGD(model.parameters(), lr=1.0), *sample, LABELS, **options)
    assert loss == pytest.approx(expected)
    assert classification_loss(model(*sample), LABELS, WEIGHTS).item() != pytest.approx(expected)


def test_a_loss_that_is_no_number_is_refused() -> None:
    model, views, draw, patches = case()
    patches[1, 2, 0, 3, 3] = torch.nan
    with pytest.raises(DivergedError, match="loss of nan: the weights are lost"):
        train_step(model, SGD(model.parameters()), views, draw, patches, LABELS, entropy_weight=0.0, clip_norm=1.0)


def test_the_gradient_of_all_weights_together_is_clipped() -> None:
    model, *sample = case()
    before = weights_of(model)
    train_step(model, SGD(model.parameters(), lr=1.0), *sample, LABELS, entropy_weight=0.0, clip_norm=1e-2)
    assert (weights_of(model) - before).norm().item() == pytest.approx(1e-2, rel=1e-3)
