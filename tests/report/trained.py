"""Runs with a real model, catalog and images on disk, as a training leaves them; the models have learned nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from ats_core import bundle
from ats_core.recipes import Recipe
from pipelines.catalog.schema import BOX_SIDES, SCHEMA, Manifest
from pipelines.training.options import TrainOptions
from pipelines.training.run_directory import RunDirectory
from tests.report.written import epoch

SIZE, VIEW = (48, 64), (12, 16)
CLASSES = ("no", "yes")
RECIPE = Recipe(
    task="toy",
    classes=CLASSES,
    view_size=VIEW,
    patch_size=20,
    attention="dense",
    features="lenet",
    n_patches=3,
    mil_grid=(2, 3),
)
EPOCHS = (1, 2, 4)


def write_catalog(
    folder: Path, image_ids: Sequence[str], boxes: Mapping[str, Sequence[tuple[float, ...]]] | None = None
) -> str:
    """Noise of `SIZE` as PNGs in FOLDER-images, labels 0, 1, 0, 1 ..., and their catalog in the folder; its URI."""
    images = folder.with_name(f"{folder.name}-images")
    for one in (folder, images):
        one.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for i, image_id in enumerate(image_ids):
        pixels = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{i}.png")
        view = np.asarray(Image.fromarray(pixels).resize(VIEW[::-1], Image.Resampling.BOX))
        sizes = dict(zip(("height", "width", "view_height", "view_width"), (*SIZE, *VIEW), strict=True))
        sides = [dict(zip(BOX_SIDES, box, strict=True)) for box in (boxes or {}).get(image_id, ())]
        texts = {"uri": str(images / f"{i}.png"), "etag": "", "group": "", "split": "test", "status": "ok"}
        rows.append(
            dict.fromkeys(SCHEMA.names)
            | {"image_id": image_id, "label": i % 2, "channels": 3, "n_bytes": 0, "index": b"", "view": view.tobytes()}
            | {"boxes": sides}
            | sizes
            | texts
        )
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "part.parquet")
    Manifest(source="", classes=CLASSES, view_size=VIEW, created_by="a test").write(str(folder))
    return str(folder)


def write_trained(
    uri: str,
    catalog: str,
    logits: Mapping[str, Sequence[float]],
    *,
    labels: Mapping[str, int] | None = None,
    seed: int = 0,
    kept: Sequence[str] = (),
    **settings: Any,
) -> str:
    """A finished run whose evaluation said `logits` of each image; labels are 0, 1, 0, 1 ... unless given.

    `kept` are the images of which it kept the attention, which has learned nothing but grows sharper.
    """
    recipe, directory = replace(RECIPE, **settings), RunDirectory(uri)
    options = asdict(TrainOptions(seed=seed, model=recipe.model, catalog=catalog, out=str(Path(uri).parent)))
    directory.write("config.json", {"recipe": asdict(recipe), "options": options, "catalog": catalog, "started": 0.0})
    torch.manual_seed(seed)
    model = recipe.build()
    directory.write_model(bundle.dumps(model, recipe))
    said = list(labels.values()) if labels else [i % 2 for i in range(len(logits))]
    predictions = {"classes": CLASSES, "image_ids": list(logits), "labels": said, "logits": list(logits.values())}
    directory.write("predictions.json", predictions)
    wrong = [int(np.argmax(z)) != label for z, label in zip(logits.values(), said, strict=True)]
    known = {name: getattr(recipe, name) for name in ("task", "model", "n_patches", "view_size")}
    measures = {"test_error": float(np.mean(wrong)), "train_loss": 0.5, "ms_per_sample": 10.0 + recipe.n_patches}
    memory = {"memory_mb_per_sample": 2.5, "peak_memory_mb": 100.0}
    costs = memory | {"mb_per_image": 0.25, "requests_per_image": 1.5, "wall_s": 30.0}
    where = {"seed": seed, "test_splits": ["test"], "commit": "abc", "machine": "a machine", "eval_sampling": "drawn"}
    directory.write("summary.json", known | measures | costs | where | {"run": uri})
    directory.write_metrics([epoch(number, test_error=0.5 / number, ms_per_sample=10.0) for number in (1, 2, 3)])
    scores = np.random.default_rng(seed).normal(size=(len(kept), *model.grid.size))
    for number in EPOCHS if kept else ():
        maps = np.exp(scores * number)
        directory.write_attention(number, kept, maps / maps.sum((1, 2), keepdims=True))
    return uri
