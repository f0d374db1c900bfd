"""Images as a scoring's rows say that its model saw them: what was drawn is in the row, and is not drawn again.

Of an image the view and the row's patches are read, never all of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ats_core.errors import AtsError
from ats_core.models import AttentionSampling, Model
from pipelines.catalog.opened import dump_index, open_image
from pipelines.report.examples import PATCHES_KEPT, Example
from pipelines.report.runs import readable_rows
from pipelines.storage.images import image_error
from pipelines.storage.patches import ImageRef, PatchReader
from pipelines.storage.stats import Counters
from pipelines.training.batches import Batch, collate

Row = Mapping[str, Any]
"""Of SCORES, as `pa.Table.to_pylist` gives it."""


def scored_examples(
    rows: Sequence[Row], model: Model, catalog: str | None, errors: dict[str, AtsError]
) -> Iterator[Example]:
    """The images of some "ok" rows one after the other, in their order; Ray is not needed.

    Args:
        rows: few of them.
        model: the one that scored, in evaluation mode.
        catalog: with the images' views; None to make these from the images.
        errors: gets those of images that cannot be read any more, or that have changed, by id.
    """
    known = _from_catalog(catalog, rows) if catalog else {}
    reader = PatchReader(model.patch_size)
    for row in rows:
        try:
            seen = known.get(row["image_id"]) or _opened(row, model.view_size)
            yield _example(row, model, reader, *seen)
        except AtsError as error:
            errors[row["image_id"]] = error


Seen = tuple[ImageRef, np.ndarray, np.ndarray]
"""An image, its view uint8 [h, w, C], and boxes [M, 4] on it."""


def _from_catalog(catalog: str, rows: Sequence[Row]) -> dict[str, Seen]:
    """Of the images that the catalog has."""
    found = readable_rows(catalog, [row["image_id"] for row in rows])
    if not len(found):
        return {}
    batch = collate({name: found[name].to_numpy(zero_copy_only=False) for name in found.column_names})
    return dict(zip(batch.image_ids, _each(batch), strict=True))


def _each(batch: Batch) -> Iterator[Seen]:
    for image, view, boxes in zip(batch.images, batch.views, batch.boxes, strict=True):
        yield image, view.numpy(), boxes.numpy()


def _opened(row: Row, view_size: tuple[int, int]) -> Seen:
    counters = Counters()
    opened = open_image(row["uri"], counters)
    height, width = opened.sizes[0]
    index = dump_index(opened, counters)
    image = ImageRef(row["uri"], height, width, etag=opened.stat.etag, n_bytes=opened.stat.size, index=index)
    return image, opened.view(view_size), np.empty((0, 4))


@torch.no_grad()
def _example(
    row: Row, model: Model, reader: PatchReader, image: ImageRef, view: np.ndarray, boxes: np.ndarray
) -> Example:
    if row["etag"] != image.etag:
        raise image_error(row["uri"], "stale", "it was overwritten since it was scored")
    patches = sorted((patch for patch in row["patches"] if patch["weight"] > 0), key=lambda patch: -patch["weight"])
    centres = np.array([(patch["y"], patch["x"]) for patch in patches[:PATCHES_KEPT]], int).reshape(-1, 2)
    probability = max(row["probabilities"])
    of_margin = row["standard_error"]
    return Example(
        image_id=row["image_id"],
        label=row["label"],
        prediction=row["prediction"],
        probability=probability,
        standard_error=probability * (1 - probability) * of_margin,  # as if all other classes were one
        size=(row["height"], row["width"]),
        view=view,
        attention=_attention(row, model, view),
        grid=model.grid,
        n_patches=row["n_patches"],
        centres=centres,
        weights=np.array([patch["weight"] for patch in patches[:PATCHES_KEPT]]),
        patches=_patches(reader, image, centres),
        boxes=boxes,
    )


def _patches(reader: PatchReader, image: ImageRef, centres_N2: np.ndarray) -> np.ndarray:
    """uint8 [N, P, P, 3]; without the reader where there are none, as an image need not be there to be looked at."""
    if not len(centres_N2):
        return np.empty((0, reader.patch_size, reader.patch_size, 3), np.uint8)
    return reader.read([image], centres_N2[None])[0][0].numpy()


def _attention(row: Row, model: Model, view: np.ndarray) -> np.ndarray:
    """float [rows, columns]: from the view; of a model that attends to patches, that of the row's, 0 elsewhere."""
    if isinstance(model, AttentionSampling):
        a_1K = model.attend(model.standardise(torch.from_numpy(view)[None]))
        return a_1K[0].float().view(model.grid.size).numpy()
    if model.grid.n_cells == 1:
        return np.ones((1, 1))
    a_K = np.zeros(model.grid.n_cells)
    cells_1K, size_12 = torch.arange(model.grid.n_cells)[None], torch.tensor([[row["height"], row["width"]]])
    centres_K2 = model.grid.centres(cells_1K, size_12, model.patch_size)[0].tolist()
    cell_at = {(y, x): cell for cell, (y, x) in enumerate(centres_K2)}
    for patch in row["patches"]:
        a_K[cell_at[patch["y"], patch["x"]]] = patch["attention"]
    return a_K.reshape(model.grid.size)
