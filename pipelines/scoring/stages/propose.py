"""Views -> the cells to look at."""

import hashlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import torch
from torch import Generator

from ats_core.models import AttentionSampling
from pipelines.scoring.stages.block import Row, attempt, good, sliced, table
from pipelines.scoring.stages.networks import Networks, half


class Propose(Networks):
    """Views -> the cells to look at."""

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """The block, with a draw of each image."""
        for rows in sliced(block, self.at_once):
            attempt(self._propose, good(rows))
            if self.scorer.draws:
                for row in rows:
                    row["view"] = b""
            yield table(rows)

    @torch.no_grad()
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
