"""What networks say of simulations that differ in one parameter alone, against that parameter."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fieldlevel.arrays import FloatArray
from fieldlevel.figures.parameter_panels import choose_parameters
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
from fieldlevel.statistics.responses import Response, Responses

COLUMNS = 6
"""Panels beside one another."""
_BESIDE = 0.02
"""Distance of the markers of two networks at one value, over the range of the parameter."""


def draw_parameter_responses(
    responses: Mapping[str, Responses], answered: Sequence[Parameter], varied: Sequence[Parameter], *, mock: bool
) -> Figure:
    """Draw mean answers against each parameter that varies alone; its own panel comes first.

    Bars are the scatter from one set of initial conditions to the next, bands the mean standard deviation that a
    network claims, black lines the truth. All panels of an answer but its own have one vertical range.

    Args:
        responses: by the name of the network and what it was tested on.
        answered: parameters, some rows of panels each.
        varied: parameters, a panel each; the twelve first are drawn, cosmological ones before others.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no network, no answered parameter or none that varies.
    """
    refuse_empty(responses, "network")
    refuse_empty(answered, "parameter that is answered")
    refuse_empty(varied, "parameter that varies")
    shown = choose_parameters(varied)
    looks = dict(zip(responses, colours_and_markers(len(responses)), strict=True))
    n_columns = min(COLUMNS, len(shown))
    n_lines = -(-len(shown) // n_columns)
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 1.75 * n_lines * len(answered) + 0.7))
        axes = figure.subplots(len(answered) * n_lines, n_columns, squeeze=False)
        blocks: list[list[Axes]] = axes.reshape(len(answered), -1).tolist()
        for panels, parameter in zip(blocks, answered, strict=True):
            ordered = sorted(shown, key=lambda each: each.name != parameter.name)
            for panel, along in zip(panels, ordered, strict=False):
                _draw_panel(panel, responses, looks, parameter, along)
            _share_height(panels[: len(ordered)], [each.name == parameter.name for each in ordered])
            for place, panel in enumerate(panels):
                panel.set_visible(place < len(ordered))
                if place % n_columns == 0:
                    panel.set_ylabel(f"mean of {typeset_parameter(parameter)}")
        figure.legend(
            *_handles(axes.ravel().tolist(), looks), loc="outside lower center", ncols=columns_that_fit(list(looks))
        )
        mark_mock(figure, mock)
    return figure


def _draw_panel(
    panel: Axes,
    responses: Mapping[str, Responses],
    looks: Mapping[str, tuple[str, str]],
    parameter: Parameter,
    along: Parameter,
) -> None:
    for place, (network, found) in enumerate(responses.items()):
        if (parameter.name, along.name) in found:
            shift = _BESIDE * (place - (len(responses) - 1) / 2)
            _draw_response(panel, found[parameter.name, along.name], looks[network], network, along, shift)
    _draw_truth(panel, parameter, along)
    if along.logarithmic:
        panel.set_xscale("log")
    middle = along.fiducial if along.fiducial is not None else (along.low + along.high) / 2
    ticks = [along.low, middle, along.high]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.set_xticks([], minor=True)
    low, high = _moved(np.array([along.low, along.high]), along, np.array([-0.12, 0.12]))
    panel.set_xlim(low, high)
    panel.set_xlabel(typeset_parameter(along))


def _draw_response(
    panel: Axes, response: Response, look: tuple[str, str], name: str, along: Parameter, shift: float
) -> None:
    (colour, marker), x = look, _moved(response.values, along, shift)
    means, stds = response.means, response.stds
    panel.fill_between(x, means - stds, means + stds, color=colour, alpha=0.12, linewidth=0)
    bars = np.nan_to_num(response.scatters)
    panel.errorbar(
        x, means, bars, color=colour, marker=marker, markersize=4, linewidth=1, capsize=2, mec="white", mew=0.4,
        label=name,
    )  # fmt: skip


def _moved(values: FloatArray, along: Parameter, shift: float | FloatArray) -> FloatArray:
    """Values a part of the range further."""
    moved: FloatArray = (
        values * (along.high / along.low) ** shift if along.logarithmic else values + shift * (along.high - along.low)
    )
    return moved


def _draw_truth(panel: Axes, parameter: Parameter, along: Parameter) -> None:
    if along.name == parameter.name:
        ends = [along.low, along.high]
        panel.plot(ends, ends, color=BLACK, linewidth=0.8, zorder=1)
    elif parameter.fiducial is not None:
        panel.axhline(parameter.fiducial, color=BLACK, linewidth=0.8, zorder=1)


def _share_height(panels: Sequence[Axes], are_own: Sequence[bool]) -> None:
    """One vertical range for all panels but an answer's own, written beside the first of them alone."""
    others = [panel for panel, is_own in zip(panels, are_own, strict=True) if not is_own]
    if not others:
        return
    limits = np.array([panel.get_ylim() for panel in others])
    for place, panel in enumerate(others):
        panel.set_ylim(limits[:, 0].min(), limits[:, 1].max())
        if place > 0:
            panel.set_yticklabels([])


def _handles(panels: Sequence[Axes], names: Mapping[str, object]) -> tuple[list[Any], list[str]]:
    found: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    return [found[name] for name in names if name in found], [name for name in names if name in found]
