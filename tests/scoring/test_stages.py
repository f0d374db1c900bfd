"""Blocks through the stages, in this process: what a row says is what the model says."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ats_core import bundle
from ats_core.errors import RecipeError
from ats_core.models import AttentionSampling
from ats_core.recipes import Recipe
from pipelines.catalog.describe import describe
from pipelines.catalog.schema import SCHEMA
from pipelines.scoring.inputs import LISTING, Inputs, list_images
from pipelines.scoring.model import Scorer, load
from pipelines.scoring.options import ScoreOptions
from pipelines.scoring.schema import SCORES
from pipelines.scoring.stages.block import BLANK, attempt, table
from pipelines.scoring.stages.classify import Classify
from pipelines.scoring.stages.open import open_images
from pipelines.scoring.stages.propose import Propose
from pipelines.scoring.stages.read import Read, groups
from pipelines.storage.images import decode, make_view
from pipelines.storage.patches import ImageRef, PatchReader

SMALL = Recipe(
    task="small",
    classes=("a", "b", "c"),
    view_size=(12, 16),
    patch_size=16,
    attention="dense",
    features="lenet",
    n_patches=4,
    mil_grid=(3, 4),
)
SIZES = [(60, 80), (64, 64), (100, 40), (10, 12), (61, 83)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photographs of noise, and one that is none."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i, size in enumerate(SIZES):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{i} %.png")
    (folder / "text.jpg").write_text("no image")
    return folder


def saved(folder: Path, **settings: Any) -> str:
    """A model of random weights."""
    torch.manual_seed(0)
    recipe = replace(SMALL, **settings)
    bundle.save(recipe.build(), recipe, folder)
    return str(folder)


def scores(
    images: Path, model: str, out: Path, *, chosen: Sequence[int] | None = None, **options: Any
) -> list[dict[str, Any]]:
    """The rows of all images of a folder, or of those at some positions, as one block."""
    asked = ScoreOptions(model=model, images=str(images), out=str(out), precision="float32", **options)
    scorer = Scorer.of(asked)
    inputs = list_images(asked, scorer.recipe.view_size)
    todo = np.arange(len(inputs.listing)) if chosen is None else np.array(chosen)
    (block,) = inputs.blocks(todo, 64)
    return through(stages_of(scorer, asked.attention), open_images(block, scorer.recipe.view_size, None))


def stages_of(scorer: Scorer, keep_attention: bool = False) -> list[Any]:
    """Those after the first, four images at once."""
    of_networks = {"device": "cpu", "at_once": 4, "keep_attention": keep_attention}
    read = [Read(scorer.recipe.patch_size, scorer.n_patches, at_once=4)] if scorer.n_patches else []
    return [Propose(scorer, **of_networks), *read, Classify(scorer, **of_networks)]


def through(stages: Sequence[Any], block: pa.Table) -> list[dict[str, Any]]:
    for stage in stages:
        block = pa.concat_tables(stage(block))
    return block.to_pylist()


@pytest.mark.parametrize("model", ["ats", "uniform", "deep_mil", "ips", "cnn"])
def test_a_row_says_what_the_model_says_of_the_same_patches(images: Path, tmp_path: Path, model: str) -> None:
    uri = saved(tmp_path / "model", model=model)
    network, recipe = load(uri)
    reader = PatchReader(recipe.patch_size)
    rows = scores(images, uri, tmp_path)
    assert [row["status"] for row in rows] == ["ok"] * 5 + ["not_an_image"]
    pa.Table.from_pylist(rows, schema=SCORES)
    for row in rows[:5]:
        reference = ImageRef(row["uri"], row["height"], row["width"])
        centres_1N2 = torch.tensor([(patch["y"], patch["x"]) for patch in row["patches"]]).reshape(1, -1, 2).long()
        view = torch.from_numpy(make_view(decode(Path(row["uri"]).read_bytes(), ""), recipe.view_size))
        with torch.no_grad():
            standard = network.standardise(view[None])
            every = torch.arange(network.grid.n_cells)[None]
            size_12 = torch.tensor([[row["height"], row["width"]]])
            all_centres = network.grid.centres(every, size_12, recipe.patch_size)[0].tolist()
            if isinstance(network, AttentionSampling):
                cells = [all_centres.index(centre) for centre in centres_1N2[0].tolist()]
                assert len(set(cells)) == recipe.n_patches
                found = network.propose(standard)
                a_BK = network.attend(standard)
                q_BN = a_BK.double().gather(1, torch.tensor([cells]))
                found = replace(found, cells=torch.tensor([cells]), proposal=q_BN, undrawn=1 - q_BN.sum(-1))
                found = found.prefix(recipe.n_patches)
            else:
                found = network.propose(standard)
                assert row["n_patches"] == found.cells.shape[1] == {"cnn": 0}.get(model, 12)
                centres_1N2 = torch.tensor(all_centres)[None, : row["n_patches"]]
            pixels, inside = (
                reader.read([reference], centres_1N2)
                if row["n_patches"]
                else (torch.zeros(1, 0, 1, 1, 3, dtype=torch.uint8), torch.zeros(1, 0, 1, 1, dtype=torch.bool))
            )
            output = network(standard, found, network.standardise(pixels, inside))
        torch.testing.assert_close(
            torch.tensor([row["probabilities"]]), output.logits.softmax(-1), atol=1e-5, rtol=1e-4
        )
        assert row["prediction"] == recipe.classes[int(output.logits.argmax())]
        assert row["requests"] > 0
        assert row["bytes_read"] > 0


def test_the_standard_error_is_that_of_the_margin(images: Path, tmp_path: Path) -> None:
    """Drawn a hundred times, the margin's spread is no larger than what one draw says on average."""
    uri = saved(tmp_path / "model", estimator="sequential")
    margins, errors = [], []
    for seed in range(100):
        row = scores(images, uri, tmp_path, chosen=[0], seed=seed)[0]
        p = sorted(row["probabilities"])
        margins.append(np.log(p[-1] / p[-2]))
        errors.append(row["standard_error"])
    assert len({round(margin, 6) for margin in margins}) > 90
    assert np.std(margins) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.3)


def test_an_image_is_drawn_alike_in_any_block(images: Path, tmp_path: Path) -> None:
    uri = saved(tmp_path / "model")
    together = scores(images, uri, tmp_path)
    for chosen in ([2], [0, 5], [1, 3, 4]):
        for at, row in zip(chosen, scores(images, uri, tmp_path, chosen=chosen), strict=True):
            whole = together[at]
            assert row["image_id"] == whole["image_id"]
            assert [(p["y"], p["x"]) for p in row["patches"]] == [(p["y"], p["x"]) for p in whole["patches"]]
            assert row["probabilities"] == pytest.approx(whole["probabilities"], abs=1e-5)
    other = scores(images, uri, tmp_path, seed=1)
    assert [row["patches"] for row in other[:5]] != [row["patches"] for row in together[:5]]


def relative(row: dict[str, Any]) -> float:
    """The standard error of the margin over the margin."""
    second, first = sorted(row["probabilities"])[-2:]
    return float(row["standard_error"] / np.log(first / second))


def test_patches_are_drawn_on_until_the_margin_is_known(images: Path, tmp_path: Path) -> None:
    """Each image stops at the first size that is good enough, and then says what a fixed size would have said."""
    uri = saved(tmp_path / "model")
    fixed = {n: scores(images, uri, tmp_path, n_patches=n, until=1e-9, max_patches=n) for n in (4, 8, 12, 18, 27, 30)}
    bound = float(np.median([relative(row) for row in fixed[12][:5]]))
    rows = scores(images, uri, tmp_path, n_patches=4, until=bound, max_patches=30)
    assert len({row["n_patches"] for row in rows[:5]}) > 1
    for i, row in enumerate(rows[:5]):
        assert row["n_patches"] in fixed
        same = fixed[row["n_patches"]][i]
        assert row["n_patches"] == 30 or relative(row) <= bound * (1 + 1e-4)
        assert all(relative(fixed[n][i]) > bound * (1 - 1e-4) for n in fixed if n < row["n_patches"])
        assert row["probabilities"] == pytest.approx(same["probabilities"], abs=1e-5)
        assert [(p["y"], p["x"]) for p in row["patches"]] == [(p["y"], p["x"]) for p in same["patches"]]
        assert row["requests"] >= same["requests"]
    assert rows[5]["status"] == "not_an_image"


def test_attention_is_kept_where_it_is_wanted(images: Path, tmp_path: Path) -> None:
    for model in ("ats", "deep_mil"):
        rows = scores(images, saved(tmp_path / model, model=model), tmp_path, attention=True)
        for row in rows[:5]:
            a_K = np.frombuffer(row["attention"], np.float16).astype(float)
            assert a_K.sum() == pytest.approx(1, abs=1e-2)
            heaviest = max(patch["attention"] for patch in row["patches"])
            assert heaviest <= a_K.max() * 1.01
        assert rows[5]["attention"] == b""


def test_an_image_that_is_lost_on_the_way_keeps_its_row(images: Path, tmp_path: Path) -> None:
    uri = saved(tmp_path / "model")
    asked = ScoreOptions(model=uri, images=str(images), out=str(tmp_path))
    scorer = Scorer.of(asked)
    inputs = list_images(asked, scorer.recipe.view_size)
    (block,) = inputs.blocks(np.arange(6), 64)
    propose, *others = stages_of(scorer)
    lost = through([propose], open_images(block, scorer.recipe.view_size, None))
    lost[1]["uri"] = str(images / "gone.png")
    rows = through(others, table(lost))
    assert [row["status"] for row in rows] == ["ok", "missing", "ok", "ok", "ok", "not_an_image"]
    for row in (rows[1], rows[5]):
        assert row["error"]
        assert (row["prediction"], row["probabilities"], row["patches"], row["n_patches"]) == ("", [], [], 0)
        assert np.isnan(row["standard_error"])


def test_a_model_is_named_by_its_files_and_by_how_it_is_asked(tmp_path: Path) -> None:
    uri = saved(tmp_path / "run" / "model")

    def name(model: str = uri, **options: Any) -> str:
        return Scorer.of(ScoreOptions(model=model, images=".", **options)).name

    assert name() == name(str(tmp_path / "run"))
    assert name().startswith("run@")
    different = [name(), name(seed=1), name(n_patches=5), name(until=0.1), name(until=0.1, max_patches=50)]
    different += [name(precision="float32"), name(attention=True), name(geojson=True)]
    different.append(name(saved(tmp_path / "other", epochs=7)))
    assert len({each.split("@")[1] for each in different}) == len(different)


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        ("deep_mil", {"n_patches": 3}, "draws no patches"),
        ("cnn", {"until": 0.1}, "draws no patches"),
        ("cnn", {"attention": True}, "it has none"),
        ("ats", {"n_patches": 1000}, "192 cells"),
        ("ats", {"max_patches": 50}, "is not given"),
        ("ats", {"n_patches": 20, "until": 0.1, "max_patches": 10}, "at most"),
    ],
)
def test_what_a_model_cannot_do_is_refused(tmp_path: Path, model: str, options: dict[str, Any], reason: str) -> None:
    uri = saved(tmp_path / model, model=model)
    with pytest.raises(RecipeError, match=reason):
        Scorer.of(ScoreOptions(model=uri, images=".", **options))


def test_the_weights_of_a_row_are_those_of_its_prefix(images: Path, tmp_path: Path) -> None:
    """By `unordered` they add up to one, and those of a longer draw do not, cut short."""
    rows = scores(images, saved(tmp_path / "model"), tmp_path, until=1e-9, n_patches=3, max_patches=9)
    for row in rows[:5]:
        assert row["n_patches"] == 9
        assert sum(patch["weight"] for patch in row["patches"]) == pytest.approx(1, abs=1e-5)


def unreadable(rows: Sequence[dict[str, Any]]) -> list[int]:
    return [at for at, row in enumerate(rows) if row["status"] == "unreadable"]


def test_an_image_that_a_step_cannot_do_is_given_up_alone(images: Path, tmp_path: Path) -> None:
    """Whatever is raised of it, in whichever step; the others are as they would be without it."""
    asked = ScoreOptions(model=saved(tmp_path / "model"), images=str(images), out=str(tmp_path), precision="float32")
    scorer, inputs = Scorer.of(asked), list_images(asked, SMALL.view_size)
    (block,) = inputs.blocks(np.arange(6), 64)
    quiet = through(stages_of(scorer), open_images(block, SMALL.view_size, None))
    listed = block.to_pylist()
    listed[1]["uri"] = None
    opened = open_images(pa.Table.from_pylist(listed, schema=block.schema), SMALL.view_size, None)
    rows = through(stages_of(scorer), opened)
    assert unreadable(rows) == [1]
    for number, column in enumerate(("view", "centres", "pixels")):
        stages = stages_of(scorer)  # whose readers have read nothing
        before = through(stages[:number], open_images(block, SMALL.view_size, None))
        before[2][column] = b"damaged"
        rows = through(stages[number:], table(before))
        assert unreadable(rows) == [2]
        assert rows[2]["error"].startswith("ValueError: ")
        assert (rows[2]["prediction"], rows[2]["patches"], rows[2]["attention"]) == ("", [], b"")
        for at in (0, 1, 3, 4, 5):
            assert 0 < rows[at]["requests"] <= quiet[at]["requests"]  # less where the first try has left the bytes
            assert rows[at]["probabilities"] == pytest.approx(quiet[at]["probabilities"], abs=1e-5)


def test_what_a_step_did_before_it_raised_is_forgotten() -> None:
    rows = [{"uri": name, "status": "ok", "error": "", "requests": 1} for name in "abc"]

    def step(some: list[dict[str, Any]]) -> None:
        for row in some:
            row["requests"] += 1
            if row["uri"] == "b":
                raise KeyError("why")

    attempt(step, rows)
    assert [row["requests"] for row in rows] == [2, 1, 2]
    assert [row["status"] for row in rows] == ["ok", "unreadable", "ok"]
    assert rows[1]["error"] == "KeyError: 'why'"


@pytest.mark.parametrize("model", ["ats", "cnn"])
def test_a_model_without_finite_logits_says_nothing(images: Path, tmp_path: Path, model: str) -> None:
    uri = saved(tmp_path / "model", model=model)
    network, recipe = load(uri)
    with torch.no_grad():
        list(network.parameters())[-1].fill_(torch.nan)
    bundle.save(network, recipe, Path(uri))
    for more in ({}, {"until": 0.1}) if model == "ats" else ({},):
        rows = scores(images, uri, tmp_path, **more)
        assert unreadable(rows) == [0, 1, 2, 3, 4]
        assert {row["error"] for row in rows[:5]} == {"the model says no finite logits"}
        assert all(row["prediction"] == "" and row["attention"] == b"" for row in rows)


def test_objects_that_are_read_whole_are_read_a_few_at_a_time() -> None:
    blank = BLANK | {"uri": "x.png", "height": 8, "width": 8}
    tiled = blank | {"index": b"an index, if a damaged one", "n_bytes": 1000}
    rows = [blank | {"n_bytes": n} for n in (60, 40, 1)] + [tiled] + [blank | {"n_bytes": n} for n in (200, 0, 5)]
    assert [[row["n_bytes"] for row in group] for group in groups(rows, at_most=100)] == [
        [60, 40],
        [1, 1000],
        [200, 0],
        [5],
    ]


def test_what_a_catalog_could_not_read_is_opened_again(images: Path, tmp_path: Path) -> None:
    """Where the failure may have passed, or where the image is another now; else it is as the catalog says."""
    listing = list_images(ScoreOptions(model="m", images=str(images)), SMALL.view_size).listing
    known = describe(listing.select(["image_id", "uri"]), SMALL.view_size).to_pylist()
    failed = {"height": 0, "width": 0, "view": b"", "reason": "then"}
    known[0] |= failed | {"status": "missing", "etag": ""}
    known[1] |= failed | {"status": "truncated", "etag": ""}
    known[2] |= failed | {"status": "truncated", "etag": ""}
    schema = pa.schema([field for field in SCHEMA if field.name in known[0]])
    pq.write_table(pa.Table.from_pylist(known, schema=schema), tmp_path / "a.parquet")
    rows = listing.to_pylist()
    for row, was in zip(rows, known, strict=True):
        row |= {"file": "a.parquet", "etag": row["etag"] if row["image_id"] == known[1]["image_id"] else was["etag"]}
    block = next(Inputs(pa.Table.from_pylist(rows, schema=LISTING), str(tmp_path)).blocks(np.arange(6), 64))
    opened = open_images(block, SMALL.view_size, str(tmp_path)).to_pylist()
    assert [row["status"] for row in opened] == ["ok", "ok", "truncated", "ok", "ok", "not_an_image"]
    assert [row["requests"] > 0 for row in opened[:5]] == [True, True, False, False, False]
    assert opened[2]["error"] == "then"
