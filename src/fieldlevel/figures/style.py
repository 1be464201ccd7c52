"""One look for every figure: fonts, colours, markers, the mark of mock data, and how a figure is saved.

No figure touches pyplot or the caller's rcParams, so they can be drawn on a machine without a display and beside any
other plot. Colours are those of Okabe & Ito, which colour-blind readers can tell apart; what has its own colour has its
own marker too, so that nothing is lost in black and white.

References:
    Okabe & Ito 2008, Color Universal Design.
"""

from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser

from fieldlevel.arrays import FloatArray
from fieldlevel.errors import UserError
from fieldlevel.files import written_aside
from fieldlevel.layout import SURFACE_DENSITY, Parameter
from fieldlevel.suites import MOCK_MARK

BLACK, ORANGE, SKY_BLUE, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

OWN_SUITE_COLOUR, OTHER_SUITE_COLOUR = BLUE, VERMILLION
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY_BLUE)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

CONTRAST = 4.5
"""Of letters on white: what WCAG 2.1 asks for."""

WIDTH_INCHES = 7.1
"""Text width of a two-column journal page."""
INCHES_OF_LETTER = 0.062
"""Mean width of the letters of a label."""
BESIDE_LABEL_INCHES = 0.63
"""Line, marker and gaps of one column of a legend."""

STYLE: dict[str, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9.5,
    "axes.labelsize": 10.5,
    "axes.titlesize": 10.5,
    "axes.linewidth": 0.7,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.2,
    "image.cmap": "inferno",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
}


FORMATS: dict[str, dict[str, str | None]] = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
"""Of figures, by the ending of the file, with what else would tell the day."""


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the package, whatever the caller's rcParams; they are back afterwards."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def colours_and_markers(n: int) -> list[tuple[str, str]]:
    """A colour and a marker for each of n things; no two of the first 42 have both in common."""
    return [(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i in range(n)]


def luminance(rgb: Sequence[float]) -> float:
    """Relative luminance of a colour, red, green and blue from 0 to 1 (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two colours, from 1 (none) to 21 (black on white), as WCAG 2.1 defines it."""
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


@cache
def ink(colour: str) -> str:
    """The colour itself, darkened as far as letters need to be read on white.

    Example:
        >>> ink(BLUE) == BLUE, ink(PURPLE)
        (True, '#a36186')
    """
    rgb = np.array(to_rgb(colour))
    darker = (to_hex((1 - share) * rgb) for share in np.linspace(0, 1, 101)[1:])
    shades = chain([colour], darker)
    return next(shade for shade in shades if contrast(to_rgb(shade), (1, 1, 1)) >= CONTRAST)


def mark_mock(figure: Figure, mock: bool) -> None:
    """Write MOCK DATA above the upper right corner of a figure of mock maps."""
    if mock:
        figure.suptitle(MOCK_MARK, color=VERMILLION, fontsize=10, fontweight="bold", x=0.995, ha="right")


def refuse_empty(things: Sized, what: str) -> None:
    """Refuse to draw a figure of nothing.

    Raises:
        UserError: there is none of them.
    """
    if len(things) == 0:
        raise UserError(f"figure: no {what} to draw; give at least one")


def set_prior_range(panel: Axes, parameter: Parameter) -> None:
    """Let the horizontal axis span the prior of a parameter."""
    margin = 0.03 * (parameter.high - parameter.low)
    panel.set_xlim(parameter.low - margin, parameter.high + margin)


def columns_that_fit(labels: Sequence[str], most: int = 3) -> int:
    """Columns of a legend as wide as a figure, as many as their texts leave room for."""
    for n in range(min(most, len(labels)), 1, -1):
        columns = np.array_split(np.array(labels), n)
        if sum(BESIDE_LABEL_INCHES + INCHES_OF_LETTER * max(map(len, each)) for each in columns) <= WIDTH_INCHES:
            return n
    return 1


def turn_labels(panel: Axes, labels: Sequence[str], cell_inches: float) -> None:
    """Turn the labels below the cells of a matrix where neighbours would overlap."""
    widths = [INCHES_OF_LETTER * max(map(len, label.split("\n"))) for label in labels]
    if any((one + other) / 2 > cell_inches - INCHES_OF_LETTER for one, other in pairwise(widths)):
        panel.tick_params(axis="x", labelrotation=90)


def typeset_parameter(parameter: Parameter) -> str:
    """The symbol of a parameter between dollar signs; its name in plain text where the symbol cannot be drawn."""
    return _drawable(f"${parameter.symbol}$", parameter.name)


@cache
def _drawable(text: str, instead: str) -> str:
    if "$" in text[1:-1]:
        return instead
    try:
        MathTextParser("path").parse(text)
    except (ValueError, RecursionError):
        return instead
    return text


def typeset_unit(unit: str) -> str:
    """A unit as it stands beside an axis."""
    return r"$(M_\odot/h)\,/\,({\rm Mpc}/h)^2$" if unit == SURFACE_DENSITY else unit.replace("$", r"\$")


def plot_within(
    panel: Axes, x: FloatArray, y: FloatArray, limits: tuple[float, float], marker: str, **look: Any
) -> None:
    """Draw points; those above or below the vertical limits become triangles at the edge instead of vanishing.

    Args:
        panel: where to draw; its vertical limits are set.
        x: shape (n,).
        y: shape (n,); points that are NaN are left out.
        limits: lower and upper end of the vertical axis.
        marker: of the points within.
        look: further properties of the lines.
    """
    low, high = limits
    inset = 0.03 * (high - low)
    for chosen, edge, shape in ((y < low, low + inset, "v"), (y > high, high - inset, "^")):
        panel.plot(x[chosen], np.full(np.count_nonzero(chosen), edge), shape, **(look | {"label": None}))
    within = (y >= low) & (y <= high)
    panel.plot(x[within], y[within], marker, **look)
    panel.set_ylim(low, high)


def save_figure(figure: Figure, path_stem: Path) -> tuple[Path, Path]:
    """Write a figure as vector PDF and as PNG; the same figure gives the same bytes on any day.

    Args:
        figure: what a `draw_*` function returned.
        path_stem: where to write, without suffix.

    Returns:
        Paths of the PDF and the PNG.
    """
    pdf, png = (path_stem.with_name(f"{path_stem.name}.{suffix}") for suffix in FORMATS)
    save_plot(figure, pdf)
    with laid_out(figure):
        save_plot(figure, png)
    return pdf, png


@contextmanager
def laid_out(figure: Figure) -> Iterator[None]:
    """Context in which everything in a figure that was drawn stays where it is: finding places costs as much again."""
    engine = figure.get_layout_engine()
    figure.set_layout_engine("none")
    try:
        yield
    finally:
        figure.set_layout_engine(engine or "none")


def save_plot(figure: Figure, path: Path) -> None:
    """Write a figure in the format of a file's ending, one of `FORMATS`; the same bytes on any day."""
    suffix = path.suffix[1:].lower()
    with styled(), written_aside(path) as aside:
        figure.savefig(aside, format=suffix, metadata=FORMATS[suffix])


def refuse_other_format(path: Path) -> None:
    """Refuse to draw into a file of another ending.

    Raises:
        UserError: with those that there are.
    """
    if path.suffix[1:].lower() not in FORMATS:
        raise UserError(f"{path}: a figure is {' or '.join(f'.{each}' for each in FORMATS)}; give it such a name")
