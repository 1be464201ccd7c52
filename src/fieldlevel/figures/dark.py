"""A figure on dark ground: the same drawing with its greys turned round and its colours made bright enough.

Maps and matrices keep their pixels and what is written on them; everything else is drawn for a page that is dark.

References:
    WCAG 2.1 (contrast).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from fieldlevel.figures.style import CONTRAST, contrast

PAGE, INK = "#14181d", "#e3e7ec"
"""Ground and letters."""

GREY = 0.06
"""Largest difference of red, green and blue in what counts as a grey."""

Rgba = tuple[float, float, float, float]


def darken(figure: Figure) -> Figure:
    """Change a figure in place to one for dark ground.

    Args:
        figure: what a `draw_*` function returned.

    Returns:
        The same figure.
    """
    on_images = {id(part) for axes in figure.axes if axes.images for part in (*axes.texts, *axes.lines)}
    for artist in figure.findobj():
        if id(artist) not in on_images:
            _recolour(artist)
    for axes in figure.axes:
        for each in (axes, *axes.child_axes):
            each.tick_params(which="both", color=INK, labelcolor=INK)
    return figure


def _recolour(artist: Artist) -> None:
    if isinstance(artist, Line2D):
        _change(artist, "color", "markerfacecolor", "markeredgecolor")
    elif isinstance(artist, Text):
        _change(artist, "color")
    elif isinstance(artist, Patch | Collection):
        _change(artist, "facecolor", "edgecolor")


def _change(artist: Any, *names: str) -> None:
    for name in names:
        before = getattr(artist, f"get_{name}")()
        if isinstance(before, str) and before in ("none", "auto"):
            continue
        change: Callable[[Any], None] = getattr(artist, f"set_{name}")
        rows = np.atleast_2d(before) if isinstance(before, np.ndarray) else None
        change(on_dark(to_rgba(before)) if rows is None else [on_dark(to_rgba(tuple(row))) for row in rows])


@cache
def on_dark(rgba: Rgba) -> Rgba:
    """A colour for dark ground: greys from black to white become those from ink to page, others bright enough.

    Example:
        >>> on_dark(to_rgba("black")) == to_rgba(INK), on_dark(to_rgba("white")) == to_rgba(PAGE)
        (True, True)
    """
    *rgb, alpha = rgba
    ink, page = (to_rgba(each)[:3] for each in (INK, PAGE))
    if max(rgb) - min(rgb) <= GREY:
        share = sum(rgb) / 3
        red, green, blue = ((1 - share) * one + share * other for one, other in zip(ink, page, strict=True))
    else:
        shades = ([c + share * (1 - c) for c in rgb] for share in np.linspace(0, 1, 101))
        red, green, blue = next(shade for shade in shades if contrast(shade, page) >= CONTRAST)
    return red, green, blue, alpha
