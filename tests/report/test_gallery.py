"""Which images and which runs a gallery shows, and that it shows what the models see."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from PIL import Image

from pipelines.errors import CatalogError
from pipelines.report.examples import error_of_winner
from pipelines.report.gallery import Picture, gallery_of
from pipelines.report.results import results_of
from pipelines.report.runs import RunError, attention_maps
from tests.report.trained import EPOCHS, SIZE, write_catalog, write_trained

# By image what the evaluation said; the labels are 0, 1, 0, 1 ...
SAID = {
    "sure": (4.0, 0.0),  # right
    "wrong": (2.0, 0.0),
    "unsure": (0.1, 0.0),  # right
    "fine": (0.0, 3.0),  # right
    "worst": (0.0, 5.0),
    "kept": (0.0, 2.5),  # right
}


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery starts none."""
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("Ray was started"))


@pytest.fixture
def catalog(tmp_path: Path) -> str:
    return write_catalog(tmp_path / "catalog", list(SAID), {"wrong": [(4.0, 8.0, 12.0, 20.0)]})


def gallery(folder: Path, **options: int) -> list[Picture]:
    pictures, errors = gallery_of(results_of(str(folder)).results, **options)
    assert not errors
    return pictures


def ids(pictures: list[Picture]) -> list[str]:
    return [picture.image_id for picture in pictures]


def test_images_are_taken_in_turn_from_the_kept_the_wrong_the_unsure_and_the_sure(tmp_path: Path, catalog: str) -> None:
    write_trained(str(tmp_path / "runs" / "ats"), catalog, SAID, kept=["kept"])
    pictures = gallery(tmp_path / "runs")
    assert ids(pictures) == ["kept", "worst", "unsure", "wrong", "sure", "fine"]
    assert ids(gallery(tmp_path / "runs", images=2)) == ["kept", "worst"]
    assert [picture.label for picture in pictures] == ["yes", "no", "no", "yes", "no", "yes"]


def test_an_image_that_more_models_have_wrong_comes_before_one_that_is_surely_wrong(
    tmp_path: Path, catalog: str
) -> None:
    write_trained(str(tmp_path / "runs" / "a"), catalog, SAID)
    write_trained(str(tmp_path / "runs" / "b"), catalog, SAID | {"worst": (0.5, 0.0)}, model="uniform")
    assert ids(gallery(tmp_path / "runs", images=1)) == ["wrong"]


def test_it_shows_what_each_model_sees(tmp_path: Path, catalog: str) -> None:
    run = write_trained(str(tmp_path / "runs" / "ats"), catalog, SAID, kept=["kept", "wrong"])
    write_trained(str(tmp_path / "runs" / "cnn"), catalog, SAID, model="cnn", n_patches=0)
    pictures = {picture.image_id: picture for picture in gallery(tmp_path / "runs", epochs=2)}
    assert [seen.row for seen in pictures["wrong"].seen] == ["ats-3", "cnn-12x16"]
    ats, cnn = pictures["wrong"].seen
    assert ats.example.size == SIZE
    np.testing.assert_array_equal(ats.example.boxes, [[4, 8, 12, 20]])
    pixels = np.pad(np.asarray(Image.open(f"{catalog}-images/1.png")), ((20, 20), (20, 20), (0, 0)))
    for patch, (y, x) in zip(ats.example.patches, ats.example.centres, strict=True):
        np.testing.assert_array_equal(patch, pixels[y + 10 : y + 30, x + 10 : x + 30])
    assert 0 < ats.example.standard_error < 1
    assert len(cnn.example.patches) == cnn.example.standard_error == 0
    assert list(ats.maps) == [EPOCHS[0], EPOCHS[-1]]
    np.testing.assert_array_equal(ats.maps[4], attention_maps(run, 4)["wrong"])
    assert not cnn.maps
    assert not pictures["sure"].seen[0].maps


def test_draws_depend_on_the_seed_alone(tmp_path: Path, catalog: str) -> None:
    write_trained(str(tmp_path / "runs" / "ats"), catalog, SAID)
    one, same, other = (
        [picture.seen[0].example.centres.tolist() for picture in gallery(tmp_path / "runs", seed=seed)]
        for seed in (0, 0, 1)
    )
    assert one == same != other


def test_side_by_side_are_runs_of_the_test_split_that_most_settings_share(tmp_path: Path, catalog: str) -> None:
    half = {name: SAID[name] for name in list(SAID)[:2]}
    for name, said, settings in (
        ("a", half, {"n_patches": 2}),
        ("b", SAID, {"n_patches": 2}),
        ("c", SAID, {"n_patches": 3}),
        ("d", SAID, {"n_patches": 3, "seed": 1}),
    ):
        write_trained(str(tmp_path / "runs" / name), catalog, said, **settings)
    pictures = gallery(tmp_path / "runs")
    assert len(pictures) == len(SAID)
    assert {tuple(seen.row for seen in picture.seen) for picture in pictures} == {("ats-2", "ats-3")}


def test_of_many_settings_the_best_of_each_model_is_shown_first(tmp_path: Path, catalog: str) -> None:
    better = SAID | {"worst": (1.0, 0.0)}
    for name, said, settings in (
        ("a", better, {"n_patches": 2}),
        ("b", better | {"wrong": (0.0, 1.0)}, {"n_patches": 3}),
        ("c", SAID, {"model": "uniform"}),
    ):
        write_trained(str(tmp_path / "runs" / name), catalog, said, **settings)
    shown = [[seen.row for seen in gallery(tmp_path / "runs", images=1, models=n)[0].seen] for n in (1, 2, 3)]
    assert shown == [["ats-3"], ["ats-3", "uniform-3"], ["ats-2", "ats-3", "uniform-3"]]


def test_without_a_finished_run_it_is_empty(tmp_path: Path, catalog: str) -> None:
    run = write_trained(str(tmp_path / "runs" / "ats"), catalog, SAID)
    (Path(run) / "summary.json").unlink()
    assert gallery(tmp_path / "runs") == []


def test_what_is_not_there_is_said_and_the_other_runs_are_shown(tmp_path: Path, catalog: str) -> None:
    runs = tmp_path / "runs"
    write_trained(str(runs / "ats"), catalog, SAID)
    for name, n_patches in (("said-nothing", 2), ("no-model", 4), ("no-catalog", 5)):
        write_trained(str(runs / name), catalog if "model" in name else str(tmp_path), SAID, n_patches=n_patches)
    write_trained(str(runs / "diverged"), catalog, SAID | {"sure": (np.nan, 0.0)}, n_patches=6)
    (runs / "said-nothing" / "predictions.json").unlink()
    (runs / "no-model" / "model" / "model.safetensors").unlink()
    pictures, errors = gallery_of(results_of(str(runs)).results)
    assert {tuple(seen.row for seen in picture.seen) for picture in pictures} == {("ats-3",)}
    assert len(pictures) == len(SAID)
    assert {name: (type(error), error.reason) for name, error in errors.items()} == {
        "said-nothing": (RunError, "there is no predictions.json"),
        "diverged": (RunError, "its model says no finite probabilities"),
        "no-model": (RunError, "its model is not there"),
        "no-catalog": (CatalogError, errors["no-catalog"].reason),
    }


def test_without_any_run_to_show_there_are_the_reasons_alone(tmp_path: Path, catalog: str) -> None:
    write_trained(str(tmp_path / "runs" / "ats"), catalog, SAID | {"gone": (1.0, 0.0)})
    pictures, errors = gallery_of(results_of(str(tmp_path / "runs")).results)
    assert pictures == []
    assert "no readable image ['gone']" in str(errors["ats"])


@pytest.mark.parametrize("logits", [(0.3, -0.2), (2.0, -1.0, 0.5)])
def test_the_error_of_a_probability_is_the_largest_that_errors_of_logits_can_make(logits: tuple[float, ...]) -> None:
    z_C = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    p_C, errors_C = z_C.softmax(-1), torch.tensor([0.1, 0.3, 0.2], dtype=torch.float64)[: len(logits)]
    (slopes_C,) = torch.autograd.grad(p_C.max(), z_C)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * len(logits))
    largest = (signs * slopes_C * errors_C).sum(-1).max()
    assert error_of_winner(p_C.detach(), errors_C) == pytest.approx(float(largest))
    assert error_of_winner(p_C.detach(), torch.zeros(len(logits))) == 0
    assert error_of_winner(p_C.detach(), torch.full((len(logits),), torch.inf)) == float("inf")


def test_a_result_with_an_error_is_left_out(tmp_path: Path, catalog: str) -> None:
    write_trained(str(tmp_path / "runs" / "ats"), catalog, SAID)
    (result,) = results_of(str(tmp_path / "runs")).results
    failed = replace(result, name="failed", row="failed", run="", error="ImageError: gone")
    (picture, *_), errors = gallery_of([failed, replace(result, summary={"task": "toy"})])  # of before `test_error`
    assert not errors
    assert [seen.row for seen in picture.seen] == ["ats-3"]
