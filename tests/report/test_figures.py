"""All figures of results, the files of them, and what runs cost."""

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pipelines.report.cost import COLUMNS, Trained, cost_figure, cost_of, cost_table
from pipelines.report.curves import WIDTH
from pipelines.report.drawing import png
from pipelines.report.estimates import best_first
from pipelines.report.figures import MOST_ROWS, figures_of, histories_of, pdf, write_figures
from pipelines.report.page.images import figure_svg
from pipelines.report.results import Results, results_of
from pipelines.report.runs import history
from pipelines.storage import objects
from tests.report.written import epoch, trial, write_run, write_sweep

HISTORY = [epoch(1, test_error=0.5), epoch(2, test_error=0.25)]
SUMMARY = {"test_error": 0.25, "train_loss": 0.5, "ms_per_sample": 10.0, "wall_s": 12.0}
ALL = ["error_over_time", "error_over_patches", "learning_curves", "cost"]


def runs(folder: Path, *n_patches: int, **settings: str) -> Results:
    for n in n_patches:
        summary = SUMMARY | {"test_error": 1 / n, "ms_per_sample": n}
        write_run(str(folder / f"run-{n}"), summary, history=HISTORY, n_patches=n, **settings)
    return results_of(str(folder))


def test_several_rows_have_all_figures_and_one_those_of_a_run(tmp_path: Path) -> None:
    drawn = figures_of(runs(tmp_path, 5, 10))
    assert list(drawn) == ALL
    assert all(figure.get_figwidth() <= WIDTH for figure in drawn.values())  # for a phone
    assert list(figures_of(results_of(str(tmp_path / "run-5")))) == ["learning_curves", "cost"]


def test_runs_without_a_history_have_no_curves_and_failures_nothing(tmp_path: Path) -> None:
    ended = [trial(f"ats-{n}", f"ats-{n}", model="ats", n_patches=n, **SUMMARY) for n in (5, 10)]
    failed = trial("cnn", "cnn", "failed", "RecipeError: a.", run=str(tmp_path / "nothing"))
    sweep = results_of(write_sweep(str(tmp_path / "sweep"), [*ended, failed]))
    assert list(figures_of(sweep)) == ["error_over_time", "error_over_patches"]
    assert figures_of(results_of(write_sweep(str(tmp_path / "failed"), [failed]))) == {}


def test_an_unfinished_run_shows_how_far_it_is(tmp_path: Path) -> None:
    drawn = figures_of(results_of(write_run(str(tmp_path / "two"), history=HISTORY)))
    assert list(drawn) == ["learning_curves", "cost"]
    assert list(figures_of(results_of(write_run(str(tmp_path / "one"), history=HISTORY[:1])))) == ["cost"]


def test_a_measure_without_an_epoch_common_to_the_runs_of_a_row_is_left_out(tmp_path: Path) -> None:
    for seed, epochs in enumerate(([epoch(1), HISTORY[1]], [HISTORY[0], epoch(2)])):
        write_run(str(tmp_path / str(seed)), seed=seed, history=epochs)
    figure = figures_of(results_of(str(tmp_path)))["learning_curves"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["training loss (nats)"]
    assert figure.get_figwidth() <= WIDTH


def test_errors_of_two_tasks_do_not_share_a_figure(tmp_path: Path) -> None:
    for task in ("roads", "cells"):
        for n in (5, 10):
            write_run(str(tmp_path / f"{task}-{n}"), SUMMARY, history=HISTORY, task=task, n_patches=n)
    drawn = figures_of(results_of(str(tmp_path)))
    assert list(drawn) == [f"{name}-{task}" for task in ("cells", "roads") for name in ALL]


def test_curves_have_the_seeds_of_a_row_as_a_band(tmp_path: Path) -> None:
    for seed, error in enumerate((0.1, 0.3)):
        last = epoch(2, test_error=error)
        write_run(str(tmp_path / str(seed)), SUMMARY, seed=seed, history=[HISTORY[0], last])
    figure = figures_of(results_of(str(tmp_path)))["learning_curves"]
    loss, error_axes = figure.axes
    assert (loss.get_ylabel(), error_axes.get_ylabel()) == ("training loss (nats)", "test error")
    np.testing.assert_allclose(error_axes.lines[0].get_xydata(), [[4, 0.5], [8, 0.2]])
    band = error_axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.1, 0.5))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ats-10 (n = 2)"]


def test_names_are_no_formulas_and_letters_that_the_font_lacks_no_warnings(tmp_path: Path) -> None:
    for n in (5, 10):
        write_run(str(tmp_path / f"run-{n}"), SUMMARY, history=HISTORY, n_patches=n, model="$\\frac$ \u7d30")
    drawn = figures_of(results_of(str(tmp_path)))
    assert len(drawn) == len(ALL)
    for figure in drawn.values():
        assert png(figure)
        assert pdf(figure)
        assert figure_svg(figure)


def test_a_line_that_is_being_written_is_not_there_yet(tmp_path: Path) -> None:
    run = write_run(str(tmp_path), history=HISTORY)
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-9])
    assert history(run) == HISTORY[:1]


def test_of_many_rows_the_best_of_each_model_are_shown(tmp_path: Path) -> None:
    for n in range(1, 9):
        write_run(str(tmp_path / f"ats-{n}"), SUMMARY | {"test_error": 0.1 / n}, history=HISTORY, n_patches=n)
    for n in (1, 2):
        summary = SUMMARY | {"test_error": 0.5 + n}
        write_run(str(tmp_path / f"uniform-{n}"), summary, history=HISTORY, model="uniform", n_patches=n)
    results = results_of(str(tmp_path))
    assert best_first(results.by_row())[:4] == ["ats-8", "uniform-1", "ats-7", "uniform-2"]
    assert len(histories_of(results)) == 10
    drawn = figures_of(results)
    for name in ("learning_curves", "cost"):
        (legend,) = drawn[name].legends
        assert f"the {MOST_ROWS} best of 10 rows" in legend.get_title().get_text()
    assert "mean and standard error" in drawn["learning_curves"].legends[0].get_title().get_text()


@pytest.mark.parametrize("place", ["local", "s3"])
def test_each_figure_is_a_png_and_a_pdf_the_same_each_time(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = str(tmp_path / "a" / "figures") if place == "local" else f"{request.getfixturevalue('s3')}/figures"
    drawn = {"cost": figures_of(runs(tmp_path / "runs", 5))["cost"], "bare": Figure(figsize=(2, 1))}
    files = write_figures(drawn, folder)
    assert files == [objects.join(folder, name) for name in ("cost.png", "cost.pdf", "bare.png", "bare.pdf")]
    assert sorted(files) == objects.list_uris(folder)
    content = {file: objects.read_bytes(file) for file in files}
    for file in files[1::2]:
        assert content[file].startswith(b"%PDF-")
        assert content[file].rstrip().endswith(b"%%EOF")
    with Image.open(io.BytesIO(content[files[2]])) as picture:
        assert (picture.format, picture.size) == ("PNG", (300, 150))
        assert picture.convert("RGB").getcolors() == [(300 * 150, (255, 255, 255))]
    write_figures(drawn, folder)
    assert {file: objects.read_bytes(file) for file in files} == content


def test_what_a_run_cost_by_hand() -> None:
    cost = cost_of(Trained({"wall_s": 12.0}, HISTORY))  # twice 4 s, a quarter of them waiting, 10 images a second
    assert cost == {
        "wall_s": 12.0,
        "training_s": 8.0,
        "computing_s": 6.0,
        "waiting_s": 2.0,
        "other_s": 4.0,
        "computing_share": 0.75,
        "images": 80.0,
        "mb_read": 20.0,
        "requests": 120.0,
        "retries": 2,
        "decoding_s": pytest.approx(0.4),
        "peak_memory_mb": 200.0,
    }
    unfinished = cost_of(Trained({}, HISTORY))
    assert (unfinished["wall_s"], unfinished["other_s"]) == (8.0, 0.0)


def test_images_in_memory_are_read_in_the_first_epoch_which_the_summary_does_not_show() -> None:
    read = {"requests_per_image": 2.0, "mb_per_image": 0.5}
    history = [epoch(1, **read), *(epoch(i, requests_per_image=0.0, mb_per_image=0.0) for i in (2, 3))]
    cost = cost_of(Trained({"requests_per_image": 0.0}, history))
    assert (cost["requests"], cost["mb_read"]) == (80.0, 20.0)


def test_the_table_of_costs_is_a_mean_over_runs() -> None:
    two = [Trained({"wall_s": wall}, HISTORY) for wall in (10.0, 1200.0)]
    (row,) = cost_table({"ats-10": two})
    assert (row["row"], row["wall_s"], row["wall_s_text"]) == ("ats-10", 605.0, "605")
    assert (row["computing_share_text"], row["decoding_s_text"]) == ("75.0%", "0.4")
    assert set(COLUMNS) <= set(row)


def test_bars_of_where_the_time_went_and_of_what_there_is() -> None:
    cnn = [epoch(1, requests_per_image=0.0, mb_per_image=0.0, decode_ms_per_image=0.0, read_wait_s=0.0)]
    figure = cost_figure({"ats-10": [Trained({"wall_s": 12.0}, HISTORY)], "cnn-9x9": [Trained({"wall_s": 5.0}, cnn)]})
    assert figure is not None
    time, read, requests, decoding, memory = figure.axes
    bars = [[(bar.get_x(), bar.get_width()) for bar in container] for container in time.containers]
    assert bars == [[(0, 6), (0, 4)], [(6, 2), (4, 0)], [(8, 4), (4, 1)]]  # computing, waiting, other
    assert [text.get_text() for text in time.texts] == ["12 s; 75%", "5 s; 100%"]
    assert [text.get_text() for text in time.get_yticklabels()] == ["ats-10", "cnn-9x9"]
    assert time.yaxis_inverted()  # the first row on top
    for axes, values in ((read, [20, 0]), (requests, [120, 0]), (decoding, [0.4, 0]), (memory, [200, 100])):
        assert [bar.get_width() for bar in axes.containers[0]] == pytest.approx(values)
    texts = [axes.texts[0].get_text() for axes in (read, requests, decoding, memory)]
    assert texts == ["20 MB", "120", "0.4 s", "200 MB"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "computing",
        "waiting for patches",
        "start, tests, saving, pauses",
    ]
    large = [epoch(1, requests_per_image=1234567.0, mb_per_image=123456.0, seconds=8000.0, decode_ms_per_image=100.0)]
    _, *panels = cost_figure({"ats-10": [Trained({}, large)]}).axes
    assert [axes.texts[0].get_text() for axes in panels] == ["9.88 PB", "98.8 G", "2.22 h", "100 MB"]


def test_of_nothing_there_is_no_figure_and_what_is_nothing_has_no_panel() -> None:
    cnn = [epoch(1, requests_per_image=0.0, mb_per_image=0.0, decode_ms_per_image=0.0)]
    only = cost_figure({"cnn-9x9": [Trained({}, cnn)]})
    assert only is not None
    assert len(only.axes) == 2  # of the panels below, memory alone
    assert cost_figure({}) is None
