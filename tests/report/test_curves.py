"""Learning curves, from histories to what is drawn."""

import io
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from benchmarks.paper.figures import curves
from pipelines.report.curves import COLOURS, curves_figure, learning_curves, mean_curve
from pipelines.report.runs import RunError, history
from pipelines.training.run_directory import RunDirectory


def training(
    losses: Sequence[float], errors: Sequence[float | None] = (), seconds: float = 60.0, updates: int = 8
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"epoch": i + 1, "train_loss": loss, "seconds": seconds, "updates": (i + 1) * updates}
        for i, loss in enumerate(losses)
    ]
    for row, error in zip(rows, errors, strict=False):
        row |= {} if error is None else {"test_error": error}
    return rows


def test_the_mean_over_trainings_its_standard_error_and_the_seconds_spent_so_far() -> None:
    histories = [training([4.0, 2.0, 1.0], seconds=10), training([2.0, 2.0, 4.0], seconds=30)]
    curve = mean_curve(histories, "train_loss", "seconds")
    assert curve is not None
    np.testing.assert_allclose(curve.x_T, [20, 40, 60])
    np.testing.assert_allclose(curve.mean_T, [3, 2, 2.5])
    np.testing.assert_allclose(curve.error_T, [1, 0, 1.5])  # of two, half of their distance
    three = mean_curve([training([value]) for value in (1.0, 2.0, 6.0)], "train_loss", "epoch")
    assert three is not None
    np.testing.assert_allclose(three.error_T, [sqrt((4 + 1 + 9) / 2 / 3)])


def test_epochs_without_an_evaluation_still_cost_their_seconds() -> None:
    histories = [training([3.0] * 4, [None, 0.5, None, 0.2], seconds=7)]
    for x, expected in (("seconds", [14, 28]), ("epoch", [2, 4]), ("updates", [16, 32])):
        curve = mean_curve(histories, "test_error", x)
        assert curve is not None
        np.testing.assert_allclose(curve.x_T, expected)
        np.testing.assert_allclose(curve.mean_T, [0.5, 0.2])
        np.testing.assert_allclose(curve.error_T, [0, 0])


def test_only_epochs_of_all_trainings_count_so_that_a_mean_is_always_of_the_same() -> None:
    curve = mean_curve([training([1.0, 2.0, 3.0]), training([5.0, 6.0])], "train_loss", "epoch")
    assert curve is not None
    np.testing.assert_allclose(curve.mean_T, [3, 4])
    assert mean_curve([training([1.0], [0.1]), training([1.0])], "test_error", "epoch") is None


def test_a_panel_a_measure_and_a_colour_a_row() -> None:
    runs = {
        "ATS-10": [training([2.0, 1.0], [0.5, 0.1]), training([2.0, 1.0], [0.3, 0.3])],
        "CNN at 1": [training([3.0, 2.0], [0.7, 0.6], seconds=300)],
    }
    figure = curves_figure(runs, ("train_loss", "test_error"), "seconds")
    loss, error = figure.axes
    assert (loss.get_ylabel(), error.get_ylabel()) == ("training loss (nats)", "test error")
    assert {axes.get_xlabel() for axes in figure.axes} == {"training time (min)"}
    for axes in figure.axes:
        assert [to_hex(line.get_color()) for line in axes.lines] == list(COLOURS[:2])
        assert len(axes.collections) == 1  # the band of the row that has two trainings
    ats, cnn = error.lines
    np.testing.assert_allclose(ats.get_xydata(), [[1, 0.4], [2, 0.2]])
    np.testing.assert_allclose(cnn.get_xydata(), [[5, 0.7], [10, 0.6]])
    band = error.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.1)
    assert band[:, 1].max() == pytest.approx(0.5)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ATS-10 (n = 2)", "CNN at 1 (n = 1)"]


def test_the_unit_of_time_suits_the_longest() -> None:
    for seconds, label in ((80, "training time (s)"), (1000, "training time (min)"), (4000, "training time (h)")):
        figure = curves_figure({"a": [training([1.0, 1.0], seconds=seconds)]}, ("train_loss",), "seconds")
        assert figure.axes[0].get_xlabel() == label


@pytest.mark.parametrize(
    ("measure", "values", "scale"),
    [
        ("train_loss", [2.0, 0.1], "log"),
        ("train_loss", [2.0, 0.3], "linear"),
        ("train_loss", [2.0, -0.1], "linear"),  # less an entropy term
        ("test_error", [0.9, 0.01], "linear"),
    ],
)
def test_a_loss_over_more_than_a_decade_is_logarithmic(measure: str, values: list[float], scale: str) -> None:
    history = training([1.0, 1.0]) if measure == "test_error" else training(values)
    history = [row | {measure: value} for row, value in zip(history, values, strict=True)]
    assert curves_figure({"a": [history]}, (measure,), "epoch").axes[0].get_yscale() == scale


def test_time_is_logarithmic_where_one_row_takes_ten_times_as_long() -> None:
    quick, slow = [training([1.0, 1.0], seconds=10)], [training([1.0, 1.0], seconds=101)]
    assert curves_figure({"a": quick, "b": slow}, ("train_loss",), "seconds").axes[0].get_xscale() == "log"
    assert curves_figure({"a": quick, "b": quick}, ("train_loss",), "seconds").axes[0].get_xscale() == "linear"
    assert curves_figure({"a": quick, "b": slow}, ("train_loss",), "epoch").axes[0].get_xscale() == "linear"


def test_a_row_without_a_measure_keeps_its_colour_for_the_others() -> None:
    looking = [row | {"patches_on_box": 0.5} for row in training([1.0, 0.9])]
    figure = curves_figure({"CNN": [training([2.0, 1.8])], "ATS": [looking]}, ("train_loss", "patches_on_box"), "epoch")
    loss, on_box = figure.axes
    assert len(loss.lines) == 2
    assert [to_hex(line.get_color()) for line in on_box.lines] == [COLOURS[1]]
    with pytest.raises(RunError, match="'attention_on_box': no run has it"):
        curves_figure({"CNN": [training([2.0])]}, ("attention_on_box",), "epoch")


def test_many_rows_differ_in_colour_or_in_dashes_and_many_measures_in_place() -> None:
    runs = {f"row {i}": [training([1.0 + i, 1.0])] for i in range(2 * len(COLOURS))}
    figure = curves_figure(runs, ("train_loss", "seconds", "updates", "epoch"), "epoch")
    assert len({(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}) == 2 * len(COLOURS)
    places = {axes.get_subplotspec().get_geometry() for axes in figure.axes}
    assert places == {(2, 2, i, i) for i in range(4)}
    assert len(curves_figure(runs, ("train_loss", *["updates"] * 4), "epoch").axes) == 5  # the sixth place is removed


def test_from_run_directories_to_a_picture(tmp_path: Path) -> None:
    of_rows = {"ATS-10": [training([2.0, 1.0]), training([1.0, 1.0])], "ATS-50": [training([3.0, 2.0])]}
    runs = []
    for row, histories in of_rows.items():
        for i, rows in enumerate(histories):
            runs.append((row, str(tmp_path / f"{row}-{i}")))
            RunDirectory(runs[-1][1]).write_metrics(rows)
    assert history(runs[1][1]) == of_rows["ATS-10"][1]
    drawn = curves("figure2", runs, ("train_loss",), x="seconds", to=tmp_path / "figures")
    assert drawn == tmp_path / "figures" / "figure2.png"
    assert drawn.read_bytes() == learning_curves(of_rows, ("train_loss",))
    with Image.open(io.BytesIO(drawn.read_bytes())) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(2**24)) > 20  # lines of two colours and letters, smoothed


def test_a_run_without_metrics_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no metrics.jsonl\. Train it up to its first evaluation"):
        history(str(tmp_path))
