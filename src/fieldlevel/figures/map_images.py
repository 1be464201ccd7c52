"""Example maps of every suite (the letter's Fig. 1).

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from fieldlevel.arrays import FloatArray, as_array
from fieldlevel.figures.style import (
    WIDTH_INCHES,
    mark_mock,
    refuse_empty,
    styled,
    typeset_parameter,
    typeset_unit,
)
from fieldlevel.layout import Layout

MOST_WRITTEN = 2
"""Parameters that have room in a panel."""
USUAL_LENGTH_MPC_H = 5.0
"""Of the scale bar in boxes like those of CAMELS."""


def draw_maps(
    maps: Mapping[str, FloatArray],
    layout: Layout = Layout(),
    field: str = "Mtot",
    theta: Mapping[str, FloatArray] | None = None,
    *,
    mock: bool,
) -> Figure:
    """Draw example maps in columns, one row a suite, on one colour scale (the letter's Fig. 1).

    Args:
        maps: of each suite, shape (n_examples, N, N), or one map, (N, N), in the unit of the field, positive; arrays or
            tensors.
        layout: of the maps, for the side of the box and the unit.
        field: name of the field.
        theta: parameters of each map of each suite, shape (n_examples, P), columns in the order of the layout's
            parameters; the cosmological ones are written into the panels. Nothing is written without them.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no suite.
    """
    refuse_empty(maps, "suite")
    logarithms = {suite: np.log10(_several(examples) + (field == "Mstar")) for suite, examples in maps.items()}
    lowest, highest = np.percentile(np.concatenate([x.ravel() for x in logarithms.values()]), [0.5, 99.7])
    n_columns = max(map(len, logarithms.values()))
    with styled():
        height = (WIDTH_INCHES - 1.0) / n_columns * len(maps) + 0.25
        tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        figure = Figure(figsize=(WIDTH_INCHES, height), layout=tight)
        axes = figure.subplots(len(maps), n_columns, squeeze=False)
        for row, (suite, examples) in zip(axes, logarithms.items(), strict=True):
            for panel, example in zip(row, examples, strict=False):
                side = (0, layout.box_size_mpc_h)
                image = panel.imshow(example.T, origin="lower", extent=(*side, *side), vmin=lowest, vmax=highest)
            for panel in row:
                panel.set(xticks=[], yticks=[])
                panel.set_visible(panel.has_data())
            row[0].set_ylabel(suite)
            for panel, truth in zip(row, (theta or {}).get(suite, ()), strict=False):
                _write_parameters(panel, truth, layout)
        _draw_scale_bar(axes[0, 0], _round_length(layout.box_size_mpc_h))
        bar = figure.colorbar(image, ax=axes, extend="both", aspect=30, pad=0.01, ticks=MaxNLocator(6))
        bar.set_label(_colour_label(field, layout))
        mark_mock(figure, mock)
    return figure


def _write_parameters(panel: Axes, theta: FloatArray, layout: Layout) -> None:
    """The first two cosmological parameters, white with a dark edge, in the upper left corner."""
    columns = layout.cosmological_columns[:MOST_WRITTEN]
    words = ",  ".join(f"{typeset_parameter(layout.parameters[c])} = {theta[c]:.2f}" for c in columns)
    edge = [withStroke(linewidth=2, foreground="black")]
    panel.text(0.03, 0.97, words, transform=panel.transAxes, color="white", va="top", fontsize=9, path_effects=edge)


def _colour_label(field: str, layout: Layout) -> str:
    unit = f"  [{typeset_unit(layout.unit(field))}]" if layout.unit(field) else ""
    if layout.is_surface_density(field):
        return rf"$\log_{{10}}\,\Sigma_{{\rm {field.removeprefix('M')}}}${unit}"
    return rf"$\log_{{10}}$ {field}{unit}"


def _round_length(box_size_mpc_h: float) -> float:
    """Length of the scale bar: the usual one where it fits, else about a fifth of the box, in one digit."""
    if box_size_mpc_h / 12 <= USUAL_LENGTH_MPC_H <= box_size_mpc_h / 3:
        return USUAL_LENGTH_MPC_H
    return float(f"{box_size_mpc_h / 5:.0e}")


def _draw_scale_bar(panel: Axes, length_mpc_h: float) -> None:
    side = panel.get_xlim()[1]
    left, height = 0.09 * side, 0.07 * side
    panel.plot([left, left + length_mpc_h], [height, height], color="white", linewidth=2, solid_capstyle="butt")
    label = rf"${length_mpc_h:g}\,{{\rm Mpc}}/h$"
    panel.text(left + length_mpc_h / 2, height + 0.025 * side, label, color="white", ha="center", va="bottom")


def _several(maps: Any) -> FloatArray:
    given = as_array(maps)
    return given[None] if given.ndim == 2 else given
