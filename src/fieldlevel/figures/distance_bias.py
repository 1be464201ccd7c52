"""Bias on a suite that was not trained on against how far it lies from those that were."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from fieldlevel.figures.style import (
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

Biases = Mapping[str, Sequence[tuple[float, Mapping[str, Estimate]]]]
"""By method: distance to the nearest suite of the training, and the bias by the name of the parameter."""


def draw_distance_bias(biases: Biases, parameters: tuple[Parameter, ...], *, mock: bool) -> Figure:
    """Draw a point for each network and unseen suite, in a panel a parameter.

    Args:
        biases: in units of the parameters; distances in dex.
        parameters: one panel each.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no method.
    """
    refuse_empty(biases, "method")
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 3.2))
        axes = figure.subplots(1, len(parameters), squeeze=False)[0]
        for panel, parameter in zip(axes, parameters, strict=True):
            width = parameter.high - parameter.low
            for (method, points), (colour, marker) in zip(
                biases.items(), colours_and_markers(len(biases)), strict=True
            ):
                each = [(distance, row[parameter.name].size()) for distance, row in points]
                values = [100 * bias.value / width for _, bias in each]
                errors = [100 * bias.error / width for _, bias in each]
                places = [distance for distance, _ in each]
                panel.errorbar(places, values, yerr=errors, fmt=marker, color=colour, ms=4, label=method)
            panel.set_title(typeset_parameter(parameter), loc="left", pad=4)
            panel.set_xlabel(r"rms difference of $\langle\log_{10} P\rangle$ to the nearest [dex]")
            panel.set_ylim(bottom=0)
        axes[0].set_ylabel("size of the bias [% of prior]")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=columns_that_fit(labels))
        mark_mock(figure, mock)
    return figure
