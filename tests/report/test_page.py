"""The report's HTML, without a browser."""

import base64
import hashlib
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ats_core.errors import RecipeError
from jobs import make_report
from pipelines.job import run
from pipelines.report.gallery import gallery_of
from pipelines.report.page.images import COLOURS, VIEW_SIDE, attention_map, figure_svg, photo
from pipelines.report.page.origins import options_text
from pipelines.report.page.panels import Views, boxes_of, outlines, panels_of
from pipelines.report.page.render import Page, render
from pipelines.report.page.write import write_report
from pipelines.report.paper_table import COLUMNS as TITLES
from pipelines.report.paper_table import paper_table
from pipelines.report.results import Result, Results, results_of
from pipelines.storage import objects
from tests.report.trained import write_catalog, write_trained
from tests.report.written import trial, write_run, write_sweep

MARKUP = '<img src=x onerror="hacked=1">\'</script>.png'
SAID = {MARKUP: (4.0, 0.0), "b": (2.0, 0.0), "c": (0.1, 0.0)}
FILES = {
    "report.html": "text/html",
    "figures/cost.png": "image/png",
    "figures/cost.pdf": "application/pdf",
}
TRUTH = {"b": [(4.0, 8.0, 12.0, 20.0)]}


class Tags(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    def of(self, tag: str, **attributes: str) -> Iterator[dict[str, str]]:
        return (has for name, has in self.found if name == tag and attributes.items() <= has.items())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    catalog = write_catalog(folder / "catalog", list(SAID), TRUTH)
    write_trained(str(folder / "runs" / "ats"), catalog, SAID, kept=["b"])
    write_trained(str(folder / "runs" / "uniform"), catalog, SAID, model="uniform", n_patches=2)
    write_trained(str(folder / "runs" / "cnn"), catalog, SAID, model="cnn", n_patches=0)
    return folder / "runs"


@pytest.fixture(scope="module")
def html(runs: Path) -> str:
    out = runs.parent / "out"
    assert write_report(str(runs), str(out)) == str(out / "report.html")
    return (out / "report.html").read_text()


def test_it_needs_nothing_but_itself(html: str) -> None:
    tags = Tags(html)
    addresses = [has[name] for _, has in tags.found for name in ("src", "href", "srcset", "action") if name in has]
    assert len(addresses) > 20
    assert {address.partition(",")[0] for address in addresses if not address.startswith(("#", "figures/"))} == {
        *("data:", "data:image/webp;base64", "data:image/svg+xml;base64")
    }
    assert not [tag for tag, _ in tags.found if tag in ("iframe", "object", "embed", "base")]
    assert "@import" not in html
    assert "url(" not in html


def test_its_policy_allows_its_own_style_and_script_alone(html: str) -> None:
    (policy,) = (has["content"] for has in Tags(html).of("meta", **{"http-equiv": "Content-Security-Policy"}))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    inline = [has for _, has in Tags(html).found if "style" in has or any(name.startswith("on") for name in has)]
    assert not inline, "the policy would not let them have an effect"


def test_a_name_with_markup_is_text(html: str) -> None:
    tags = Tags(html)
    assert len(list(tags.of("script"))) == 1
    assert not list(tags.of("img", src="x"))
    assert MARKUP in tags.texts
    assert list(tags.of("article", **{"data-name": MARKUP}))
    assert list(tags.of("button", **{"data-title": f"{MARKUP}, ats-3"}))


def test_a_live_dashboard_is_linked_and_nothing_else_that_a_link_can_be() -> None:
    for url, linked in (("http://127.0.0.1:8265", 1), ("javascript:alert(1)", 0), ("", 0)):
        result = Result("one", "ats-10", "", {"task": "toy", "model": "ats", "n_patches": 10}, "failed")
        html = render(Page(results=Results("sweep", (result,), url, "sweep")))
        assert len(list(Tags(html).of("a", **{"class": "live"}))) == linked
        assert "javascript:" not in html


def test_every_cell_has_the_number_that_it_is_sorted_by(html: str, runs: Path) -> None:
    rows = paper_table(results_of(str(runs)))
    numbers = [row[key] for row in rows for key in TITLES if f"{key}_text" in row]
    shown = [has["data-value"] for has in Tags(html).of("td") if "data-value" in has]
    assert [float(value) for value in shown[: len(numbers)]] == numbers
    assert [row["row"] for row in rows] == ["ats-3", "uniform-2", "cnn-12x16"]


def test_every_image_says_what_it_is(html: str) -> None:
    tags = Tags(html)
    assert all(has["alt"] for has in tags.of("img"))
    assert all(has["aria-label"] for has in tags.of("svg") if "aria-hidden" not in has)
    assert all(has["role"] == "img" for has in tags.of("svg") if "aria-hidden" not in has)


def test_models_that_see_one_view_share_it(html: str) -> None:
    tags = Tags(html)
    views = [has["id"] for has in tags.of("image") if "id" in has]
    assert views == ["view-0", "view-1", "view-2"]
    used = [has["href"] for has in tags.of("use")]
    assert used == [f"#{view}" for view in views for _ in range(4)]  # the image alone, and as three models see it


def test_uniform_attention_is_not_drawn_and_boxes_are_those_of_the_catalog(html: str) -> None:
    parts = re.split(r"<article ", html)[1:]
    assert [part.count('class="attention"') for part in parts] == [1 + 3, 1, 1]  # of ats; of `b` after three epochs too
    assert [part.count('class="truth"') for part in parts] == [4, 0, 0]
    assert outlines(np.array(TRUTH["b"])) == "M8 4H20V12H8Z"
    assert 'd="M8 4H20V12H8Z"' in parts[0]


def test_shares_are_written_where_they_hide_none_and_in_the_image(runs: Path) -> None:
    pictures, _ = gallery_of(results_of(str(runs)).results)
    example = pictures[0].seen[0].example
    middle = np.full((100, 2), 30)
    many = replace(
        example,
        centres=middle,
        weights=np.linspace(1, 0.1, 100),
        patches=np.zeros((100, 20, 20, 3), np.uint8),
    )
    boxes = boxes_of(many)
    assert len(boxes) == 100
    assert [(box.x, box.y, box.side) for box in boxes] == [(20, 20, 20)] * 100
    assert [box.text_at is not None for box in boxes] == [True] + [False] * 99
    corner = replace(many, centres=np.array([[2, 62]]), weights=np.array([1.0]), patches=many.patches[:1])
    ((x, baseline),) = (box.text_at for box in boxes_of(corner))
    font = 0.045 * 64
    assert 0 <= x <= 64 - 4 * 0.7 * font
    assert baseline >= font


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_an_attention_map_keeps_every_cell() -> None:
    a = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 5.0]])
    np.testing.assert_array_equal(decoded(attention_map(a)), COLOURS[[[0, 64, 128], [128, 0, 255]]])


def test_a_photo_is_small_and_of_grey_too() -> None:
    wide = np.tile(np.arange(256, dtype=np.uint8), (100, 12))[..., None]
    shown = decoded(photo(wide))
    assert max(shown.shape) == VIEW_SIDE
    assert shown.mean() == pytest.approx(wide.mean(), abs=2)


def test_a_figure_for_the_dark_has_light_letters_on_dark_paper() -> None:
    figure = Figure()
    figure.subplots().set_title("title")
    light, dark = (base64.b64decode(figure_svg(figure, dark=dark).partition(",")[2]).decode() for dark in (False, True))
    assert light == base64.b64decode(figure_svg(figure).partition(",")[2]).decode()
    assert "#ffffff" in light
    assert "#ffffff" not in dark
    assert re.search(r'<svg fill="#e\w{5}" ', dark)


def test_without_its_images_a_report_has_the_rest_and_says_so(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path / "catalog", list(SAID))
    write_trained(str(tmp_path / "runs" / "ats"), catalog, SAID)
    (tmp_path / "catalog" / "_catalog.json").unlink()
    html = Path(write_report(str(tmp_path / "runs"), str(tmp_path / "out"))).read_text()
    tags = Tags(html)
    assert any(text.startswith("There is no gallery of toy.") and "not a catalog" in text for text in tags.texts)
    assert list(tags.of("table", id="results-table"))
    assert not list(tags.of("article"))


def test_one_run_without_its_model_leaves_the_gallery_of_the_others(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path / "catalog", list(SAID))
    for name, n_patches in (("gone", 2), ("ats", 3)):
        write_trained(str(tmp_path / "runs" / name), catalog, SAID, n_patches=n_patches)
    (tmp_path / "runs" / "gone" / "model" / "model.safetensors").unlink()
    tags = Tags(Path(write_report(str(tmp_path / "runs"), str(tmp_path / "out"), images=1)).read_text())
    assert any(text.startswith("The gallery of toy is without gone.") for text in tags.texts)
    assert len(list(tags.of("figure", **{"data-column": "0"}))) == 1
    assert not list(tags.of("figure", **{"data-column": "1"}))


def test_an_error_that_one_draw_cannot_tell_is_none(runs: Path) -> None:
    pictures, _ = gallery_of(results_of(str(runs / "ats")).results, images=1)
    (seen,) = pictures[0].seen
    for error in (np.nan, np.inf):
        untold = replace(seen, example=replace(seen.example, standard_error=error))
        assert panels_of(replace(pictures[0], seen=[untold]), Views())["seen"][0]["standard_error"] is None


def test_equal_runs_are_one_and_the_page_says_so(tmp_path: Path) -> None:
    for name in ("one", "same"):
        write_run(str(tmp_path / "runs" / name), {"test_error": 0.25})
    tags = Tags(Path(write_report(str(tmp_path / "runs"), str(tmp_path / "out"), images=0)).read_text())
    assert "Of 2 runs, 1 left out: another has the same setting, seed and test splits." in tags.texts


def test_failed_trials_are_rows_with_their_errors(tmp_path: Path) -> None:
    rows = [
        trial("one", "ats-10", task="toy", model="ats", n_patches=10, test_error=0.2, seed=0, test_splits="a+b"),
        trial("two", "cnn", "failed", "ImageError: <gone>", task="toy", model="cnn", n_patches=0, seed=0),
    ]
    sweep = write_sweep(str(tmp_path / "sweep"), rows, dashboard="https://ray.example/#/jobs")
    tags = Tags(Path(write_report(sweep, str(tmp_path / "out"))).read_text())
    assert "1 of 2 runs have not finished; the table's last column says why." in tags.texts
    assert "ImageError: <gone>" in tags.texts
    assert "a, b" in tags.texts
    assert list(tags.of("a", href="https://ray.example/#/jobs"))
    assert [has["data-model"] for has in tags.of("tr") if has.get("data-model")] == ["ats", "cnn"]


def test_figures_lie_beside_the_page(html: str, runs: Path) -> None:
    links = [has["href"] for has in Tags(html).of("a") if has["href"].startswith("figures/")]
    assert len(links) == 2 * 4
    assert all((runs.parent / "out" / link).stat().st_size > 1000 for link in links)


def test_a_bucket_serves_it_as_a_page(tmp_path: Path, s3: str) -> None:
    catalog = write_catalog(tmp_path / "catalog", list(SAID))
    write_trained(objects.join(s3, "runs", "ats"), catalog, SAID)
    path = write_report(objects.join(s3, "runs"), objects.join(s3, "out"), images=1)
    import s3fs

    bucket = s3fs.S3FileSystem(skip_instance_cache=True)
    kinds = {name: bucket.info(objects.join(s3, "out", name))["ContentType"] for name in FILES}
    assert kinds == FILES
    assert objects.read_bytes(path).startswith(b"<!doctype html>")


def test_the_options_of_a_run_are_as_one_would_write_them() -> None:
    given = {"model": "cnn", "view_size": [250, 250], "images": "/my images", "seed": 0, "gated": True, "smoke": False}
    assert options_text(given) == "--model cnn --view-size 250 250 --images '/my images' --gated"


def test_the_job_ends_with_where_the_page_is(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["make_report.py", "--results", str(runs / "cnn"), "--out", str(tmp_path / "out"), "--n-images", "0"]
    monkeypatch.setattr(sys, "argv", command)
    run(make_report.main, make_report.Options, make_report.__doc__)
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {tmp_path / 'out' / 'report.html'}"
    command[2] = str(tmp_path)
    (tmp_path / "out" / "report.html").unlink()
    with pytest.raises(SystemExit) as ended:
        run(make_report.main, make_report.Options, make_report.__doc__)
    assert ended.value.code == 2
    assert "there is no run in it" in capsys.readouterr().err
    with pytest.raises(RecipeError, match="n_models 0"):
        make_report.Options(results="a", out="b", n_models=0)
