"""Example maps of every suite (the letter's Fig. 1).

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from fieldlevel.figures.style import WIDTH_INCHES, mark_mock, styled
from fieldlevel.parameters import BOX_SIZE_MPC_H, SURFACE_DENSITIES, SURFACE_DENSITY_UNIT, FloatArray


def draw_maps(
    maps: Mapping[str, FloatArray], box_size_mpc_h: float = BOX_SIZE_MPC_H, field: str = "Mtot", *, mock: bool
) -> Figure:
    """Draw example maps in columns, one row a suite, on one colour scale (the letter's Fig. 1).

    Args:
        maps: surface densities of each suite, shape (n_examples, N, N) [(Msun/h) / (Mpc/h)^2], positive.
        box_size_mpc_h: side of a map [Mpc/h].
        field: name of the field, for the unit.
        mock: whether to write MOCK DATA into the figure.
    """
    logarithms = {suite: np.log10(examples + (field == "Mstar")) for suite, examples in maps.items()}
    lowest, highest = np.percentile(np.concatenate([x.ravel() for x in logarithms.values()]), [0.5, 99.7])
    n_columns = max(len(examples) for examples in maps.values())
    with styled():
        height = (WIDTH_INCHES - 1.0) / n_columns * len(maps) + 0.25
        tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        figure = Figure(figsize=(WIDTH_INCHES, height), layout=tight)
        axes = figure.subplots(len(maps), n_columns, squeeze=False)
        for row, (suite, examples) in zip(axes, logarithms.items(), strict=True):
            for panel, example in zip(row, examples, strict=False):
                side = (0, box_size_mpc_h)
                image = panel.imshow(example.T, origin="lower", extent=(*side, *side), vmin=lowest, vmax=highest)
            for panel in row:
                panel.set(xticks=[], yticks=[])
                panel.set_visible(panel.has_data())
            row[0].set_ylabel(suite)
        _draw_scale_bar(axes[0, 0])
        bar = figure.colorbar(image, ax=axes, extend="both", aspect=30, pad=0.01, ticks=MaxNLocator(6))
        bar.set_label(_colour_label(field))
        mark_mock(figure, mock)
    return figure


def _colour_label(field: str) -> str:
    if field in SURFACE_DENSITIES:
        return rf"$\log_{{10}}\,\Sigma_{{\rm {field.removeprefix('M')}}}$  [{SURFACE_DENSITY_UNIT}]"
    return rf"$\log_{{10}}$ {field}  [CMD units]"


def _draw_scale_bar(panel: Axes, length_mpc_h: float = 5.0) -> None:
    side = panel.get_xlim()[1]
    left, height = 0.09 * side, 0.07 * side
    panel.plot([left, left + length_mpc_h], [height, height], color="white", linewidth=2, solid_capstyle="butt")
    label = rf"${length_mpc_h:g}\,{{\rm Mpc}}/h$"
    panel.text(left + length_mpc_h / 2, height + 0.025 * side, label, color="white", ha="center", va="bottom")
