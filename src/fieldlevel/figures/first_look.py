"""What a network says of example maps: a map of each suite, and the posteriors of all beside the truth."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fieldlevel.arrays import FloatArray
from fieldlevel.figures.style import (
    BLACK,
    WIDTH_INCHES,
    colours_and_markers,
    mark_mock,
    refuse_empty,
    styled,
    typeset_parameter,
)
from fieldlevel.layout import Layout, Parameter


def draw_first_look(
    maps: Mapping[str, FloatArray],
    moments: Mapping[str, tuple[FloatArray, FloatArray]],
    parameters: Sequence[Parameter],
    layout: Layout,
    *,
    mock: bool,
) -> Figure:
    """Draw the first map of each suite and the answers for all of its maps in the first two parameters.

    Args:
        maps: of each suite, (n, N, N), positive; the network's own suite first.
        moments: means and standard deviations for the maps of each suite, each (n, p).
        parameters: p of them, two or more, whose fiducial values are the truth.
        layout: of the maps, for the side of the box.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no suite.
    """
    refuse_empty(maps, "suite")
    with styled():
        n = len(maps)
        figure = Figure(figsize=(WIDTH_INCHES, WIDTH_INCHES / (n + 1.5) + 0.5))
        *images, panel = figure.subplots(1, n + 1, width_ratios=[1] * n + [1.1])
        _draw_images(images, maps, layout)
        looks = colours_and_markers(n)
        for (mean, std), (colour, marker) in zip(moments.values(), looks, strict=True):
            panel.errorbar(*mean[:, :2].T, *std[:, 1::-1].T, fmt=marker, color=colour, markersize=3, linewidth=0.8)
        truth = [parameter.fiducial for parameter in parameters[:2]]
        panel.plot(*([value] for value in truth), "*", color=BLACK, markersize=11, zorder=3)
        panel.set_xlabel(typeset_parameter(parameters[0]))
        panel.set_ylabel(typeset_parameter(parameters[1]))
        _label(figure, list(maps), looks)
        mark_mock(figure, mock)
    return figure


def _draw_images(panels: Sequence[Axes], maps: Mapping[str, FloatArray], layout: Layout) -> None:
    logarithms = {suite: np.log10(examples[0]) for suite, examples in maps.items()}
    lowest, highest = np.percentile(np.stack(list(logarithms.values())), [0.5, 99.7])
    side = (0, layout.box_size_mpc_h)
    for panel, (suite, image) in zip(panels, logarithms.items(), strict=True):
        panel.imshow(image.T, origin="lower", extent=(*side, *side), vmin=lowest, vmax=highest)
        panel.set_title(f"{suite}, {layout.box_size_mpc_h:g} Mpc/h", fontsize=9.5)
        panel.set(xticks=[], yticks=[])


def _label(figure: Figure, suites: Sequence[str], looks: Sequence[tuple[str, str]]) -> None:
    handles = [Line2D([], [], linestyle="", marker=marker, color=colour) for colour, marker in looks]
    handles.append(Line2D([], [], linestyle="", marker="*", color=BLACK, markersize=9))
    figure.legend(handles, [*suites, "truth"], loc="outside upper left", ncols=len(handles))
