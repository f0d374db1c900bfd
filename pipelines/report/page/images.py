"""Pixels, attention maps and figures as data URIs, so that a page needs no file beside it."""

import io
from base64 import b64encode
from re import sub

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from PIL import Image

from pipelines.report.drawing import MAP_COLOURS, normalised, plain_text

QUALITY = 85  # of WebP
VIEW_SIDE = 1024  # pixels of a view, at most
COLOURS = (colormaps[MAP_COLOURS](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
DARK = {"#000000": "#e7e9ec", "#ffffff": "#1a1d21", "#dddddd": "#343941", "#555555": "#a3abb5"}
"""Ink, paper, grid and faint lines of a figure, by what they are on white."""


def photo(pixels: np.ndarray) -> str:
    """Pixels uint8 [h, w, 3] or [h, w, 1] as WebP, no larger than `VIEW_SIDE`; its losses are not seen."""
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((VIEW_SIDE, VIEW_SIDE))
    return _webp(image, quality=QUALITY)


def attention_map(a: np.ndarray) -> str:
    """Attention [rows, columns] normalised as (a - min a) / (max a - min a), a pixel a cell, without loss."""
    levels = (normalised(a) * 255).round().astype(np.uint8)
    return _webp(Image.fromarray(COLOURS[levels]), lossless=True)


@plain_text()
def figure_svg(figure: Figure, *, dark: bool = False) -> str:
    """A figure as SVG, its letters as outlines; with `dark` in light ink on dark paper."""
    with rc_context({"svg.hashsalt": "report"}):  # the same figure makes the same bytes
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    if dark:
        svg = sub("|".join(DARK), lambda colour: DARK[colour.group()], svg)
        svg = svg.replace("<svg ", f'<svg fill="{DARK["#000000"]}" ', 1)  # of letters, which name no colour when black
    return data_uri(svg.encode(), "image/svg+xml")


def data_uri(content: bytes, kind: str) -> str:
    """Bytes of a media type, inline."""
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _webp(image: Image.Image, **options: bool | int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return data_uri(buffer.getvalue(), "image/webp")
