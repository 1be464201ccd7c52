"""Posteriors of a few maps: a corner plot of joint ones, a row of marginals where nothing else is known."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.ndimage import gaussian_filter

from fieldlevel.arrays import FloatArray, as_array
from fieldlevel.figures.parameter_panels import choice_in_words, choose_parameters
from fieldlevel.figures.style import COLOURS, WIDTH_INCHES, mark_mock, refuse_empty, styled, typeset_parameter
from fieldlevel.layout import Parameter

MOST_MAPS = 3
"""Whose posteriors are still told apart in one figure."""
LEVELS = (0.95, 0.68)
"""Probabilities inside the contours."""

_N_BINS = 50
_SMOOTHING = 2.0
"""Bins."""
_MARGINALS_ABREAST = 3
_TAIL = 0.1
"""Per cent of the samples beyond each end of an axis."""


def draw_corner(samples: FloatArray, parameters: Sequence[Parameter], *, joint: bool, mock: bool) -> Figure:
    """Draw the posteriors of a few maps.

    Joint ones: marginals on the diagonal and, below it, contours that hold 68 and 95 per cent of each pair. Of others
    the marginals alone, as contours would claim that the parameters are independent.

    Args:
        samples: from each posterior, in physical units, (S, n, P), or of one map, (S, P); the first three maps are
            drawn.
        parameters: of the columns; the twelve first are drawn, cosmological ones before others.
        joint: whether correlations are known.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no map.
    """
    samples = as_array(samples)
    samples = samples[:, None] if samples.ndim == 2 else samples
    refuse_empty(samples[0], "map")
    shown = choose_parameters(parameters)
    columns = [parameters.index(parameter) for parameter in shown]
    drawn = samples[:, :MOST_MAPS, columns]
    draw = _draw_joint if joint else _draw_marginals
    with styled():
        figure = draw(drawn, shown)
        names = [f"map {number}" for number in range(drawn.shape[1])]
        words = [*names, *filter(None, [choice_in_words(len(shown), len(parameters))])]
        handles = [Line2D([], [], color=colour) for colour in COLOURS[: len(names)]]
        handles += [Line2D([], [], linestyle="")] * (len(words) - len(names))
        figure.legend(handles, words, loc="outside upper left", ncols=len(words))
        mark_mock(figure, mock)
    return figure


def _draw_joint(samples: FloatArray, parameters: Sequence[Parameter]) -> Figure:
    n = len(parameters)
    figure = Figure(figsize=(WIDTH_INCHES, WIDTH_INCHES))
    axes = figure.subplots(n, n, squeeze=False, sharex="col")
    ranges = [_range_of(samples[..., column], parameter) for column, parameter in enumerate(parameters)]
    for (row, column), panel in np.ndenumerate(axes):
        if column > row:
            panel.set_axis_off()
            continue
        if column == row:
            _draw_marginal(panel, samples[..., column], ranges[column])
        else:
            _draw_contours(panel, samples[..., [column, row]], (ranges[column], ranges[row]))
        panel.tick_params(labelleft=column == 0 < row, labelrotation=45)
        if row == n - 1:
            panel.set_xlabel(typeset_parameter(parameters[column]))
        if column == 0 < row:
            panel.set_ylabel(typeset_parameter(parameters[row]))
    return figure


def _draw_marginals(samples: FloatArray, parameters: Sequence[Parameter]) -> Figure:
    n_columns = min(_MARGINALS_ABREAST, len(parameters))
    n_rows = -(-len(parameters) // n_columns)
    figure = Figure(figsize=(WIDTH_INCHES, 1.9 * n_rows + 0.3))
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for panel in panels[len(parameters) :]:
        panel.set_axis_off()
    for column, parameter in enumerate(parameters):
        _draw_marginal(panels[column], samples[..., column], _range_of(samples[..., column], parameter))
        panels[column].set_xlabel(typeset_parameter(parameter))
    return figure


def _range_of(values: FloatArray, parameter: Parameter) -> tuple[float, float]:
    """Where the samples are, within the prior."""
    low, high = np.percentile(values, [_TAIL, 100 - _TAIL])
    margin = 0.1 * max(high - low, 1e-6 * (parameter.high - parameter.low))
    return max(parameter.low, float(low - margin)), min(parameter.high, float(high + margin))


def _draw_marginal(panel: Axes, values: FloatArray, limits: tuple[float, float]) -> None:
    """Smoothed histogram of each map, over its largest value."""
    for of_map, colour in zip(values.T, COLOURS, strict=False):
        counts, edges = np.histogram(of_map, bins=_N_BINS, range=limits)
        smooth = gaussian_filter(counts.astype(float), _SMOOTHING, mode="nearest")
        panel.plot((edges[1:] + edges[:-1]) / 2, smooth / max(smooth.max(), 1.0), color=colour)
    panel.set_xlim(*limits)
    panel.set_ylim(0, 1.1)
    panel.set_yticks([])


def _draw_contours(panel: Axes, values: FloatArray, limits: tuple[tuple[float, float], tuple[float, float]]) -> None:
    """Contours of the smoothed counts of each map that hold so much of it."""
    for of_map, colour in zip(values.transpose(1, 0, 2), COLOURS, strict=False):
        counts, x, y = np.histogram2d(of_map[:, 0], of_map[:, 1], bins=_N_BINS, range=limits)
        smooth = gaussian_filter(counts, _SMOOTHING, mode="nearest")
        centres = ((edges[1:] + edges[:-1]) / 2 for edges in (x, y))
        panel.contour(*centres, smooth.T, levels=contour_levels(smooth), colors=colour, linewidths=[0.7, 1.2])
    panel.set_xlim(*limits[0])
    panel.set_ylim(*limits[1])


def contour_levels(density: FloatArray) -> list[float]:
    """Heights above which a density on cells holds the probabilities of `LEVELS`, ascending.

    Example:
        >>> contour_levels(np.array([[96.0, 2.0], [1.0, 1.0]]))
        [95.99999999999999, 96.0]
    """
    ordered = np.sort(density.ravel())[::-1]
    inside = ordered.cumsum() / ordered.sum()
    heights = [float(ordered[np.searchsorted(inside, level)]) for level in LEVELS]
    if heights[0] >= heights[1]:
        heights[0] = float(np.nextafter(heights[1], 0))
    return heights
