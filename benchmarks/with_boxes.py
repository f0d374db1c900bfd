"""What first draws on GTSDB could tell at best: feature networks trained on the same patches, with and without boxes.

64 patches of 48 x 48 a frame are drawn by the colours alone (`--anomaly 2`) and kept. A network then learns on 24 of
them, drawn anew at each update:

- by labels: the mean feature of the patches is classified, as attention sampling does before attention is learned;
- by boxes, which training never sees otherwise: each patch is classified, whether it holds the centre of a sign, and a
  frame is as positive as its most positive patch.

No frame of which no patch touches a sign can be told from one without, so that (1 + touched) / 2 bounds the AUROC of
whoever looks at signs alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise, product
from statistics import mean
from typing import Any, Literal

import torch
import tyro
from torch import Generator, Tensor, nn
from torch.nn import functional
from torchmetrics.functional.classification import binary_auroc

from ats_core import draw
from ats_core.features import FeatureNetwork, ResNet8
from ats_core.models import AttentionSampling
from ats_core.models.classifier import unit_classifier
from ats_core.pixels import Standardise
from ats_core.precision import has_bfloat16, raised
from benchmarks.first_draws import on_an_object
from benchmarks.paper.gtsdb import FOLDS
from benchmarks.paper.gtsdb import RECIPE as TRAINED
from benchmarks.record import progress, record, rounded, table
from pipelines.catalog.build import read_catalog
from pipelines.catalog.made import catalog_of
from pipelines.catalog.sources.gtsdb import Gtsdb
from pipelines.job import connect
from pipelines.storage.patches import PatchReader
from pipelines.training.batches import Batch, in_order
from pipelines.training.train import fold_splits

KEPT, DRAWN = 64, TRAINED.n_patches
RECIPE = replace(TRAINED, n_patches=KEPT)
SIGN_WEIGHT = 10.0
"""Of a patch with a sign, in the loss by boxes: one of 80 patches holds one."""

Supervision = Literal["labels", "boxes"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which frames, and how long."""

    images: str
    """The frames of GTSDB."""
    out: str = "runs/with_boxes"
    """Local folder of the catalog."""
    epochs: int = TRAINED.epochs
    """Epochs of the training frames."""
    fold: int = 0
    """The one that is tested on, of five."""
    seed: int = 0
    """Of folds, draws and networks."""


@dataclass(frozen=True, slots=True)
class Patches:
    """The patches of frames: B frames, N patches each."""

    pixels: Tensor
    """uint8 [B, N, P, P, 3]."""
    inside: Tensor
    """bool [B, N, P, P]."""
    on_sign: Tensor
    """bool [B, N]: it holds the centre of a sign."""
    labels: Tensor
    """int64 [B]."""

    def select(self, frames_B: Tensor, drawn_BN: Tensor | None = None) -> "Patches":
        """Some frames, and of each some of its patches."""
        of = (frames_B,) if drawn_BN is None else (frames_B[:, None], drawn_BN)
        return Patches(self.pixels[of], self.inside[of], self.on_sign[of], self.labels[frames_B])

    @classmethod
    def drawn(cls, batch: Batch, seed: int) -> "Patches":
        """By the attention of a model that has learned nothing."""
        torch.manual_seed(seed)
        model = RECIPE.build().eval()
        assert isinstance(model, AttentionSampling)
        with torch.no_grad():
            a_BK = model.attend(model.standardise(batch.views))
        cells_BN = draw(a_BK, KEPT, "unordered", Generator().manual_seed(seed)).cells
        centres_BN2 = model.grid.centres(cells_BN, batch.sizes, model.patch_size)
        pixels, inside = PatchReader(model.patch_size).read(batch.images, centres_BN2)
        return cls(pixels, inside, on_an_object(batch, model).gather(1, cells_BN), batch.labels)


class Maxima(nn.Module):
    """Four convolutions with batch norm, two of them strided, and the largest value over all places: length one.

    Beside ResNet8, whose mean over all places hardly holds what a tenth of the patch shows.
    """

    n_features = 64

    def __init__(self) -> None:
        super().__init__()
        widths, shapes = (3, 32, 32, 64, 64), ((5, 2), (3, 1), (3, 2), (3, 1))
        self.layers = nn.Sequential()
        for (channels, out_channels), (kernel, stride) in zip(pairwise(widths), shapes, strict=True):
            self.layers.append(nn.Conv2d(channels, out_channels, kernel, stride, kernel // 2, bias=False))
            self.layers.extend((nn.BatchNorm2d(out_channels), nn.ReLU()))

    def forward(self, patches_MCPP: Tensor) -> Tensor:
        """Features of unit length [M, 64]."""
        return functional.normalize(self.layers(patches_MCPP).amax((2, 3)), dim=-1)


class PatchClassifier(nn.Module):
    """Logits of frames and of their patches, from features alone."""

    def __init__(self, features: FeatureNetwork, by: Supervision) -> None:
        super().__init__()
        self.by, self.features, self.classifier = by, features, unit_classifier(features.n_features, 1)
        self.standardise = Standardise(RECIPE.mean, RECIPE.std)

    def forward(self, patches: Patches, mirrored_B: Tensor | None = None) -> Tensor:
        """Of each frame [B] by labels, of each patch [B, N] by boxes."""
        values_BNCPP = self.standardise(patches.pixels, patches.inside)
        if mirrored_B is not None:
            values_BNCPP = torch.where(mirrored_B[:, None, None, None, None], values_BNCPP.flip(-1), values_BNCPP)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu"))):
            features_MD = self.features(values_BNCPP.flatten(0, 1))
        features_BND = torch.unflatten(raised(features_MD), 0, patches.on_sign.shape)
        seen = features_BND.mean(1) if self.by == "labels" else features_BND
        logits: Tensor = self.classifier(seen)[..., 0]
        return logits

    def loss(self, patches: Patches, mirrored_B: Tensor) -> Tensor:
        """Cross-entropy of what it is told."""
        targets = patches.labels if self.by == "labels" else patches.on_sign
        weight = torch.tensor(1.0 if self.by == "labels" else SIGN_WEIGHT)
        logits = self(patches, mirrored_B)
        return functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), pos_weight=weight)


def fitted(model: PatchClassifier, patches: Patches, epochs: int, seed: int) -> float:
    """Train it as the rows of `paper gtsdb-levers` are; the mean loss of the last epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=RECIPE.lr)
    drop = torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(RECIPE.lr_drop * epochs)])
    generator = Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(patches.labels), generator=generator)
        losses: list[float] = []
        for frames_B in order.split(RECIPE.batch_size):
            drawn_BN = torch.rand(len(frames_B), patches.on_sign.shape[1], generator=generator).argsort(1)[:, :DRAWN]
            mirrored_B = torch.rand(len(frames_B), generator=generator) < 0.5
            loss = model.loss(patches.select(frames_B, drawn_BN), mirrored_B)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), RECIPE.clip_norm)
            optimizer.step()
            losses += [loss.item()] * len(frames_B)
        drop.step()
    return mean(losses)


@torch.no_grad()
def scored(model: PatchClassifier, patches: Patches) -> dict[str, float | None]:
    """AUROC of frames, and by boxes of patches; no patch is told anything by labels."""
    model.eval()
    logits = torch.cat(
        [model(patches.select(frames_B)) for frames_B in torch.arange(len(patches.labels)).split(RECIPE.batch_size)]
    )
    if model.by == "labels":
        return {"AUROC": binary_auroc(logits, patches.labels).item(), "AUROC of patches": None}
    return {
        "AUROC": binary_auroc(logits.amax(1), patches.labels).item(),
        "AUROC of patches": binary_auroc(logits.flatten(), patches.on_sign.flatten().long()).item(),
    }


NETWORKS: Mapping[str, Callable[[], FeatureNetwork]] = {"resnet8": ResNet8, "maxima": Maxima}


def main(options: Options) -> None:
    """Measure, and show what it comes to."""
    connect()
    catalog = catalog_of(Gtsdb(images=options.images, seed=options.seed, folds=FOLDS), options.out)
    splits = fold_splits(FOLDS, options.fold)
    train, test = (_patches(catalog, names, options.seed) for names in (splits.train, splits.test))
    touched = test.on_sign[test.labels == 1].any(1).float().mean().item()
    rows: list[dict[str, Any]] = []
    bys: tuple[Supervision, ...] = ("labels", "boxes")
    for by, name in progress(list(product(bys, NETWORKS)), " ".join):
        torch.manual_seed(options.seed)
        model = PatchClassifier(NETWORKS[name](), by)
        train_loss = fitted(model, train, options.epochs, options.seed)
        rows.append({"by": by, "network": name} | rounded({"train loss": train_loss} | scored(model, test)))
    print(table(rows))
    found = rounded({"touched_of_test": touched, "auroc_at_most": (1 + touched) / 2})
    record("with_boxes", {"train": len(train.labels), "test": len(test.labels)} | found, rows=rows)


def _patches(catalog: str, splits: tuple[str, ...], seed: int) -> Patches:
    (batch,) = in_order(read_catalog(catalog, splits=list(splits)).iterator(), batch_size=10_000)
    return Patches.drawn(batch, seed)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
