"""Whole scoring runs on a real Ray: every image has one row, whatever is there and whatever came before."""

import io
import json
import os
import signal
import uuid
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as pads
import pytest
import torch
from PIL import Image

from ats_core import bundle
from pipelines.catalog.schema import Manifest
from pipelines.errors import CatalogError
from pipelines.lost import LOST, MAX_RETRIES
from pipelines.scoring import stream
from pipelines.scoring.inputs import list_images
from pipelines.scoring.names import safe_name
from pipelines.scoring.options import ScoreOptions
from pipelines.scoring.schema import ATTENTION, SCORES
from pipelines.scoring.score import ScoringError, refuse_failures, score
from pipelines.scoring.stream import FEW_CPUS, HELPERS, Sizes
from pipelines.storage import objects
from tests.ray.conftest import TOY

ODD_NAMES = ["a b.png", "it's.png", "ä…é.png", "100 %.png", "a..b.png", "sub/a b.png"]
BROKEN = {"text.jpg": "not_an_image", "nothing.png": "empty", "cut.png": "truncated", "bomb.png": "too_large"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of random weights."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    bundle.save(TOY.build(), TOY, folder)
    return str(folder)


def png(seed: int) -> bytes:
    rng, buffer = np.random.default_rng(seed), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def fill(folder: str) -> None:
    """Good images of odd names, and broken ones."""
    for i, name in enumerate(ODD_NAMES):
        objects.write_bytes(objects.join(folder, name), png(i))
    bomb = bytearray(png(0))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height in its header
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    data = {"text.jpg": b"hello", "nothing.png": b"", "cut.png": png(1)[:-2000], "bomb.png": bytes(bomb)}
    for name, content in data.items():
        objects.write_bytes(objects.join(folder, name), content)


def rows_of(out: str) -> dict[str, dict[str, Any]]:
    """By image, of which none is there twice."""
    filesystem, path = objects.arrow_filesystem(objects.join(out, "scores"))
    rows = pads.dataset(path, filesystem=filesystem, schema=SCORES).to_table().to_pylist()
    by_image = {row["image_id"]: row for row in rows}
    assert len(by_image) == len(rows)
    return by_image


def test_every_image_has_one_row_and_only_what_changed_is_scored_again(ray_local: None, model: str, s3: str) -> None:
    images, out = objects.join(s3, "images"), objects.join(s3, "out")
    fill(images)
    options = {"model": model, "images": images, "out": out, "max_failed": 0.4, "attention": True, "geojson": True}
    summary = score(ScoreOptions(**options, overlays=2))
    first = rows_of(out)
    assert {name: row["status"] for name, row in first.items()} == dict.fromkeys(ODD_NAMES, "ok") | BROKEN
    assert (summary["images"], summary["scored_now"], summary["failed_share"]) == (10, 10, 0.4)
    assert summary == json.loads(objects.read_bytes(objects.join(out, "summary.json")))
    assert all(row["error"] for name, row in first.items() if name in BROKEN)
    drawn = {objects.relative(uri, f"{out}/geojson") for uri in objects.list_uris(f"{out}/geojson")}
    assert drawn == {f"{safe_name(name)}.geojson" for name in ODD_NAMES}
    assert len(objects.list_uris(f"{out}/overlays")) == 2
    filesystem, path = objects.arrow_filesystem(f"{out}/attention")
    maps = pads.dataset(path, filesystem=filesystem, schema=ATTENTION).to_table().to_pylist()
    assert sorted(row["image_id"] for row in maps) == sorted(ODD_NAMES)
    assert all(len(row["attention"]) == row["rows"] * row["columns"] == 256 for row in maps)

    assert score(ScoreOptions(**options))["scored_now"] == 0
    assert str(rows_of(out)) == str(first)
    objects.write_bytes(objects.join(images, ODD_NAMES[0]), png(99))
    objects.write_bytes(objects.join(images, "new.png"), png(7))
    objects.delete([objects.join(images, ODD_NAMES[1])])
    assert score(ScoreOptions(**options))["scored_now"] == 2
    second = rows_of(out)
    assert second.keys() == first.keys() - {ODD_NAMES[1]} | {"new.png"}
    changed = {name for name in second.keys() & first.keys() if str(second[name]) != str(first[name])}
    assert changed == {ODD_NAMES[0]}
    assert score(ScoreOptions(**options, seed=1))["scored_now"] == 10
    assert {row["model"] for row in rows_of(out).values()}.isdisjoint(row["model"] for row in second.values())


def test_too_many_failures_are_an_error_but_all_rows_are_there(ray_local: None, model: str, tmp_path: Path) -> None:
    fill(str(tmp_path / "images"))
    options = ScoreOptions(model=model, images=str(tmp_path / "images"), out=str(tmp_path / "out"), max_failed=0.39)
    with pytest.raises(ScoringError, match="of 10 images failed 1 empty, 1 not_an_image, 1 too_large, 1 truncated"):
        refuse_failures(score(options), options)
    assert len(rows_of(options.out)) == 10


def test_a_catalog_is_scored_as_its_images_are(
    ray_local: None, model: str, toy_images: Path, toy_catalog: str, tmp_path: Path
) -> None:
    """By splits, with its labels; without it the same is said of the same images."""
    summary = score(ScoreOptions(model=model, images=toy_catalog, splits=("test",), out=str(tmp_path / "of_catalog")))
    assert summary["n_test"] == summary["images"] == 16
    labels = str(toy_images / "labels.csv")
    kept = str(tmp_path / "kept")
    score(
        ScoreOptions(
            model=model, images=str(toy_images), labels=labels, out=str(tmp_path / "of_images"), save_catalog=kept
        )
    )
    score(ScoreOptions(model=model, images=str(toy_images), labels=labels, out=str(tmp_path / "on_the_way")))
    assert Manifest.read(kept).images_by("split") == {"test": 16, "train": 32}
    of_catalog, of_images, on_the_way = (rows_of(str(tmp_path / n)) for n in ("of_catalog", "of_images", "on_the_way"))
    assert len(of_images) == len(on_the_way) == 48
    for name, row in of_catalog.items():
        for other in (of_images[name], on_the_way[name]):
            assert row["patches"] == other["patches"]
            assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
            assert (row["label"], row["etag"]) == (other["label"], other["etag"])
        assert row["requests"] < on_the_way[name]["requests"]
    wrong = [row["label"] != row["prediction"] for row in of_catalog.values()]
    assert summary["test_error"] == pytest.approx(np.mean(wrong))
    with pytest.raises(CatalogError, match=r"holds scores of splits \['test'\], not \['train'\]"):
        score(ScoreOptions(model=model, images=toy_catalog, splits=("train",), out=str(tmp_path / "of_catalog")))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "scores.json").write_text("{")
    with pytest.raises(CatalogError, match="cannot be understood"):
        score(ScoreOptions(model=model, images=toy_catalog, out=str(tmp_path / "damaged")))


def test_a_kept_catalog_is_used_as_long_as_it_is_of_the_images(ray_local: None, s3: str) -> None:
    images, kept = objects.join(s3, "images"), objects.join(s3, "kept")
    fill(images)
    options = ScoreOptions(model="m", images=images, out=s3, save_catalog=kept)

    def written() -> list[str]:
        found = list_images(options, (8, 8))
        assert found.catalog == kept
        listing = found.listing.to_pylist()
        stats = objects.list_stats(images)
        assert {row["uri"]: row["etag"] for row in listing} == {uri: stat.etag for uri, stat in stats.items()}
        assert all(row["etag"] and row["n_bytes"] == stats[row["uri"]].size for row in listing)
        return objects.list_uris(kept)

    first = written()
    assert written() == first
    objects.write_bytes(objects.join(images, ODD_NAMES[0]), png(99))
    assert {uri for uri in written() if uri.endswith(".parquet")}.isdisjoint(first)
    with pytest.raises(CatalogError, match=r"a catalog of LabelsCsv\(images='.*/images'.*, not of .*/images/sub'"):
        list_images(replace(options, images=objects.join(images, "sub")), (8, 8))
    with pytest.raises(CatalogError, match="no catalog"):
        list_images(replace(options, save_catalog=images), (8, 8))


def test_an_image_that_kills_its_process_is_alone_without_scores(
    ray_local: None, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, deaths = tmp_path / "images", tmp_path / "deaths"
    deaths.mkdir()
    for i in range(12):
        objects.write_bytes(str(images / f"{i}.png"), png(i))

    class Deadly(stream.Read):
        def _read(self, rows: list[dict[str, Any]]) -> None:
            if any(row["image_id"] == "3.png" for row in rows):
                (deaths / uuid.uuid4().hex).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            super()._read(rows)

    monkeypatch.setattr(stream, "Read", Deadly)
    score(ScoreOptions(model=model, images=str(images), out=str(tmp_path / "out"), max_failed=0.1))
    rows = rows_of(str(tmp_path / "out"))
    assert {name: row["error"] for name, row in rows.items() if row["status"] != "ok"} == {"3.png": LOST}
    assert len(rows) == 12
    assert len(list(deaths.iterdir())) == 2 * (1 + MAX_RETRIES)  # in its block, then alone


@pytest.mark.parametrize(
    ("cluster", "options", "expected"),
    [
        ({"CPU": 2}, {}, (2, 2, 2)),
        ({"CPU": 4, "GPU": 1}, {}, (1, 4, 1)),
        ({"CPU": 64, "GPU": 4}, {}, (4, None, 4)),
        ({"CPU": 64, "GPU": 4}, {"device": "cpu"}, (None, None, None)),
        ({"CPU": 64, "GPU": 4}, {"classify_actors": 2, "read_actors": 30}, (4, 30, 2)),
        ({"CPU": 4}, {"propose_actors": 1, "read_actors": 3, "classify_actors": 9}, (1, 3, 9)),
        ({}, {}, (None, None, None)),
        ({"CPU": 0}, {"device": "gpu"}, (None, None, None)),
    ],
)
def test_stages_fit_the_cluster(
    cluster: dict[str, float], options: dict[str, Any], expected: tuple[int | None, int | None, int | None]
) -> None:
    """All processes have room where CPUs are few; where the cluster may grow, each has a CPU, and none is too many."""
    sizes = Sizes.of(ScoreOptions(model="m", images="i", **options), cluster)
    assert (sizes.propose, sizes.read, sizes.classify) == expected
    cpus, gpus = cluster.get("CPU", 0), cluster.get("GPU", 0)
    if 0 < cpus < FEW_CPUS:
        assert (sum(expected) + HELPERS) * sizes.cpu["num_cpus"] == pytest.approx(cpus)
    else:
        assert sizes.cpu == {"num_cpus": 1}
    on_gpu = options.get("device") == "gpu" or (gpus > 0 and "device" not in options)
    assert (sizes.device, sizes.network.get("num_gpus", 0)) == (("cuda", 0.5) if on_gpu else ("cpu", 0))
