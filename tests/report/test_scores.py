"""What a scoring left, read back: which images, how many, how good."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipelines.report import score_columns
from pipelines.report.runs import RunError
from pipelines.report.score_columns import columns_of, measures_of
from pipelines.report.score_figures import score_figures
from pipelines.report.scores import NO_CLASS, NO_LABEL, is_scores, scores_of
from pipelines.storage import objects
from pipelines.training.evaluate import Predictions
from pipelines.training.metrics import metrics
from tests.scoring.rows import CLASSES, failed, scored, table, write_scores

ROWS = [
    scored("sure", (0.0, 1.0), label="yes", n_patches=3),
    failed("gone", "missing", "no object", requests=1, bytes_read=0),
    scored("near", (0.45, 0.55), label="yes", n_patches=5, standard_error=float("inf")),
    scored("wrong", (0.9, 0.1), label="yes"),
    failed("cut", "truncated", "ends early", requests=2, bytes_read=10),
    scored("unknown", (0.6, 0.4)),
    scored("worse", (0.95, 0.05), label="yes"),
    scored("strange", (0.3, 0.7), label="perhaps"),
    failed("gone too", "missing", "no object either", requests=1, bytes_read=0),
    scored("tied", (0.55, 0.45), label="no"),
]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return write_scores(tmp_path / "out", ROWS, parts=3)


def test_the_least_certain_come_first_those_alike_by_id(uri: str) -> None:
    scores = scores_of(uri)
    every = ["near", "tied", "unknown", "strange", "wrong", "worse", "sure"]
    for k in (0, 1, 2, 3, 7, 20):
        assert scores.least_certain(k) == every[:k]
    assert scores.surest_wrong(2) == ["worse", "wrong"]
    assert scores.surest_wrong(9) == ["worse", "wrong", "strange"]


def test_of_many_images_they_are_those_of_a_sort(tmp_path: Path) -> None:
    p = np.random.default_rng(0).integers(0, 60, 500) / 100 + 0.2  # many are alike
    uri = write_scores(tmp_path / "out", [scored(f"{i:03d}", (x, 1 - x)) for i, x in enumerate(p)], parts=7)
    margin = np.abs(p.astype(np.float32) - (1 - p).astype(np.float32))
    order = sorted(range(len(p)), key=lambda i: (margin[i], i))
    for k in (1, 10, 499, 501):
        assert scores_of(uri).least_certain(k) == [f"{i:03d}" for i in order[:k]]


def test_rows_are_whole_and_in_the_order_asked(uri: str) -> None:
    wanted = ["strange", "gone", "sure"]
    by_id = {row["image_id"]: row for row in table(ROWS).to_pylist()}
    found = scores_of(uri).rows(wanted)
    assert [row["image_id"] for row in found] == wanted
    assert str(found) == str([by_id[image_id] for image_id in wanted])  # NaN is no equal of itself


def test_columns_count_every_image_once(uri: str) -> None:
    columns = columns_of(scores_of(uri))
    assert columns.images == len(ROWS)
    statuses = {row["status"]: (row["images"], row["requests"], row["megabytes"]) for row in columns.by_status}
    assert list(statuses) == ["ok", "missing", "truncated"]
    assert statuses == {"ok": (7, 21, 1.75), "missing": (2, 2, 0), "truncated": (1, 2, 1e-5)}
    (missing,) = (row for row in columns.by_status if row["status"] == "missing")
    assert (missing["image_id"], missing["error"]) in (("gone", "no object"), ("gone too", "no object either"))
    assert sorted(columns.label_n.tolist()) == sorted([1, 1, 1, NO_LABEL, 1, NO_CLASS, 0])
    assert columns.wrong_m.sum() == 3
    np.testing.assert_array_equal(columns.two_n2.sum(1), np.ones(7, np.float32))


def labelled(folder: Path, n: int = 60) -> str:
    rng = np.random.default_rng(0)
    p = rng.integers(1, 20, n) / 20
    labels = [CLASSES[int(rng.random() < x)] for x in p]
    return write_scores(folder, [scored(str(i), (1 - x, x), label=labels[i]) for i, x in enumerate(p)])


def test_error_and_auroc_are_those_of_a_training(tmp_path: Path) -> None:
    columns = columns_of(scores_of(labelled(tmp_path / "out")))
    found = measures_of(columns)
    n = len(columns.label_n)
    logits = np.log(columns.labelled_mC).tolist()
    predictions = Predictions([""] * n, [""] * n, columns.label_n.tolist(), logits)
    expected = metrics(predictions, CLASSES)
    for name in ("error", "auroc"):
        for end, value in (("", found[name].value), ("_low", found[name].low), ("_high", found[name].high)):
            assert value == pytest.approx(expected[f"test_{name}{end}"], abs=1e-6)
    assert found["auroc"].value == pytest.approx(roc_auc_score(columns.label_n, columns.labelled_mC[:, 1]))


def test_beyond_so_many_images_there_is_no_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = columns_of(scores_of(labelled(tmp_path / "out")))
    monkeypatch.setattr(score_columns, "MOST", 59)
    assert [measure.of for measure in measures_of(columns).values()] == ["", ""]


def test_a_label_that_is_no_class_is_wrong_and_no_label_is_nothing(uri: str, tmp_path: Path) -> None:
    assert measures_of(columns_of(scores_of(uri)))["error"].value == pytest.approx(3 / 6)
    assert "auroc" not in measures_of(columns_of(scores_of(uri)))
    alone = write_scores(tmp_path / "alone", [scored("a"), scored("b")])
    assert measures_of(columns_of(scores_of(alone))) == {}


ALWAYS = {"predictions", "probabilities", "error_over_margin"}


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (ROWS, {*ALWAYS, "reliability", "patches_used", "failures"}),
        ([scored("a"), scored("b")], ALWAYS),
        ([scored("a", label="no", standard_error=0.0)], {"predictions", "probabilities", "reliability"}),
        ([scored("a", (0.0, 1.0), standard_error=1.0), scored("b", (1.0, 0.0))], ALWAYS),
        ([scored(str(n), n_patches=n) for n in range(40)], {*ALWAYS, "patches_used"}),
        ([failed("a", "empty", "no bytes")], {"failures"}),
    ],
)
def test_a_figure_is_drawn_where_there_is_something_to_show(
    rows: list[dict[str, Any]], names: set[str], tmp_path: Path
) -> None:
    columns = columns_of(scores_of(write_scores(tmp_path / "out", rows, parts=1)))
    figures = score_figures(columns, CLASSES)
    assert set(figures) == names
    for figure in figures.values():
        for _ in range(5):  # as for a page: none may be laid out anew
            figure.draw_without_rendering()
        assert all(axes.get_position().width > 0.02 for axes in figure.axes)


def test_bars_count_and_the_smallest_of_many_are_one(tmp_path: Path) -> None:
    classes = [f"class {i}" for i in range(30)]
    said = [i for i in range(30) for _ in range(30 - i)]
    rows = [scored(f"{n}", np.eye(30)[i].tolist(), classes=classes) for n, i in enumerate(said)]
    uri = write_scores(tmp_path / "out", rows, classes=classes)
    (axes,) = score_figures(columns_of(scores_of(uri)), classes)["predictions"].axes
    bars = dict(zip((label.get_text() for label in axes.get_yticklabels()), axes.containers[0].datavalues, strict=True))
    assert list(bars)[::-1] == [*classes[:19], "11 others"]
    assert [bars["class 0"], bars["class 18"], bars["11 others"]] == [30, 12, sum(range(1, 12))]


def test_reliability_is_the_share_right_of_each_bin(tmp_path: Path) -> None:
    said = [(0.62, "yes"), (0.64, "no"), (0.66, "yes"), (0.68, "yes"), (0.9, "yes"), (1.0, "yes")]
    rows = [scored(str(i), (1 - p, p), label=label) for i, (p, label) in enumerate(said)]
    figures = score_figures(columns_of(scores_of(write_scores(tmp_path / "out", rows))), CLASSES)
    (axes,) = figures["reliability"].axes
    points = axes.containers[0].lines[0].get_xydata()
    np.testing.assert_allclose(points, [(0.65, 0.75), (0.95, 1.0)], rtol=1e-6)


def test_what_is_no_scoring_is_refused(tmp_path: Path, uri: str) -> None:
    assert is_scores(uri)
    assert not is_scores(str(tmp_path))
    with pytest.raises(RunError, match=r"no whole scores\.json"):
        scores_of(str(tmp_path))
    for path in Path(uri, "scores").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="no image has a row yet"):
        columns_of(scores_of(uri))


def test_of_a_model_that_diverged_there_is_no_report(tmp_path: Path) -> None:
    uri = write_scores(tmp_path / "out", [scored("a"), scored("b", (float("nan"), float("nan")))])
    with pytest.raises(RunError, match="no finite probabilities"):
        columns_of(scores_of(uri))
    assert scores_of(uri).least_certain(2) == ["a"]


def test_from_a_bucket(uri: str, s3: str) -> None:
    for path in Path(uri).rglob("*.*"):
        objects.upload(path, objects.join(s3, path.relative_to(uri).as_posix()))
    scores = scores_of(s3)
    assert scores.least_certain(2) == ["near", "tied"]
    assert columns_of(scores).by_status == columns_of(scores_of(uri)).by_status
    assert str(scores.rows(["gone"])) == str(scores_of(uri).rows(["gone"]))
