r"""Whether the claimed standard deviations are honest: coverage of the intervals mean +- z std.

The expectation for Gaussian posteriors is

    c(z) = erf(z / sqrt(2)),

a curve above it means error bars that are too wide, below it too narrow ones.
"""

from collections.abc import Mapping, Sequence
from math import erf

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fieldlevel.arrays import FloatArray
from fieldlevel.figures.parameter_panels import choice_in_words, choose_parameters
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
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.shared_parameters import shared_parameters

Z = np.linspace(0, 3, 61)
"""Half-widths of the intervals in standard deviations."""

PANELS_PER_ROW = 3


def draw_calibration(
    predictions: Mapping[str, Predictions], parameters: Sequence[Parameter] | None = None, *, mock: bool
) -> Figure:
    """Draw the fraction of truths within mean +- z std against z, beside the Gaussian expectation.

    Bands hold 68% of the bootstrap over simulations.

    Args:
        predictions: tested maps by name.
        parameters: one panel each; by default those that all predictions have, twelve at most, cosmological ones first.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no predictions or no parameter.
    """
    refuse_empty(predictions, "predictions")
    shared = shared_parameters(tested.layout for tested in predictions.values())
    parameters = choose_parameters(shared) if parameters is None else parameters
    refuse_empty(parameters, "parameter")
    n_columns = min(len(parameters), PANELS_PER_ROW)
    n_rows = -(-len(parameters) // n_columns)
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 2.1 * n_rows + 0.7))
        axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        looks = colours_and_markers(len(predictions))
        for (name, tested), look in zip(predictions.items(), looks, strict=True):
            fraction, low, high = coverage(tested, Z)
            for panel, parameter in zip(axes.flat, parameters, strict=False):
                column = tested.layout.column(parameter.name)
                _draw_coverage(panel, (fraction[:, column], low[:, column], high[:, column]), look, name)
        _frame_coverage(axes, parameters)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        told = choice_in_words(len(parameters), len(shared))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns_that_fit(labels), title=told)
        mark_mock(figure, mock)
    return figure


def coverage(
    predictions: Predictions, z: FloatArray, n_bootstrap: int = 400, seed: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fraction of truths within mean +- z std, with its uncertainty by bootstrap over simulations.

    Args:
        predictions: tested maps.
        z: half-widths of the intervals in standard deviations, shape (n_z,).
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.

    Returns:
        Fraction, 16th and 84th percentile of its bootstrap, each of shape (n_z, P); the percentiles of a single
        simulation are NaN, and all three of a parameter whose truth is not known.
    """
    error = np.abs(predictions.theta - predictions.mean)
    is_inside = error <= np.asarray(z)[:, None, None] * predictions.std
    inside = np.where(np.isnan(error), np.nan, is_inside)
    draws = Bootstrap.draw(predictions.simulation, n_bootstrap, [seed])
    n_z, n_maps, n_parameters = inside.shape
    replicas = np.stack(draws.averages(*inside.swapaxes(1, 2).reshape(-1, n_maps)))
    low, high = np.percentile(replicas, [16, 84], axis=-1).reshape(2, n_z, n_parameters)
    return inside.mean(axis=1), low, high


def _draw_coverage(
    panel: Axes, curve: tuple[FloatArray, FloatArray, FloatArray], look: tuple[str, str], name: str
) -> None:
    fraction, low, high = curve
    colour, marker = look
    panel.fill_between(Z, low, high, color=colour, alpha=0.2, linewidth=0)
    panel.plot(
        Z, fraction, color=colour, marker=marker, markevery=(5, 10), markersize=4, mec="white", mew=0.4, label=name
    )


def _frame_coverage(axes: np.ndarray, parameters: Sequence[Parameter]) -> None:
    for panel, parameter in zip(axes.flat, parameters, strict=False):
        panel.plot(Z, [erf(z / np.sqrt(2)) for z in Z], "--", color=BLACK, linewidth=1, label="Gaussian expectation")
        panel.text(0.95, 0.07, typeset_parameter(parameter), transform=panel.transAxes, ha="right", fontsize=11)
        panel.set(xlim=(0, 3), ylim=(0, 1.03))
    for panel in axes.flat[len(parameters) :]:
        panel.set_visible(False)
    for panel in axes.flat[: len(parameters)][-axes.shape[1] :]:
        panel.set_xlabel(r"$z$")
        panel.tick_params(labelbottom=True)
    for panel in axes[:, 0]:
        panel.set_ylabel(r"truths within $\mu \pm z\sigma$")
