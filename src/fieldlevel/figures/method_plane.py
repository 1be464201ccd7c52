"""What robustness costs: error of each method at home against its error where it has never been."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from fieldlevel.figures.style import (
    BLACK,
    WIDTH_INCHES,
    colours_and_markers,
    columns_that_fit,
    mark_mock,
    refuse_empty,
    styled,
    typeset_parameter,
)
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
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 3.2))
        axes = figure.subplots(1, len(parameters), squeeze=False)[0]
        for panel, parameter in zip(axes, parameters, strict=True):
            for (method, at), (colour, marker) in zip(points.items(), colours_and_markers(len(points)), strict=True):
                panel.plot(*at[parameter.name], marker, color=colour, label=method)
            panel.axvline(bounds[0], color=BLACK, lw=0.8, ls="--")
            panel.axhline(bounds[1], color=BLACK, lw=0.8, ls="--")
            panel.set_title(typeset_parameter(parameter), loc="left", pad=4)
            panel.set_xlabel("all suites pooled: worst RMSE / single suite's")
            panel.margins(0.15)
        axes[0].set_ylabel("left out: worst RMSE / oracle's")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=columns_that_fit(labels))
        mark_mock(figure, mock)
    return figure
