"""What the pages of runs and of scores share: their frame, figures, galleries."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from pipelines.report.gallery import Picture
from pipelines.report.page.images import figure_svg
from pipelines.report.page.panels import Views, panels_of

HERE = Path(__file__).parent
FIGURES = "figures"
"""The folder beside the page with the same figures as files."""
FEW_BOXES = 10  # on an image: more would hide its attention


def html(template: str, context: Mapping[str, Any]) -> str:
    """A page. All text of it that comes from data is escaped, and its policy lets no foreign script run."""
    css, js = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"css": Markup(css), "js": Markup(js), "policy": _policy(css, js)}
    return environment.get_template(template).render(context)


def _policy(css: str, js: str) -> str:
    """The content security policy: our style, our script, inlined images, and nothing else from anywhere."""
    style, script = (b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, js))
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "base-uri 'none'; form-action 'none'"
    )


def shown(figures: Mapping[str, Figure], galleries: Mapping[str, Sequence[Picture]]) -> dict[str, Any]:
    """The figures and galleries of a page as its templates take them."""
    views = Views()
    return {
        "figures": [_figure(name, figure) for name, figure in figures.items()],
        "galleries": [_gallery(task, pictures, views) for task, pictures in galleries.items() if pictures],
        "views": list(views.shown.values()),
    }


def _figure(name: str, figure: Figure) -> dict[str, Any]:
    stem, _, task = name.partition("-")
    width, height = figure.get_size_inches() * 100
    return {
        "stem": stem,
        "task": task.replace("_", " "),
        "light": figure_svg(figure),
        "dark": figure_svg(figure, dark=True),
        "width": round(width),
        "height": round(height),
        "file": f"{FIGURES}/{quote(name)}",
    }


def _gallery(task: str, pictures: Sequence[Picture], views: Views) -> dict[str, Any]:
    shown = [panels_of(picture, views) for picture in pictures]
    return {
        "task": task.replace("_", " "),
        "rows": [seen["row"] for seen in shown[0]["seen"]],
        "truth": _truth([picture["n_truth"] for picture in shown]),
        "labelled": any(picture["label"] for picture in shown),
        "pictures": shown,
    }


def _truth(counts: Sequence[int]) -> str:
    """Where boxes are drawn at first: many would hide the attention. "" where there are none."""
    return "" if not any(counts) else "all" if max(counts) <= FEW_BOXES else "image"
