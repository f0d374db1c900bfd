"""The attention through the epochs, and its agreement, from run directories and catalogs on disk."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ats_core.errors import GeometryError
from ats_core.recipes import ColonCancer, Recipe, SpeedLimits
from benchmarks.paper.figures import agreement_table, evolution_of_images, evolution_of_settings
from benchmarks.paper.hardest import hardest
from pipelines.catalog.schema import BOX_SIDES, SCHEMA, Manifest
from pipelines.errors import CatalogError
from pipelines.report.agreement import agreement, final_maps
from pipelines.report.evolution import Row, draw_evolution, effective_cells
from pipelines.report.runs import RunError, attention_epochs, attention_maps, catalog_images, grid_of
from pipelines.training.run_directory import RunDirectory

SIZE, VIEW = (48, 64), (12, 16)
BOXES = {"a": [(4.0, 8.0, 12.0, 20.0), (30.0, 40.0, 40.0, 44.0)], "b": [], "c": []}
EPOCHS = (1, 5, 10, 20, 40)


def catalog_row(image_id: str, boxes: Sequence[tuple[float, ...]], status: str = "ok") -> dict[str, Any]:
    view = np.random.default_rng(len(boxes)).integers(0, 256, (*VIEW, 3)).astype(np.uint8)
    nothing = dict.fromkeys(SCHEMA.names)
    sizes = dict(zip(("height", "width", "view_height", "view_width"), (*SIZE, *VIEW), strict=True))
    sides = [dict(zip(BOX_SIDES, box, strict=True)) for box in boxes]
    return nothing | sizes | {"image_id": image_id, "boxes": sides, "status": status, "view": view.tobytes()}


@pytest.fixture
def catalog(tmp_path: Path) -> str:
    folder = tmp_path / "_mine" / "split=0"  # neither hides a file nor makes a column
    folder.mkdir(parents=True)
    rows = [catalog_row(image_id, boxes) for image_id, boxes in BOXES.items()]
    for name, part in (("1", rows[:1]), ("2", [*rows[1:], catalog_row("broken", [], "truncated")])):
        pq.write_table(pa.Table.from_pylist(part, schema=SCHEMA), folder / f"{name}.parquet")
    Manifest(source="", classes=("no", "yes"), view_size=VIEW, created_by="a test").write(str(folder))
    return str(folder)


RECIPE = ColonCancer(view_size=VIEW)


def write_run(
    uri: str,
    catalog: str,
    *,
    recipe: Recipe = RECIPE,
    epochs: Sequence[int] = EPOCHS,
    image_ids: Sequence[str] = ("a", "b"),
    seed: int = 0,
) -> str:
    directory = RunDirectory(uri)
    directory.write("config.json", {"recipe": asdict(recipe), "catalog": catalog})
    logits = np.random.default_rng(seed).normal(size=(len(image_ids), *grid_of(uri).size))
    for epoch in epochs:
        maps = np.exp(logits * epoch / 10)
        maps /= maps.sum((1, 2), keepdims=True)
        directory.write_attention(epoch, image_ids, maps.astype(np.float16))
    return uri


@pytest.fixture
def run(tmp_path: Path, catalog: str) -> str:
    return write_run(str(tmp_path / "run"), catalog)


def test_a_row_an_image_and_a_column_an_epoch(run: str, catalog: str) -> None:
    figure = draw_evolution([Row("first", run, "a"), Row("second", run, "b")], catalog, epochs=3)
    *panels, bar = figure.axes
    assert len(panels) == 2 * (1 + 3)
    assert [axes.get_title() for axes in panels] == ["image", "epoch 1", "epoch 10", "epoch 40", "", "", "", ""]
    assert [axes.get_ylabel() for axes in panels] == ["first", "", "", "", "second", "", "", ""]
    assert [text.get_text() for text in bar.get_yticklabels()] == ["min", "max"]


def test_the_first_column_is_the_view_with_its_boxes(run: str, catalog: str) -> None:
    figure = draw_evolution([Row("", run, "a"), Row("", run, "b")], catalog, epochs=1)
    with_boxes, its_map, without, _, _ = figure.axes
    np.testing.assert_array_equal(with_boxes.images[0].get_array(), catalog_images(catalog, ["a"])["a"].view)
    assert with_boxes.images[0].get_extent() == [0, 64, 48, 0]
    drawn = [(*box.get_xy(), box.get_width(), box.get_height()) for box in with_boxes.patches]
    assert drawn == [(8, 4, 12, 8), (40, 30, 4, 10)]
    assert not its_map.patches
    assert not without.patches


def test_a_map_is_normalised_to_its_own_range(run: str, catalog: str) -> None:
    figure = draw_evolution([Row("", run, "b")], catalog, epochs=[5, 40])
    for axes, epoch in zip(figure.axes[1:3], (5, 40), strict=True):
        a = attention_maps(run, epoch)["b"]
        (drawn,) = axes.images
        np.testing.assert_allclose(drawn.get_array(), (a - a.min()) / (a.max() - a.min()))
        assert (drawn.get_array().min(), drawn.get_array().max(), drawn.get_clim()) == (0, 1, (0, 1))
        assert drawn.get_cmap().name == "viridis"
        assert axes.get_xlabel() == f"{effective_cells(a):,.0f} cells"


def test_uniform_attention_is_drawn_too(tmp_path: Path, catalog: str) -> None:
    run = write_run(str(tmp_path / "uniform"), catalog, epochs=[1])
    RunDirectory(run).write_attention(1, ["a"], np.full((1, *VIEW), 1 / 192, np.float16))
    axes = draw_evolution([Row("", run, "a")], catalog).axes[1]
    assert not axes.images[0].get_array().any()
    assert axes.get_xlabel() == "192 cells"


def test_effective_cells_of_closed_forms() -> None:
    assert effective_cells(np.full((3, 5), 0.7)) == pytest.approx(15)
    assert effective_cells(np.eye(1, 9)) == pytest.approx(1)
    assert effective_cells(np.array([[0.5, 0.25, 0.25, 0.0]])) == pytest.approx(2**1.5)


def test_a_map_lies_where_its_cells_are(tmp_path: Path, run: str, catalog: str) -> None:
    dense = draw_evolution([Row("", run, "a")], catalog, epochs=1).axes[1]
    assert dense.images[0].get_extent() == [0, 64, 48, 0]
    # Valid convolutions lose 4 view pixels at each side, a cell is 8 of them wide, and here two are an image pixel.
    recipe = SpeedLimits(view_size=(96, 128))
    pooled = draw_evolution([Row("", write_run(str(tmp_path / "pooled"), catalog, recipe=recipe), "a")], catalog)
    assert pooled.axes[1].images[0].get_extent() == [2, 62, 46, 2]
    assert pooled.axes[1].images[0].get_array().shape == (11, 15)
    assert pooled.axes[1].get_ylim() == (48, 0)


@pytest.mark.parametrize(
    ("wanted", "shown"), [(5, EPOCHS), (9, EPOCHS), (2, (1, 40)), (4, (1, 5, 20, 40)), ((10, 5), (10, 5))]
)
def test_epochs_evenly_or_by_choice(run: str, catalog: str, wanted: Any, shown: tuple[int, ...]) -> None:
    figure = draw_evolution([Row("", run, "a")], catalog, epochs=wanted)
    assert [axes.get_title() for axes in figure.axes[1:-1]] == [f"epoch {epoch}" for epoch in shown]


def test_runs_are_shown_at_the_epochs_that_all_of_them_kept(tmp_path: Path, run: str, catalog: str) -> None:
    other = write_run(str(tmp_path / "other"), catalog, epochs=[2, 5, 20])
    figure = draw_evolution([Row("", run, "a"), Row("", other, "a")], catalog)
    assert [axes.get_title() for axes in figure.axes[1:3]] == ["epoch 5", "epoch 20"]
    third = write_run(str(tmp_path / "third"), catalog, epochs=[3])
    with pytest.raises(RunError, match="no epoch is common to all"):
        draw_evolution([Row("", run, "a"), Row("", third, "a")], catalog)


def test_what_is_missing_is_named(tmp_path: Path, run: str, catalog: str) -> None:
    bare = str(tmp_path / "bare")
    RunDirectory(bare).write("config.json", {})
    with pytest.raises(RunError, match="bare: it kept no attention"):
        attention_epochs(bare)
    with pytest.raises(RunError, match="bare: it kept no attention"):
        draw_evolution([Row("", bare, "a")], catalog)
    with pytest.raises(RunError, match=r"no attention of epoch 7 was kept\. Choose from \[1, 5, 10, 20, 40\]"):
        draw_evolution([Row("", run, "a")], catalog, epochs=[5, 7])
    with pytest.raises(RunError, match=r"it kept no attention of image 'c'\. Choose from \['a', 'b'\]"):
        draw_evolution([Row("", run, "c")], catalog, epochs=1)
    with pytest.raises(RunError, match=r"nowhere: there is no config\.json"):
        grid_of(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("image_id", ["elsewhere", "broken"])
def test_an_image_that_the_catalog_cannot_show(catalog: str, image_id: str) -> None:
    with pytest.raises(CatalogError, match=f"no readable image .*{image_id}"):
        catalog_images(catalog, ["a", image_id])


def test_half_a_catalog_is_none(tmp_path: Path, catalog: str) -> None:
    (Path(catalog) / "_catalog.json").unlink()
    with pytest.raises(CatalogError, match="not a catalog"):
        catalog_images(catalog, ["a"])


def as_maps(*images: Sequence[float]) -> np.ndarray:
    return np.array(images, float).reshape(len(images), 2, 2)


def test_agreement_by_hand() -> None:
    maps = {
        "x": as_maps((1, 2, 3, 4), (1, 2, 3, 4)),
        "y": as_maps((1, 3, 2, 4), (1, 4, 9, 16)),
        "z": as_maps((4, 3, 2, 1), (1, 2, 3, 4)),
    }
    rows = agreement(maps)
    assert [(row["one"], row["other"], row["images"]) for row in rows] == [("x", "y", 2), ("x", "z", 2), ("y", "z", 2)]
    curved = 25 / np.sqrt(5 * 129)
    assert [row["pearson"] for row in rows] == pytest.approx([(0.8 + curved) / 2, 0, (-0.8 + curved) / 2])
    assert [row["spearman"] for row in rows] == pytest.approx([0.9, 0, 0.1])


def test_agreement_with_nothing_is_not_a_number_and_of_other_cells_an_error() -> None:
    x, uniform = as_maps((1, 2, 3, 4)), as_maps((0.25, 0.25, 0.25, 0.25))
    (row,) = agreement({"x": x, "uniform": uniform})
    assert np.isnan([row["pearson"], row["spearman"]]).all()
    with pytest.raises(GeometryError, match="cells do not correspond"):
        agreement({"x": x, "other": np.ones((1, 3, 2))})


def test_final_maps_are_of_the_same_images_in_the_same_order(tmp_path: Path, catalog: str) -> None:
    one = write_run(str(tmp_path / "one"), catalog, image_ids=["a", "b", "c"])
    other = write_run(str(tmp_path / "other"), catalog, image_ids=["c", "b"], epochs=[2, 30])
    found = final_maps({"N = 5": one, "N = 50": other})
    expected = {"N = 5": attention_maps(one, 40), "N = 50": attention_maps(other, 30)}
    for name, maps in found.items():
        np.testing.assert_array_equal(maps, [expected[name]["b"], expected[name]["c"]])
    lonely = write_run(str(tmp_path / "lonely"), catalog, image_ids=["d"])
    with pytest.raises(RunError, match="no image is common to all"):
        final_maps({"N = 5": one, "N = 10": lonely})


def colours_of(path: Path) -> Mapping[str, Any]:
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        return {"format": picture.format, "size": picture.size, "colours": len(picture.convert("RGB").getcolors(2**24))}


def test_the_pictures_and_the_table_of_a_paper(tmp_path: Path, run: str, catalog: str) -> None:
    other = write_run(str(tmp_path / "other"), catalog, seed=1)
    of_images = colours_of(evolution_of_images("figure3", run, epochs=2, to=tmp_path))
    of_settings = colours_of(evolution_of_settings("s1", [("0", run), ("1", other)], "a", epochs=4, to=tmp_path))
    assert of_images["format"] == of_settings["format"] == "PNG"
    assert of_images["colours"] > 100
    assert of_settings["size"][0] > of_images["size"][0]  # more columns
    _, *lines = agreement_table([("N=5", run), ("N=50", other), ("N=5", run)]).splitlines()
    assert [line.split()[:-3] for line in lines] == [
        ["N=5", "#1", "N=50"],
        ["N=5", "#1", "N=5", "#2"],
        ["N=50", "N=5", "#2"],
    ]
    assert lines[1].split()[-3:] == ["1", "1", "2"]


def test_the_hardest_images_are_wrong_on_average_over_their_trainings(tmp_path: Path, catalog: str) -> None:
    """b is right in one training and more wrong in the other; c is right by a little in its only one."""
    said = {
        "one": {"image_ids": ["a", "b"], "labels": [1, 0], "logits": [[0.0, np.log(1 / 9)], [np.log(3), 0.0]]},
        "two": {"image_ids": ["b", "c"], "labels": [0, 1], "logits": [[0.0, np.log(19)], [0.0, 0.1]]},
    }
    for name, predictions in said.items():
        RunDirectory(write_run(str(tmp_path / name), catalog)).write("predictions.json", predictions)
    rows = hardest([(name, str(tmp_path / name)) for name in said])
    assert [tuple(row.values()) for row in rows] == [("a", "yes", 2, 0.1, 1), ("b", "no", 0, 0.4, 2)]
    assert hardest([]) == []
