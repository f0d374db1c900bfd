"""Two workers on the halves of a batch have the gradient of one worker on the whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from torch import Generator, Tensor, nn

from ats_core.losses import inverse_prior_weights
from ats_core.recipes import Recipe
from ats_core.step import train_step
from pipelines.catalog.build import read_catalog
from pipelines.storage.patches import PatchReader
from pipelines.training.batches import collate
from pipelines.training.read_ahead import Request, ask
from tests.ray.conftest import TOY


def gradients(config: dict[str, Any], rank: int = 0, workers: int = 1) -> dict[str, dict[str, Tensor]]:
    """For each recipe, the gradient of a training step on a share of a fixed batch and a fixed draw."""
    found = {}
    for recipe in config["recipes"]:
        torch.manual_seed(0)
        trained = prepare_model(recipe.build()) if workers > 1 else recipe.build()
        model = getattr(trained, "module", trained)
        batch, generator = collate(config["rows"]), Generator().manual_seed(1)
        reader = PatchReader(recipe.patch_size)
        request = ask(model, reader, batch, recipe.augmentation, generator)
        share = torch.arange(len(batch)).chunk(workers)[rank]
        patches = request.patches(model)[share]
        step(trained, part(request, share, reader), patches, recipe)
        found[recipe.estimator] = {name: p.grad for name, p in model.named_parameters()}
    return found


def step(trained: nn.Module, request: Request, patches: Tensor, recipe: Recipe) -> None:
    train_step(
        trained,
        torch.optim.SGD(trained.parameters(), lr=0.0),
        request.views,
        request.draw,
        patches,
        request.labels(),
        entropy_weight=recipe.entropy_weight,
        clip_norm=recipe.clip_norm,
        class_weights_C=inverse_prior_weights((3, 1)),
    )


def part(request: Request, share: Tensor, reader: PatchReader) -> Request:
    """The request of some rows of the batch."""
    draw = request.draw
    tensors = {name: getattr(draw, name)[share] for name in ("cells", "proposal", "weights", "undrawn")}
    batch = request.batch.select(share.tolist())
    future = reader.submit(batch.images, request.centres[share])
    return replace(request, batch=batch, views=request.views[share], draw=replace(draw, **tensors), future=future)


def worker_loop(config: dict[str, Any]) -> None:
    context = ray.train.get_context()
    found = gradients(config, context.get_world_rank(), context.get_world_size())
    if context.get_world_rank() == 0:
        torch.save(found, config["path"])


def test_two_workers_have_the_gradient_of_one(toy_catalog: str, tmp_path: Path) -> None:
    toy = replace(TOY, clip_norm=1e9, entropy_weight=0.1)
    rows = next(iter(read_catalog(toy_catalog, splits=["train"]).iter_batches(batch_size=16, batch_format="numpy")))
    recipes = [replace(toy, estimator=estimator) for estimator in ("unordered", "iid", "released")]
    config = {"recipes": recipes, "rows": rows, "path": str(tmp_path / "gradients.pt")}
    TorchTrainer(
        worker_loop,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name="gradient", storage_path=str(tmp_path)),
    ).fit()
    two = torch.load(config["path"], weights_only=True)
    for estimator, one in gradients(config).items():
        largest = max(gradient.abs().max().item() for gradient in one.values())
        assert largest > 1e-3
        for name, gradient in one.items():
            torch.testing.assert_close(two[estimator][name], gradient, rtol=1e-5, atol=1e-5 * largest, msg=name)
