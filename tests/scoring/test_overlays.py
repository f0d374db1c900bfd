"""Overlays show what was scored: the row's patches, and the attention of the model that scored."""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ats_core.errors import AtsError
from pipelines.report.examples import Example
from pipelines.report.scored import scored_examples
from pipelines.scoring.model import load
from pipelines.scoring.overlays import write_overlays
from pipelines.storage import objects
from pipelines.storage.images import make_view
from tests.report.trained import VIEW
from tests.scoring.rows import Scored, failed, scored, write_scores

IDS = ["a", "folder/b é", "../c", "d"]


def seen_again(scored: Scored, rows: list[dict[str, Any]], catalog: str | None) -> list[Example]:
    errors: dict[str, AtsError] = {}
    found = list(scored_examples(rows, load(scored.run)[0], catalog, errors))
    assert not errors
    return found


@pytest.mark.parametrize("model", ["ats", "deep_mil", "ips", "cnn"])
def test_a_row_shows_what_the_model_saw(model: str, tmp_path: Path) -> None:
    scored = Scored(tmp_path, IDS, model=model)
    for again, seen in zip(seen_again(scored, scored.rows(etag=""), scored.catalog), scored.examples, strict=True):
        for name in ("image_id", "label", "prediction", "size", "grid", "n_patches"):
            assert getattr(again, name) == getattr(seen, name), name
        for name in ("view", "centres", "patches", "boxes"):
            np.testing.assert_array_equal(getattr(again, name), getattr(seen, name))
        for name in ("attention", "weights", "probability", "standard_error"):
            np.testing.assert_allclose(getattr(again, name), getattr(seen, name), rtol=1e-5)


def test_without_a_catalog_the_view_is_made_of_the_image(tmp_path: Path) -> None:
    scored = Scored(tmp_path, IDS)
    for again, seen, uri in zip(seen_again(scored, scored.rows(), None), scored.examples, scored.uris, strict=True):
        np.testing.assert_array_equal(again.view, make_view(np.asarray(Image.open(uri)), VIEW))
        np.testing.assert_array_equal(again.patches, seen.patches)
        assert len(again.boxes) == 0


def test_the_least_certain_images_have_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scored_ = Scored(tmp_path, IDS)
    rows = [*scored_.rows(), scored("sure", (0.0, 1.0)), failed("bad", "missing", "gone")]
    out = write_scores(scored_.out, rows)
    names = {"a": "a", "folder/b é": "folder/b é", "../c": "%2E%2E/c", "d": "d"}
    written = write_overlays(out, load(scored_.run)[0], 3, catalog=None)
    assert written == [objects.join(out, "overlays", f"{names[name]}.png") for name in scored_.by_margin()[:3]]
    for uri in written:
        assert np.ptp(np.asarray(Image.open(uri))) == 255
    assert not caplog.records


def test_an_image_that_is_gone_or_another_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scored_ = Scored(tmp_path, IDS)
    out = write_scores(scored_.out, scored_.rows())
    Path(scored_.uris[0]).unlink()
    Image.new("RGB", (64, 48)).save(scored_.uris[3])
    with caplog.at_level(logging.WARNING):
        written = write_overlays(out, load(scored_.run)[0], 10, catalog=None)
    assert len(written) == 2
    assert sorted(record.getMessage().split(":")[0] for record in caplog.records) == [
        "there is no overlay of a",
        "there is no overlay of d",
    ]
    assert "overwritten since it was scored" in caplog.text


def test_from_a_bucket_to_a_bucket(tmp_path: Path, s3: str) -> None:
    scored_ = Scored(tmp_path, IDS)
    scored_.uris = [objects.join(s3, "images", Path(uri).name) for uri in scored_.uris]
    for uri in scored_.uris:
        objects.upload(f"{scored_.catalog}-images/{uri.rsplit('/', 1)[-1]}", uri)
    local = Path(write_scores(scored_.out, scored_.rows()))
    for path in local.rglob("*.*"):
        objects.upload(path, objects.join(s3, "out", path.relative_to(local).as_posix()))
    written = write_overlays(objects.join(s3, "out"), load(scored_.run)[0], 2, catalog=None)
    assert len(written) == 2
    assert all(Image.open(io.BytesIO(objects.read_bytes(uri))).format == "PNG" for uri in written)
