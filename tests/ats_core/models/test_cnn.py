"""The CNN: what it sees is the view, of any size."""

from dataclasses import replace

import pytest
import torch

from tests.ats_core.models.cases import SMALL, build, propose_and_classify, see, some_images


@pytest.mark.parametrize("task", SMALL)
def test_classifies_the_view_alone(task: str) -> None:
    model = build(replace(SMALL[task], model="cnn"))
    images = some_images(model)
    output = propose_and_classify(model, images)
    expected = model.classifier(model.backbone(see(model, images)))
    torch.testing.assert_close(output.logits, expected, rtol=0, atol=0)
    assert output.attention.eq(1).all()
    assert output.standard_error.eq(0).all()


def test_its_weights_serve_every_scale() -> None:
    """The larger view is the image itself."""
    small, large = (build(replace(SMALL["speed_limits"], model="cnn", view_size=size)) for size in ((24, 32), (60, 90)))
    large.load_state_dict(small.state_dict())
    images = some_images(large)
    assert torch.equal(see(large, images), large.standardise(images.movedim(1, -1)))
    coarse, fine = (propose_and_classify(model, images).logits for model in (small, large))
    assert fine.isfinite().all()
    assert not torch.allclose(coarse, fine)
