"""Error on each suite that was left out over that of an oracle that was trained there, by method."""

from collections.abc import Mapping

from matplotlib.axes import Axes
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
from fieldlevel.statistics.estimates import Estimate

SPREAD = 0.6
"""Of the room of a suite, over which the methods stand side by side."""

Ratios = Mapping[str, Mapping[str, Mapping[str, Estimate]]]
"""By method, then by suite, then by the name of the parameter."""


def draw_left_out_ratios(ratios: Ratios, parameters: tuple[Parameter, ...], bound: float, *, mock: bool) -> Figure:
    """Draw a panel a parameter: methods side by side in each suite, with 68% of the bootstrap.

    Args:
        ratios: of the RMSE to that of the oracle.
        parameters: one panel each.
        bound: that a line is drawn at.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no method.
    """
    refuse_empty(ratios, "method")
    suites = list(next(iter(ratios.values())))
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 2.1 * len(parameters) + 0.6))
        axes = figure.subplots(len(parameters), 1, sharex=True, squeeze=False)[:, 0]
        for panel, parameter in zip(axes, parameters, strict=True):
            _draw_panel(panel, ratios, parameter)
            panel.axhline(1, color=BLACK, lw=0.8)
            panel.axhline(bound, color=BLACK, lw=0.8, ls="--")
            panel.set_ylabel(f"{typeset_parameter(parameter)}: RMSE / oracle's")
        axes[-1].set_xticks(range(len(suites)), suites)
        axes[-1].set_xlabel("suite that was left out")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=columns_that_fit(labels))
        mark_mock(figure, mock)
    return figure


def _draw_panel(panel: Axes, ratios: Ratios, parameter: Parameter) -> None:
    for number, (method, (colour, marker)) in enumerate(zip(ratios, colours_and_markers(len(ratios)), strict=True)):
        shift = SPREAD * ((number + 0.5) / len(ratios) - 0.5)
        each = [row[parameter.name] for row in ratios[method].values()]
        values = [one.value for one in each]
        errors = [[max(one.value - one.low, 0) for one in each], [max(one.high - one.value, 0) for one in each]]
        places = [place + shift for place in range(len(each))]
        panel.errorbar(places, values, yerr=errors, fmt=marker, color=colour, ms=4, label=method)
    panel.set_xlim(-0.5, len(next(iter(ratios.values()))) - 0.5)
