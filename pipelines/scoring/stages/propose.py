"""Views -> the cells to look at."""

import hashlib
from collections.abc import Sequence

import pyarrow as pa
import torch
from torch import Generator

from ats_core.models import AttentionSampling
from pipelines.scoring.model import Scorer
from pipelines.scoring.stages.block import Row, good, table
from pipelines.scoring.stages.networks import Networks, half


class Propose(Networks):
    """Views -> the cells to look at.

    Args:
        scorer: the model.
        keep_attention: whether the attention over all cells is wanted of models that have it from the view.
    """

    def __init__(self, scorer: Scorer, *, keep_attention: bool) -> None:
        super().__init__(scorer)
        self.keep_attention = keep_attention

    @torch.no_grad()
    def __call__(self, block: pa.Table) -> pa.Table:
        """The block, with a draw of each image."""
        rows = block.to_pylist()
        if fine := good(rows):
            self._propose(fine)
        if self.scorer.draws:
            for row in rows:
                row["view"] = b""
        return table(rows)

    def _propose(self, rows: Sequence[Row]) -> None:
        views = self.views(rows)
        generators = [self._generator(row["image_id"]) for row in rows]
        with self.autocast:
            if isinstance(self.model, AttentionSampling):
                a_BK = self.model.attend(views)
                draw = self.model.draw_from(a_BK, generator=generators)
            else:
                draw = self.model.propose(views, generator=generators)
        sizes_B2 = torch.tensor([(row["height"], row["width"]) for row in rows])
        centres_BN2 = self.model.grid.centres(draw.cells.cpu(), sizes_B2, self.model.patch_size)
        arrays = {name: getattr(draw, name).cpu().numpy() for name in ("cells", "proposal", "weights")}
        for i, row in enumerate(rows):
            row |= {name: array[i].tobytes() for name, array in arrays.items()}
            row |= {"undrawn": float(draw.undrawn[i]), "centres": centres_BN2[i].numpy().tobytes()}
            if self.keep_attention and isinstance(self.model, AttentionSampling):
                row["attention"] = half(a_BK[i])

    def _generator(self, image_id: str) -> Generator:
        """The image's own: its draw depends on nothing else."""
        digest = hashlib.sha256(f"{self.scorer.seed} {image_id}".encode()).digest()
        return Generator(self.device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
