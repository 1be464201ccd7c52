"""What robustness costs: error of each method at home against its error where it has never been."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from fieldlevel.figures.parameter_row import parameter_row
from fieldlevel.figures.style import BLACK, colours_and_markers, refuse_empty
from fieldlevel.layout import Parameter

Point = tuple[float, float]
"""Worst ratio at home, and on a suite that was left out."""


def draw_method_plane(
    points: Mapping[str, Mapping[str, Point]], parameters: tuple[Parameter, ...], bounds: Point, *, mock: bool
) -> Figure:
    """Draw a point a method in each panel, a panel a parameter.

    Args:
        points: by method, then by the name of the parameter.
        parameters: one panel each.
        bounds: that lines are drawn at, of both axes.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no method.
    """
    refuse_empty(points, "method")
    xlabel, ylabel = "all suites pooled: worst RMSE / single suite's", "left out: worst RMSE / oracle's"
    with parameter_row(parameters, xlabel, ylabel, mock=mock) as (figure, axes):
        for panel, parameter in zip(axes, parameters, strict=True):
            for (method, at), (colour, marker) in zip(points.items(), colours_and_markers(len(points)), strict=True):
                panel.plot(*at[parameter.name], marker, color=colour, label=method)
            panel.axvline(bounds[0], color=BLACK, lw=0.8, ls="--")
            panel.axhline(bounds[1], color=BLACK, lw=0.8, ls="--")
            panel.margins(0.15)
    return figure
