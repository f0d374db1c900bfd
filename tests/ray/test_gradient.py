"""Two workers on the halves of a batch have the gradient of one worker on the whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray.train
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from torch import Generator, Tensor

from ats_core.losses import inverse_prior_weights
from ats_core.recipes import Recipe
from pipelines.catalog.build import read_catalog
from pipelines.storage.patches import PatchReader
from pipelines.training.batches import collate
from pipelines.training.loop import train_step
from pipelines.training.read_ahead import Request, ask
from tests.ray.conftest import TOY


def gradient_loop(config: dict[str, Any]) -> None:
    """One step of the training loop's own `train_step` on this worker's share of a fixed batch and a fixed draw."""
    torch.manual_seed(0)
    recipe: Recipe = config["recipe"]
    trained = prepare_model(recipe.build())
    model = getattr(trained, "module", trained)
    context = ray.train.get_context()
    request = ask(
        model, PatchReader(recipe.patch_size), collate(config["rows"]), recipe.augmentation, Generator().manual_seed(1)
    )
    share = torch.arange(len(request.batch)).chunk(context.get_world_size())[context.get_world_rank()]
    patches = request.patches(model)[share]
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.0)
    train_step(trained, optimizer, part(request, share), patches, recipe, inverse_prior_weights((3, 1)))
    if context.get_world_rank() == 0:
        torch.save({name: p.grad for name, p in model.named_parameters()}, config["gradient"])


def part(request: Request, share: Tensor) -> Request:
    draw = request.draw
    tensors = {name: getattr(draw, name)[share] for name in ("cells", "proposal", "weights", "undrawn")}
    batch = request.batch.select(share.tolist())
    return replace(request, batch=batch, views=request.views[share], draw=replace(draw, **tensors))


@pytest.mark.parametrize("estimator", ["unordered", "released"])
def test_two_workers_have_the_gradient_of_one(toy_catalog: str, tmp_path: Path, estimator: str) -> None:
    recipe = replace(TOY, clip_norm=1e9, entropy_weight=0.1, estimator=estimator)
    gradients = []
    for workers in (1, 2):
        path = tmp_path / f"{workers}.pt"
        rows = next(iter(read_catalog(toy_catalog, splits=["train"]).iter_batches(batch_size=16, batch_format="numpy")))
        TorchTrainer(
            gradient_loop,
            train_loop_config={"recipe": recipe, "rows": rows, "gradient": str(path)},
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(name=f"gradient-{workers}", storage_path=str(tmp_path)),
        ).fit()
        gradients.append(torch.load(path, weights_only=True))
    one, two = gradients
    largest = max(g.abs().max().item() for g in one.values())
    assert largest > 1e-3
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, rtol=1e-5, atol=1e-5 * largest, msg=name)
