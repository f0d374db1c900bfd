"""The Pareto front by enumeration, and what the figures of error against time and patches draw."""

from itertools import combinations, count
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Text

from pipelines.report.curves import COLOURS
from pipelines.report.results import Result, Results
from pipelines.report.tradeoff import FRONT, LABELLED, error_over_patches, error_over_time, pareto_front

NUMBERS = count()


def result(row: str, time: float, error: float, *, seed: int = 0, loss: float = 1.0, **more: Any) -> Result:
    model, _, size = row.split()[0].rstrip(",").partition("-")
    n_patches = 0 if "x" in size else int(size)
    known = {"model": model, "n_patches": n_patches, "seed": seed}
    measures = {"ms_per_sample": time, "test_error": error, "train_loss": loss}
    return Result(f"run {next(NUMBERS)}", row, "", known | measures | more)


def of(*results: Result) -> Results:
    return Results("", results, kind="folder")


def points(axes: Axes) -> dict[str, list[list[float]]]:
    """By label, the points of every line with bars."""
    bars = (container for container in axes.containers if isinstance(container, ErrorbarContainer))
    return {container.get_label(): container.lines[0].get_xydata().tolist() for container in bars}


def labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and one != other


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14))
def test_the_front_is_what_nothing_beats(at: list[tuple[int, int]]) -> None:
    front = pareto_front(at)
    assert sorted(front) == [i for i, point in enumerate(at) if not any(beats(other, point) for other in at)]
    assert [at[i] for i in front] == sorted(at[i] for i in front)


def test_a_point_a_row_its_bars_its_name_and_the_front() -> None:
    ats = [result("ats-10", 10.0 + 4 * seed, 0.1 + 0.2 * seed, seed=seed) for seed in range(2)]
    one = result("uniform-10", 6.0, 0.5, test_error_low=0.4, test_error_high=0.7)
    beaten = result("cnn-100x100", 20.0, 0.25)
    figure = error_over_time(of(*ats, one, beaten))
    assert figure is not None
    (axes,) = figure.axes
    assert points(axes) == {
        "ats": [pytest.approx([12.0, 0.2])],
        "uniform": [[6.0, 0.5]],
        "cnn-100x100": [[20.0, 0.25]],
    }
    ats_bars = [line.get_segments()[0].tolist() for line in axes.containers[0].lines[2]]
    assert ats_bars == [
        pytest.approx(np.array([[10, 0.2], [14, 0.2]])),
        pytest.approx(np.array([[12, 0.1], [12, 0.3]])),
    ]
    uniform_bars = axes.containers[1].lines[2][1].get_segments()[0]
    np.testing.assert_allclose(uniform_bars, [[6, 0.4], [6, 0.7]])
    assert sorted(labels(axes)) == ["ats-10", "cnn-100x100", "uniform-10"]
    (front,) = (line for line in axes.lines if line.get_label() == "Pareto front")
    right, top = axes.get_xlim()[1], axes.get_ylim()[1]
    np.testing.assert_allclose(front.get_xydata(), [[6, top], [6, 0.5], [12, 0.5], [12, 0.2], [right, 0.2]])
    assert to_hex(front.get_color()) == FRONT
    assert axes.get_ylim()[0] == 0
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("training time (ms/sample)", "test error")
    assert axes.get_title(loc="left") == "bars: standard error over runs, 95 % interval of one run"
    assert to_hex(figure.get_facecolor()) == "#ffffff"


@pytest.mark.parametrize(("slowest", "scale"), [(100.0, "linear"), (101.0, "log")])
def test_time_is_logarithmic_where_it_spreads_over_more_than_ten(slowest: float, scale: str) -> None:
    figure = error_over_time(of(result("ats-5", 10.0, 0.2), result("ats-50", slowest, 0.1)))
    assert figure is not None
    assert figure.axes[0].get_xscale() == scale


def test_points_of_one_model_share_a_colour_and_others_differ() -> None:
    rows = ("ats-5", "ats-10", "ats-5, entropy_weight 0.1", "uniform-5 patch_size=50", "uniform-10 patch_size=50")
    figure = error_over_time(of(*(result(row, 1.0 + i, 0.5 - 0.1 * i) for i, row in enumerate(rows))))
    assert figure is not None
    names = ["ats", "ats, entropy_weight 0.1", "uniform patch_size=50"]
    drawn = {container.get_label(): container.lines[0] for container in figure.axes[0].containers}
    assert {name: to_hex(line.get_color()) for name, line in drawn.items()} == dict(zip(names, COLOURS, strict=False))
    assert len({line.get_marker() for line in drawn.values()}) == 3


def test_fewer_than_two_rows_or_a_training_in_vain_draw_nothing() -> None:
    assert error_over_time(of()) is None
    assert error_over_time(of(result("ats-5", 1.0, 0.5), result("ats-5", 2.0, 0.4, seed=1))) is None
    assert error_over_time(of(result("ats-5", 1.0, 0.5), result("ats-10", 1.0, float("nan")))) is None
    assert error_over_patches(of(result("ats-5", 1.0, 0.5), result("ats-10", 1.0, 0.5, loss=float("inf")))) is None


def crowd(n: int) -> Results:
    """Rows in a line so flat that a name to the right of a point would lie on the next, with intervals of one run."""
    errors = [0.3 - 0.004 * i for i in range(n)]
    return of(
        *(
            result(f"ats-{i + 1}", 5.0 + i, error, test_error_low=error - 0.05, test_error_high=error + 0.1)
            for i, error in enumerate(errors)
        )
    )


def test_names_cover_neither_each_other_nor_points_and_stay_inside() -> None:
    figure = error_over_time(crowd(LABELLED))
    assert figure is not None
    (axes,) = figure.axes
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    boxes = [Text.get_window_extent(name, renderer) for name in axes.texts]
    assert len(boxes) == LABELLED
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    middles = axes.transData.transform(points(axes)["ats"])
    assert not any(box.contains(*middle) for box in boxes for middle in middles)
    inside = axes.get_window_extent(renderer)
    assert all(inside.contains(*corner) for box in boxes for corner in box.corners())


def test_of_many_rows_only_the_front_is_named_and_a_legend_tells_the_rest() -> None:
    beaten = [result("uniform-10", 30.0, 0.9), result("uniform-20", 40.0, 0.9)]
    figure = error_over_time(of(*crowd(LABELLED - 1).results, *beaten))
    assert figure is not None
    assert sorted(labels(figure.axes[0])) == sorted(f"ats-{i + 1}" for i in range(LABELLED - 1))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ats", "uniform"]


def test_error_and_loss_over_patches_a_line_a_model() -> None:
    figure = error_over_patches(
        of(
            *(result(f"ats-{n}", 1.0, 1 / n, seed=seed, loss=2 / n + seed) for n in (50, 5) for seed in range(2)),
            result("deep_mil-2500", 1.0, 0.25, loss=0.75),
            result("cnn-100x100", 1.0, 0.5, loss=0.5),
        )
    )
    assert figure is not None
    error, loss = figure.axes
    assert points(error) == {"ats": [[5, 0.2], [50, 0.02]], "deep_mil": [[2500, 0.25]]}
    np.testing.assert_allclose(points(loss)["ats"], [[5, 0.9], [50, 0.54]])
    np.testing.assert_allclose(
        loss.containers[0].lines[2][0].get_segments(), [[[5, 0.4], [5, 1.4]], [[50, 0.04], [50, 1.04]]]
    )
    (level,) = (line for line in error.lines if line.get_label() == "cnn-100x100, no patches")
    assert set(level.get_ydata()) == {0.5}
    for axes, label in ((error, "test error"), (loss, "training loss (nats)")):
        assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "patches an image, N", label)
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["5", "50", "2,500"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ats", "deep_mil", "cnn-100x100, no patches"]


def test_a_setting_tried_at_one_number_has_no_line_beside_those_that_have() -> None:
    rows = ("ats-5", "ats-10", "ats-10, stain 0.4", "uniform-10", "uniform-10, stain 0.4")
    figure = error_over_patches(of(*(result(row, 1.0, 0.5) for row in rows)))
    assert figure is not None
    assert list(points(figure.axes[0])) == ["ats", "uniform", "uniform, stain 0.4"]


def test_a_loss_less_its_entropy_may_be_below_zero() -> None:
    figure = error_over_patches(of(result("ats-5", 1.0, 0.5, loss=0.5), result("ats-10", 1.0, 0.4, loss=-0.25)))
    assert figure is not None
    error, loss = (axes.get_ylim() for axes in figure.axes)
    assert error[0] == 0
    assert loss[0] < -0.25


def test_one_number_of_patches_is_no_figure() -> None:
    assert error_over_patches(of(result("ats-5", 1.0, 0.5), result("uniform-5", 1.0, 0.4))) is None
    assert error_over_patches(of(result("ats-5", 1.0, 0.5), result("cnn-100x100", 1.0, 0.4))) is None
