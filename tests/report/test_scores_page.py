"""The report of a scoring: HTML, without a browser."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.report.gallery import Picture, Seen
from pipelines.report.page.panels import Views, panels_of
from pipelines.report.page.scores import pictures_of, render_scores, strange_labels
from pipelines.report.page.write import write_report
from pipelines.report.score_columns import columns_of
from pipelines.report.scores import scores_of
from tests.report.test_page import MARKUP, Tags
from tests.scoring.rows import ASKED, Scored, failed, write_scores

IDS = [MARKUP, "b", "c"]
FAILED = [failed("gone", "missing", "<b>no object"), failed("cut", "truncated", "ends early")]


def page_of(scored: Scored, rows: Sequence[dict[str, Any]], **asked: Any) -> str:
    """Without figures, which take longest."""
    known = {"model": scored.run, "catalog": scored.catalog} | asked
    scores = scores_of(write_scores(scored.out, rows, **known))
    columns = columns_of(scores)
    pictures, notes = pictures_of(scores, 12)
    return render_scores(scores, columns, {}, pictures, [*strange_labels(columns), *notes])


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    return Scored(tmp_path_factory.mktemp("scored"), IDS)


@pytest.fixture(scope="module")
def html(scored: Scored) -> str:
    rows = [*scored.rows(etag=""), *FAILED]
    uri = write_scores(scored.out, rows, model=scored.run, catalog=scored.catalog)
    return Path(write_report(uri, str(scored.out.parent / "report"), images=2)).read_text()


def test_its_first_lines_say_how_many_and_how_good(html: str, scored: Scored) -> None:
    wrong = sum(seen.right is False for seen in scored.examples)
    head = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html[html.index('<dl class="facts">') : html.index("<nav")]))
    assert head.startswith(f" task toy images 5 scored 3 2 failed error {wrong / 3:.3f}")
    assert "requests an image 3.0 MB an image 0.25" in head
    assert re.search(r"<h1>toy-ats</h1>", html)


def test_a_status_is_a_row_with_an_example(html: str) -> None:
    tags = Tags(html)
    values = [has["data-value"] for has in tags.of("td") if "data-value" in has]
    assert values == ["3", "0.6", "3.0", "3.0", "0.25", *["1", "0.2", "", "3.0", "0.25"] * 2]
    for text in ("ok", "missing", "truncated", "gone", "<b>no object", "ends early"):
        assert text in tags.texts


def test_the_gallery_has_wrong_and_uncertain_images_in_turn(html: str, scored: Scored) -> None:
    shown = [has["data-name"] for has in Tags(html).of("article")]
    wrong = [
        name for name in scored.by_margin()[::-1] if dict(zip(IDS, scored.examples, strict=True))[name].right is False
    ]
    assert shown == list(dict.fromkeys([*wrong[:1], *scored.by_margin()]))[:2]
    assert "those that it has wrong" in html


def test_figures_lie_beside_it(html: str, scored: Scored) -> None:
    links = [has["href"] for has in Tags(html).of("a") if has["href"].startswith("figures/")]
    stems = ["predictions", "probabilities", "reliability", "error_over_margin", "failures"]
    assert links == [f"figures/{stem}.{kind}" for stem in stems for kind in ("png", "pdf")]
    assert all((scored.out.parent / "report" / link).stat().st_size > 1000 for link in links)


def test_it_says_where_it_comes_from(html: str, scored: Scored) -> None:
    texts = Tags(html).texts
    for text in (ASKED["model_digest"], ASKED["images"], scored.run, str(scored.out), "not finished"):
        assert text in texts


def test_without_labels_nothing_is_right_or_wrong(tmp_path: Path) -> None:
    scored = Scored(tmp_path, ["a", "b"])
    rows = [row | {"label": ""} for row in scored.rows(etag="")]
    html = page_of(scored, rows, until=0.02)
    tags = Tags(html)
    assert [has["data-right"] for has in tags.of("figure", **{"class": "panel seen"})] == ["", ""]
    assert [has["value"] for has in tags.of("option") if "value" in has][:2] == ["unsure", "name"]
    assert not {"✓", "✗", "error", "right only"} & {word for text in tags.texts for word in (text, text[:1])}
    assert "3, until 0.02, at most 200" in tags.texts
    assert "wrong, the surest first" not in html


def test_images_that_are_gone_are_named_and_the_others_shown(tmp_path: Path) -> None:
    scored = Scored(tmp_path, ["a", "b"])
    rows = scored.rows(etag="")
    Path(scored.uris[0]).unlink()
    tags = Tags(page_of(scored, rows))
    assert [has["data-name"] for has in tags.of("article")] == ["b"]
    assert any(text.startswith("The gallery is without a.") for text in tags.texts)


@pytest.mark.parametrize(
    ("asked", "note"),
    [
        ({"model": "/nowhere"}, "There is no gallery. /nowhere: there is no"),
        ({"view_size": [3, 4]}, "it is another model than the one that scored"),
        ({"catalog": "/nowhere"}, "There is no gallery. /nowhere: there is no _catalog.json"),
    ],
)
def test_without_its_model_it_has_the_rest_and_says_so(tmp_path: Path, asked: dict[str, Any], note: str) -> None:
    scored = Scored(tmp_path, ["a", "b"])
    tags = Tags(page_of(scored, scored.rows(etag=""), **asked))
    assert any(note in text for text in tags.texts)
    assert list(tags.of("table", id="results-table"))
    assert not list(tags.of("article"))


def test_where_nothing_was_scored_it_says_why(tmp_path: Path) -> None:
    scored = Scored(tmp_path, ["a"])
    tags = Tags(page_of(scored, FAILED))
    assert not list(tags.of("article"))
    assert "ends early" in tags.texts


def test_labels_that_the_model_does_not_know_are_counted(tmp_path: Path) -> None:
    scored = Scored(tmp_path, ["a", "b"])
    rows = [row | {"label": label} for row, label in zip(scored.rows(etag=""), ("perhaps", ""), strict=True)]
    tags = Tags(page_of(scored, rows))
    assert "The labels of 1 images are no classes of the model: these count as wrong." in tags.texts
    assert "of 1 with a label" in tags.texts


def test_an_image_without_a_label_is_neither_right_nor_wrong(scored: Scored) -> None:
    unknown = replace(scored.examples[0], label="")
    (panel,) = panels_of(Picture("a", "", [Seen("one", unknown, {})]), Views())["seen"]
    assert panel["right"] is None
