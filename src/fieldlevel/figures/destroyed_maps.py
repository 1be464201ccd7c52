"""What a network must not be able to do: infer from maps without structure, or from the total mass alone.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (mean maps, shuffled pixels, total mass).
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fieldlevel.arrays import FloatArray
from fieldlevel.errors import UserError
from fieldlevel.figures.parameter_panels import blocks_of, choose_parameters, n_blocks
from fieldlevel.figures.style import (
    BLACK,
    BLUE,
    VERMILLION,
    WIDTH_INCHES,
    mark_mock,
    plot_within,
    refuse_empty,
    set_prior_range,
    styled,
    typeset_parameter,
    typeset_unit,
)
from fieldlevel.layout import SURFACE_DENSITY, Layout, Parameter
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS
from fieldlevel.statistics.pairs import OUTSIDE_PRIOR, PairResult
from fieldlevel.statistics.shared_parameters import main_parameters

TESTS_PER_ROW = 5
"""Small panels beside one another that are still readable."""

DENSITY_SCALE = 1e11
"""Unit of the drawn surface densities [(Msun/h) / (Mpc/h)^2]."""


def draw_null_tests(results: Mapping[str, PairResult], *, mock: bool) -> Figure:
    """Draw the inferred mean against the truth of original maps and of maps that were robbed of their structure.

    A network that infers something follows the diagonal. Means far outside the prior are triangles at the edge. R^2,
    above each panel, is over all tested maps; it is not given where they lie outside the prior. The cosmological
    parameters stand below one another.

    Args:
        results: by what was done to the maps, e.g. `original maps`, `mean maps`, `shuffled pixels`.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no result.
    """
    refuse_empty(results, "null test")
    n_columns = min(len(results), TESTS_PER_ROW)
    n_below = -(-len(results) // n_columns)
    parameters = choose_parameters(main_parameters(result.layout for result in results.values()))
    n_rows = n_below * len(parameters)
    with styled():
        width = WIDTH_INCHES * min(1.0, (n_columns + 0.5) / (TESTS_PER_ROW + 0.5))
        figure = Figure(figsize=(width, 1.75 * n_rows + 0.3 * n_below + 0.2))
        axes = figure.subplots(n_rows, n_columns, squeeze=False)
        blocks = axes.reshape(n_below, len(parameters), n_columns).swapaxes(1, 2).reshape(-1, len(parameters))
        for number, (column, (name, result)) in enumerate(zip(blocks, results.items(), strict=False)):
            headings = (f"{name}\n", *[""] * (len(parameters) - 1))
            for panel, parameter, heading in zip(column, parameters, headings, strict=True):
                _draw_null_test(panel, result, parameter, heading, is_first=number % n_columns == 0)
        for panel in blocks[len(results) :].ravel():
            panel.set_visible(False)
        mark_mock(figure, mock)
    return figure


def _draw_null_test(panel: Axes, result: PairResult, parameter: Parameter, heading: str, *, is_first: bool) -> None:
    theta, mean, _ = result.predictions.moments_of(parameter.name)
    margin = 0.25 * (parameter.high - parameter.low)
    ends = (parameter.low, parameter.high)
    panel.plot(ends, ends, color=BLACK, linewidth=0.8, zorder=3)
    limits = (parameter.low - margin, parameter.high + margin)
    plot_within(panel, theta, mean, limits, ".", color=BLUE, alpha=0.35, markersize=3, mew=0, rasterized=True)
    set_prior_range(panel, parameter)
    panel.set_xlabel(f"{typeset_parameter(parameter)}  (truth)")
    panel.locator_params(nbins=4)
    if is_first:
        panel.set_ylabel(f"{typeset_parameter(parameter)}  (mean)")
    else:
        panel.tick_params(labelleft=False)
    r2 = result.text(parameter.name, "r2", with_error=False)
    panel.set_title(heading + (r2 if r2 == OUTSIDE_PRIOR else f"{METRICS['r2'].latex} = {r2}"), pad=4)


def draw_total_mass(
    mean_density: FloatArray, theta: FloatArray, fit: FloatArray, layout: Layout = Layout(), *, mock: bool
) -> Figure:
    """Draw the cosmological parameters against the mean surface density of each map, with a guess from that mean alone.

    The line is the guess, a monotone curve that was fitted on other maps; the numbers are the correlation coefficient
    and the accuracy of the guess.

    Args:
        mean_density: mean of each map, shape (n,) [(Msun/h) / (Mpc/h)^2].
        theta: true parameters, shape (n, P), columns in the order of the layout's parameters.
        fit: the cosmological ones guessed from the mean alone, in the same order, shape (n, n_cosmological).
        layout: of the maps.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no map, or shapes that disagree.
    """
    refuse_empty(mean_density, "map")
    n, parameters = len(mean_density), main_parameters([layout])
    if theta.shape != (n, layout.n_parameters) or fit.shape != (n, len(parameters)):
        raise UserError(f"total mass: theta {theta.shape} and fit {fit.shape} for {n} maps; give one row a map")
    order = np.argsort(mean_density, kind="stable")
    density = mean_density[order] / DENSITY_SCALE
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 3.0 * n_blocks(parameters)))
        rows = [place.subplots(1, len(block), squeeze=False)[0] for place, block in blocks_of(figure, parameters)]
        panels = [panel for row in rows for panel in row]
        for panel, parameter, guess in zip(panels, parameters, fit[order].T, strict=True):
            _draw_guess(panel, density, theta[order, layout.column(parameter.name)], guess)
            panel.set_ylabel(f"{typeset_parameter(parameter)}  (truth)")
            panel.set_xlabel(rf"mean of the map  [$10^{{11}}$ {typeset_unit(SURFACE_DENSITY)}]")
        mark_mock(figure, mock)
    return figure


def _draw_guess(panel: Axes, density: FloatArray, truth: FloatArray, guess: FloatArray) -> None:
    panel.plot(density, truth, ".", color=BLUE, alpha=0.3, markersize=3, mew=0, rasterized=True)
    panel.plot(density, guess, color=VERMILLION, linewidth=1.5, label="monotone fit to training maps")
    low, high = truth.min(), truth.max()
    panel.set_ylim(low - 0.05 * (high - low) - 1e-6, high + 0.4 * (high - low) + 1e-6)
    panel.legend(loc="upper left", fontsize=9, borderaxespad=0.2)
    measures = [METRICS[key] for key in ("rms_relative_error", "r2")]
    values = [metric(truth, guess, np.ones_like(truth)) for metric in measures]
    numbers = [_written("$r$", _correlation(density, truth))]
    numbers += [_written(m.latex, value, m.percent) for m, value in zip(measures, values, strict=True)]
    panel.text(0.03, 0.87, ",  ".join(numbers), transform=panel.transAxes, va="top", fontsize=9)


def _written(symbol: str, value: float, percent: bool = False) -> str:
    return f"{symbol} = {Estimate(value, np.nan, np.nan, np.nan).text(percent)}"


def _correlation(x: FloatArray, y: FloatArray) -> float:
    """Pearson's coefficient; NaN where one of the two is constant."""
    x, y = x - x[0], y - y[0]  # exactly zero where all agree
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / scale if scale > 0 else np.nan
