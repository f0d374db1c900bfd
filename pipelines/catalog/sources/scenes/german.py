"""German traffic signs by the numbers of their types in GTSDB; of danger and mandatory signs the outline counts."""

from collections.abc import Callable
from functools import partial

import numpy as np

from pipelines.catalog.sources.scenes.sheet import BLACK, BLUE, RED, WHITE, YELLOW, Sheet, ngon

_LIMITS = dict(enumerate((20, 30, 50, 60, 70, 80))) | {7: 100, 8: 120}
_DANGER, _MANDATORY, _END = range(18, 32), range(33, 41), (6, 32, 41, 42)


def name_of(kind: int) -> str:
    """The name of a type's sprite."""
    return f"GTSDB_{kind}"


def kind_of(name: str) -> int:
    """The type that a sprite shows."""
    return int(name.removeprefix("GTSDB_"))


def _prohibitory() -> Sheet:
    sheet = Sheet()
    for radius, colour in ((1.0, WHITE), (0.97, RED), (0.74, WHITE)):
        sheet.disc(radius, colour)
    return sheet


def _limit(number: int) -> Sheet:
    sheet = _prohibitory()
    sheet.text(str(number), 1.16, 0.74 if number < 100 else 0.6, BLACK)
    return sheet


def _no_passing() -> Sheet:
    sheet = _prohibitory()
    _car(sheet, -0.3, RED)
    _car(sheet, 0.3, BLACK)
    return sheet


def _no_trucks() -> Sheet:
    sheet = _prohibitory()
    _car(sheet, 0.0, BLACK)
    return sheet


def _car(sheet: Sheet, x: float, colour: str) -> None:
    sheet.shape([(x - 0.26, 0.13), (x - 0.26, -0.02), (x - 0.15, -0.18), (x + 0.15, -0.18), (x + 0.26, 0.13)], colour)
    for wheel in (x - 0.16, x + 0.16):
        sheet.disc(0.08, colour, wheel, 0.16)


def _danger(kind: int) -> Sheet:
    sheet, rng = Sheet(), np.random.default_rng(kind)
    sheet.shape(ngon(3, 1.0, 0), RED)
    sheet.shape(ngon(3, 0.62, 0), WHITE)
    for x, y, width, height in rng.uniform((-0.2, -0.1, 0.04, 0.04), (0.2, 0.3, 0.15, 0.15), (3, 4)):
        sheet.shape([(x - width, y - height), (x + width, y - height), (x, y + height)], BLACK)
    return sheet


def _mandatory(kind: int) -> Sheet:
    sheet = Sheet()
    for radius, colour in ((1.0, WHITE), (0.95, BLUE)):
        sheet.disc(radius, colour)
    x, y = np.sin(turn := 2 * np.pi * kind / 8), -np.cos(turn)
    sheet.bar([(-0.6 * x, -0.6 * y), (0.5 * x, 0.5 * y)], 0.22, WHITE)
    sheet.disc(0.22, WHITE, 0.5 * x, 0.5 * y)
    return sheet


def _end(kind: int) -> Sheet:
    sheet = Sheet()
    for radius, colour in ((1.0, BLACK), (0.95, WHITE)):
        sheet.disc(radius, colour)
    if kind == 6:
        sheet.text("80", 1.0, 0.64, "#808080")
    for offset in (-0.2, 0.0, 0.2):
        sheet.bar([(offset - 0.6, 0.6), (offset + 0.6, -0.6)], 0.07, BLACK)
    return sheet


def _priority() -> Sheet:
    sheet = Sheet()
    for radius, colour in ((1.0, WHITE), (0.72, YELLOW)):
        sheet.shape(ngon(4, radius, 0), colour)
    return sheet


def _give_way() -> Sheet:
    sheet = Sheet()
    for radius, colour in ((1.0, RED), (0.62, WHITE)):
        sheet.shape(ngon(3, radius, 180), colour)
    return sheet


def _stop() -> Sheet:
    sheet = Sheet()
    for radius, colour in ((1.0, WHITE), (0.93, RED)):
        sheet.shape(ngon(8, radius, 22.5), colour)
    sheet.text("STOP", 1.4, 0.5, WHITE)
    return sheet


def _no_entry() -> Sheet:
    sheet = Sheet()
    for radius, colour in ((1.0, WHITE), (0.96, RED)):
        sheet.disc(radius, colour)
    sheet.shape([(-0.7, -0.18), (0.7, -0.18), (0.7, 0.18), (-0.7, 0.18)], WHITE)
    return sheet


_BY_KIND: dict[int, Callable[[], Sheet]] = {
    **{kind: partial(_limit, number) for kind, number in _LIMITS.items()},
    9: _no_passing,
    10: _no_passing,
    15: _prohibitory,
    16: _no_trucks,
    11: partial(_danger, 11),
    12: _priority,
    13: _give_way,
    14: _stop,
    17: _no_entry,
    **{kind: partial(_danger, kind) for kind in _DANGER},
    **{kind: partial(_mandatory, kind) for kind in _MANDATORY},
    **{kind: partial(_end, kind) for kind in _END},
}
GERMAN = {name_of(kind): _BY_KIND[kind] for kind in sorted(_BY_KIND)}
"""Every type, as GTSDB numbers them from 0 to 42."""
