"""Bias on a suite that was not trained on against how far it lies from those that were."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from fieldlevel.figures.parameter_row import parameter_row
from fieldlevel.figures.style import colours_and_markers, refuse_empty
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
    xlabel, ylabel = (
        r"rms difference of $\langle\log_{10} P\rangle$ to the nearest [dex]",
        "size of the bias [% of prior]",
    )
    with parameter_row(parameters, xlabel, ylabel, mock=mock) as (figure, axes):
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
            panel.set_ylim(bottom=0)
    return figure
