"""Whether error bars are honest everywhere: coverage by quarters of the prior, and the truths within the posteriors."""

from collections.abc import Mapping, Sequence

import numpy as np
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
from fieldlevel.statistics.coverage import LEVELS, N_PARTS
from fieldlevel.statistics.error_bars import ErrorBars
from fieldlevel.statistics.estimates import Estimate

_WIDTH_OF_PLACE = 0.5


def draw_error_bars(
    found: Mapping[str, Mapping[str, ErrorBars]], parameters: Sequence[Parameter], *, mock: bool
) -> Figure:
    """Draw the coverage of 68 and 95% intervals by quarters of the prior, and the distribution of the truths' ranks.

    Args:
        found: by name of the tested network, then by parameter.
        parameters: a column of panels each.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: nothing tested, or no parameter.
    """
    refuse_empty(found, "tested networks")
    refuse_empty(parameters, "parameter")
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 4.9))
        axes = figure.subplots(2, len(parameters), squeeze=False, sharey="row")
        looks = colours_and_markers(len(found))
        for place, ((name, by_parameter), look) in enumerate(zip(found.items(), looks, strict=True)):
            shift = _WIDTH_OF_PLACE * ((place + 0.5) / len(found) - 0.5)
            for (above, below), parameter in zip(axes.T, parameters, strict=True):
                if parameter.name in by_parameter:
                    _draw_quarters(above, by_parameter[parameter.name], shift, look, name)
                    _draw_ranks(below, by_parameter[parameter.name], look)
        for (above, below), parameter in zip(axes.T, parameters, strict=True):
            _frame(above, below, parameter)
        axes[0, 0].set_ylabel("truths inside the interval")
        axes[1, 0].set_ylabel("density of truths")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=columns_that_fit(labels))
        mark_mock(figure, mock)
    return figure


def _draw_quarters(panel: Axes, found: ErrorBars, shift: float, look: tuple[str, str], name: str) -> None:
    """Filled markers for the first level, open ones for the second."""
    colour, marker = look
    x = np.arange(1, N_PARTS + 1) + shift
    for level in range(len(LEVELS)):
        estimates = [quarter[level] for quarter in found.quarters]
        face = colour if level == 0 else "white"
        panel.errorbar(
            x,
            [each.value for each in estimates],
            yerr=_errors(estimates),
            fmt=marker,
            color=colour,
            mfc=face,
            markersize=5,
            linewidth=1,
            label=name if level == 0 else None,
        )


def _errors(estimates: Sequence[Estimate]) -> list[float]:
    return [each.error if np.isfinite(each.error) else 0.0 for each in estimates]


def _draw_ranks(panel: Axes, found: ErrorBars, look: tuple[str, str]) -> None:
    n = len(found.histogram)
    edges, heights = np.arange(n + 1) / n, np.array([each.value for each in found.histogram])
    errors = np.array(_errors(found.histogram))
    panel.stairs(heights, edges, color=look[0], linewidth=1.2, baseline=None)
    panel.errorbar((edges[1:] + edges[:-1]) / 2, heights, yerr=errors, fmt="none", color=look[0], linewidth=0.8)


def _frame(above: Axes, below: Axes, parameter: Parameter) -> None:
    for level in LEVELS:
        above.axhline(level, linestyle="--", color=BLACK, linewidth=0.8)
    above.set(xlim=(0.5, N_PARTS + 0.5), ylim=(0, 1.05), xticks=range(1, N_PARTS + 1))
    above.set_xlabel("quarter of the prior")
    above.text(0.05, 0.07, typeset_parameter(parameter), transform=above.transAxes, fontsize=11)
    below.axhline(1, linestyle="--", color=BLACK, linewidth=0.8)
    below.set(xlim=(0, 1))
    below.set_ylim(bottom=0)
    below.set_xlabel("posterior below the truth")
