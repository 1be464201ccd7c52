"""Posterior mean minus truth against truth, with error bars: the letter's Figs. 2 (four pairs) and 3 (N-body).

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from fieldlevel.arrays import IntArray
from fieldlevel.figures.parameter_panels import blocks_of, choose_parameters, n_blocks
from fieldlevel.figures.style import (
    BLACK,
    OTHER_SUITE_COLOUR,
    OWN_SUITE_COLOUR,
    WIDTH_INCHES,
    colours_and_markers,
    mark_mock,
    refuse_empty,
    set_prior_range,
    styled,
    typeset_parameter,
)
from fieldlevel.layout import Parameter
from fieldlevel.statistics.metrics import METRICS
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.shared_parameters import main_parameters
from fieldlevel.suites import is_nbody

PANEL_METRICS = {(0.02, "left"): "rms_relative_error", (0.56, "center"): "r2", (0.98, "right"): "reduced_chi2"}
"""Measures written into a panel by their place along its width; their errors stand in the tables."""

TRANSFER_METRICS = ("bias", "reduced_chi2")
"""Measures written for each suite of the N-body tests."""

N_SHOWN = 40
"""Maps drawn with error bars, as many as the letter shows of a suite that the network has not seen."""

LINE_OF_TEXT = 0.35
"""Height of a line of text over a panel's points, in units of their largest distance from zero."""


def parameters_of(pairs: Iterable[PairResult]) -> tuple[Parameter, ...]:
    """What figures of residuals show: the cosmological parameters that all pairs have."""
    return choose_parameters(main_parameters(pair.layout for pair in pairs))


def draw_four_pairs(pairs: Sequence[PairResult], *, mock: bool) -> Figure:
    """Draw posterior mean minus truth against truth, a row for each pair of suites (the letter's Fig. 2).

    The cosmological parameters stand beside one another; where there are more than two, in blocks of such rows. Faint
    dots are all tested maps; error bars are the posterior standard deviations of `N_SHOWN` of them, from as many
    simulations as possible. The numbers in a panel are over all tested maps.

    Args:
        pairs: tested networks, from top to bottom.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no pair, or no parameter that all of them have.
    """
    refuse_empty(pairs, "pair of suites")
    parameters = parameters_of(pairs)
    refuse_empty(parameters, "parameter that all pairs have")
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, n_blocks(parameters) * (1.7 * len(pairs) + 0.6)))
        for place, block in blocks_of(figure, parameters):
            _draw_pairs(place, pairs, block)
        mark_mock(figure, mock)
    return figure


def _draw_pairs(place: FigureBase, pairs: Sequence[PairResult], parameters: Sequence[Parameter]) -> None:
    """A row a pair, a column a parameter."""
    axes = place.subplots(len(pairs), len(parameters), squeeze=False, sharex="col", sharey="col")
    for row, pair in zip(axes, pairs, strict=True):
        for panel, parameter in zip(row, parameters, strict=True):
            _draw_pair(panel, pair, parameter)
        row[0].set_title(rf"trained on {pair.train_suite}, tested on {pair.test_suite}", loc="left", pad=4)
    for column, parameter in zip(axes.T, parameters, strict=True):
        column[0].set_ylim(*residual_limits([pair.predictions for pair in pairs], parameter))
        column[-1].set_xlabel(f"{typeset_parameter(parameter)}  (truth)")


def _draw_pair(panel: Axes, pair: PairResult, parameter: Parameter) -> None:
    theta, mean, _ = pair.predictions.moments_of(parameter.name)
    colour = OTHER_SUITE_COLOUR if pair.crosses_suites else OWN_SUITE_COLOUR
    frame_residuals(panel, parameter)
    panel.plot(theta, mean - theta, ".", color=colour, alpha=0.18, markersize=3, mew=0, rasterized=True, zorder=2)
    draw_error_bars(panel, pair.predictions, parameter, (colour, "s" if pair.crosses_suites else "o"))
    for (place, alignment), key in PANEL_METRICS.items():
        panel.text(place, 0.88, _measure(pair, parameter, key), transform=panel.transAxes, ha=alignment, fontsize=9)


def _measure(pair: PairResult, parameter: Parameter, key: str) -> str:
    estimate = pair.scores[parameter.name][key]
    return f"{METRICS[key].latex} = {estimate.text(METRICS[key].percent, with_error=False)}"


def frame_residuals(panel: Axes, parameter: Parameter) -> None:
    """Draw the line of zero error and label the vertical axis; the horizontal one spans the prior."""
    panel.axhline(0, color=BLACK, linewidth=0.8, zorder=1)
    panel.set_ylabel(f"{typeset_parameter(parameter)}:  mean $-$ truth")
    set_prior_range(panel, parameter)


def draw_error_bars(
    panel: Axes,
    predictions: Predictions,
    parameter: Parameter,
    look: tuple[str, str],
    *,
    n: int = N_SHOWN,
    shift: float = 0.0,
    label: str | None = None,
) -> None:
    """Draw mean minus truth of a few maps, with the posterior standard deviation as error bar.

    Args:
        panel: where to draw.
        predictions: tested maps, of which `choose_maps` takes n.
        parameter: what was inferred.
        look: colour and marker.
        n: how many maps.
        shift: to the right, in units of the parameter, so that error bars of one truth stand side by side.
        label: for the legend.
    """
    chosen = choose_maps(predictions, n)
    theta, mean, std = (x[chosen] for x in predictions.moments_of(parameter.name))
    colour, marker = look
    size = 3 if marker in "os" else 4  # other shapes have less area
    points: dict[str, Any] = {"color": colour, "marker": marker, "markersize": size, "mew": 0.4, "mec": "white"}
    panel.errorbar(theta + shift, mean - theta, std, linestyle="", elinewidth=0.8, zorder=3, label=label, **points)


def residual_limits(
    tested: Iterable[Predictions], parameter: Parameter, *, n: int = N_SHOWN, n_lines: int = 1
) -> tuple[float, float]:
    """Limits of the vertical axis that hold 99% of all points, every drawn error bar and a few lines of text above.

    Where the truth is not known there are no points.

    Args:
        tested: everything that shares the axis.
        parameter: what was inferred.
        n: maps that are drawn with error bars.
        n_lines: lines of text above the points.
    """
    reaches = []
    for predictions in tested:
        theta, mean, std = predictions.moments_of(parameter.name)
        if np.isnan(theta).any():
            continue
        residual = np.abs(mean - theta)
        chosen = choose_maps(predictions, n)
        reaches += [float(np.percentile(residual, 99)), float((residual + std)[chosen].max())]
    reach = max([*reaches, 1e-6])
    return -1.1 * reach, (1.1 + LINE_OF_TEXT * n_lines) * reach


def choose_maps(predictions: Predictions, n: int, seed: int = 0) -> IntArray:
    """Choose maps to draw: always the same ones, one a simulation as long as there are simulations left.

    Args:
        predictions: tested maps.
        n: how many to choose; all of them where there are fewer.
        seed: of the choice.

    Returns:
        Rows of the predictions in ascending order, shape (min(n, n_maps),).
    """
    order = np.random.default_rng(seed).permutation(predictions.n_maps)
    turn = _occurrence(predictions.simulation[order])
    return np.sort(order[np.argsort(turn, kind="stable")[:n]])


def _occurrence(labels: IntArray) -> IntArray:
    """How often each label has occurred before, e.g. [7, 3, 7, 7] -> [0, 0, 1, 2]."""
    grouped = np.argsort(labels, kind="stable")
    _, first, count = np.unique(labels[grouped], return_index=True, return_counts=True)
    turn = np.empty(len(labels), dtype=int)
    turn[grouped] = np.arange(len(labels)) - np.repeat(first, count)
    return turn


def draw_transfer(left: Sequence[PairResult], right: Sequence[PairResult], *, mock: bool) -> Figure:
    """Draw what becomes of networks between gravity-only and hydrodynamic maps (the letter's Fig. 3).

    Error bars are the posterior standard deviations of `N_SHOWN` maps; bias and reduced chi^2 are over all tested maps.
    A suite has one colour on both sides.

    Args:
        left: networks trained on gravity-only maps and tested on hydrodynamic ones, one a suite.
        right: networks trained on hydrodynamic maps and tested on gravity-only ones, one a suite. A side without any
            is left out.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: neither side has a pair, or no parameter that all of them have.
    """
    refuse_empty([*left, *right], "pair of suites")
    parameters = parameters_of([*left, *right])
    refuse_empty(parameters, "parameter that all pairs have")
    looks = _looks_of_suites([*left, *right])
    titles = ("trained on N-body, tested on hydro", "trained on hydro, tested on N-body")
    sides = [(title, pairs) for title, pairs in zip(titles, (left, right), strict=True) if pairs]
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 2.6 * len(parameters)))
        axes = figure.subplots(len(parameters), len(sides), squeeze=False, sharex="row", sharey="row")
        for column, (title, pairs) in zip(axes.T, sides, strict=True):
            column[0].set_title(title, loc="left", pad=4)
            for panel, parameter in zip(column, parameters, strict=True):
                _draw_side(panel, pairs, parameter, looks)
        tested = [pair.predictions for pair in (*left, *right)]
        for row, parameter in zip(axes, parameters, strict=True):
            row[0].set_ylim(*residual_limits(tested, parameter, n_lines=max(len(left), len(right))))
        mark_mock(figure, mock)
    return figure


def _hydro_suite(pair: PairResult) -> str:
    return pair.test_suite if is_nbody(pair.train_suite) else pair.train_suite


def _looks_of_suites(pairs: Sequence[PairResult]) -> dict[str, tuple[str, str]]:
    suites = list(dict.fromkeys(_hydro_suite(pair) for pair in pairs))
    return dict(zip(suites, colours_and_markers(len(suites)), strict=True))


def _draw_side(
    panel: Axes, pairs: Sequence[PairResult], parameter: Parameter, looks: Mapping[str, tuple[str, str]]
) -> None:
    frame_residuals(panel, parameter)
    panel.set_xlabel(f"{typeset_parameter(parameter)}  (truth)")
    for pair in pairs:
        suite = _hydro_suite(pair)
        measures = ",  ".join(_measure(pair, parameter, key) for key in TRANSFER_METRICS)
        draw_error_bars(panel, pair.predictions, parameter, looks[suite], label=f"{suite}:  {measures}")
    panel.legend(loc="upper left", fontsize=9, handlelength=1, borderaxespad=0.2, labelspacing=0.3)
