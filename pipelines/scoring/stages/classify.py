"""Patches -> a row of scores for each image. Shapes: B images, N drawn cells, K cells, C classes, D features."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ats_core.features import features_of_patches
from ats_core.models import AttentionSampling
from ats_core.sampling import Draw
from pipelines.scoring.adaptive import margin_error, next_size, unsure
from pipelines.scoring.model import Scorer
from pipelines.scoring.patience import PATIENT
from pipelines.scoring.stages.block import Row, attempt, centres, give_up, good, result, sliced
from pipelines.scoring.stages.networks import Networks, half
from pipelines.scoring.stages.read import read_patches
from pipelines.storage.patches import PatchReader

HEAVIEST = 100  # patches kept in the row of a model that reads a whole grid


class Classify(Networks):
    """Patches -> a row of scores for each image; with a bound of the standard error, it reads on where that takes it.

    Args:
        scorer: the model.
        options: as of `Networks`.
    """

    def __init__(self, scorer: Scorer, **options: Any) -> None:
        super().__init__(scorer, **options)
        self.reader = PatchReader(self.model.patch_size, network=PATIENT)

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """The block's scores, of RESULT."""
        for rows in sliced(block, self.at_once):
            attempt(self._classify, good(rows))
            yield result(rows, self.scorer.name)

    @torch.no_grad()
    def _classify(self, rows: Sequence[Row]) -> None:
        with self.autocast:
            if isinstance(self.model, AttentionSampling):
                self._estimate(self.model, rows)
            else:
                self._say(rows)

    def _estimate(self, model: AttentionSampling, rows: Sequence[Row]) -> None:
        """By attention sampling: from the first patches, then from more of those images that these leave unsure."""
        n, f_BND = self.scorer.n_patches, features_of_patches(model.features, self._first_patches(rows))
        while rows:
            draw = self._draws(rows).prefix(n)
            logits_BC = model.classify(draw.proposal.to(f_BND.dtype), f_BND, draw)
            error_B = margin_error(model, logits_BC, f_BND, draw)
            for i, row in enumerate(rows):
                self._tell(row, logits_BC[i], float(error_B[i]), draw.proposal[i], draw.weights[i])
            if self.scorer.until is None or n == self.scorer.most:
                return
            going_on = unsure(logits_BC, error_B, self.scorer.until).nonzero().flatten().tolist()
            if not going_on:
                return
            more = next_size(n, self.scorer.n_patches, self.scorer.most)
            rows, f_BND = self._read_on(model, [rows[i] for i in going_on], f_BND[going_on], more)
            n = more

    def _read_on(
        self, model: AttentionSampling, rows: Sequence[Row], f_BND: Tensor, more: int
    ) -> tuple[list[Row], Tensor]:
        """The images whose next patches could be read, up to so many, and the features of all of these.

        As many patches are held together as the first ones of a batch are.
        """
        n = f_BND.shape[1]
        at_once = max(1, self.at_once * self.scorer.n_patches // (more - n))
        groups = [slice(start, start + at_once) for start in range(0, len(rows), at_once)]
        found = [self._next(model, rows[group], f_BND[group], more) for group in groups]
        return [row for some, _ in found for row in some], torch.cat([f_BND for _, f_BND in found])

    def _next(
        self, model: AttentionSampling, rows: Sequence[Row], f_BND: Tensor, more: int
    ) -> tuple[list[Row], Tensor]:
        n = f_BND.shape[1]
        read = read_patches(self.reader, rows, n, more)
        kept = [i for i, pixels in enumerate(read) if pixels is not None]
        if not kept:
            return [], f_BND.new_empty(0, more, f_BND.shape[2])
        rows = [rows[i] for i in kept]
        next_BMCPP = self.patches([pixels for pixels in read if pixels is not None], rows, first=n)
        return rows, torch.cat([f_BND[kept], features_of_patches(model.features, next_BMCPP)], dim=1)

    def _say(self, rows: Sequence[Row]) -> None:
        """By a model that reads what it always reads: nothing is estimated."""
        draw = self._draws(rows)
        output = self.model(self.views(rows), draw, self._first_patches(rows))
        for i, row in enumerate(rows):
            a_N = output.attention[i, draw.cells[i]]
            self._tell(row, output.logits[i], 0.0, a_N, a_N)
            if self.keep_attention and self.model.grid.n_cells > 1:
                row["attention"] = half(output.attention[i])

    def _first_patches(self, rows: Sequence[Row]) -> Tensor:
        """Those that came with the block."""
        shape = (-1, self.model.patch_size, self.model.patch_size, 3)
        return self.patches([np.frombuffer(row["pixels"], np.uint8).reshape(shape) for row in rows], rows)

    def _draws(self, rows: Sequence[Row]) -> Draw:
        """The draws of all cells of the rows, as one."""
        types = {"cells": np.int64, "proposal": np.float64, "weights": np.float64}
        arrays = {
            name: torch.from_numpy(np.stack([np.frombuffer(row[name], dtype) for row in rows])).to(self.device)
            for name, dtype in types.items()
        }
        undrawn_B = torch.tensor([row["undrawn"] for row in rows], dtype=torch.float64, device=self.device)
        return Draw(**arrays, undrawn=undrawn_B, estimator=self.scorer.estimator)

    def _tell(self, row: Row, logits_C: Tensor, error: float, a_N: Tensor, weights_N: Tensor) -> None:
        """Write into the row of an image what was found, and from what."""
        if not bool(logits_C.isfinite().all()):
            give_up(row, "the model says no finite logits")
            return
        probabilities_C = logits_C.double().softmax(-1)
        kept = np.arange(len(a_N)) if self.scorer.draws else np.sort((-a_N.cpu()).argsort(stable=True)[:HEAVIEST])
        yx, a, weights = centres(row)[kept].tolist(), a_N[kept].tolist(), weights_N[kept].tolist()
        row |= {
            "prediction": self.scorer.recipe.classes[int(probabilities_C.argmax())],
            "probabilities": probabilities_C.tolist(),
            "standard_error": error,
            "n_patches": len(a_N),
            "patches": [
                {"y": y, "x": x, "attention": at, "weight": w} for (y, x), at, w in zip(yx, a, weights, strict=True)
            ],
        }
