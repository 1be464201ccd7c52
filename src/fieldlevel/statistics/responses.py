r"""How the answers of a network follow one parameter of the simulations while nothing else changes.

In a set like 1P of CAMELS some simulations differ in one parameter p alone: the same initial conditions, all the others
fiducial. With u from 0 to 1 as p goes through its prior (in the logarithm where the prior is uniform in that), the mean
mu that a network gives of the same slab of the same initial conditions is fitted by a line,

    slope = sum_i (u_i - <u>) mu_i / sum_i (u_i - <u>)^2,    in standard deviations slope / <sigma>,

which is the change of the answer over the full range of p. An answer that goes there and back has no slope, so a
parabola a + b u + c u^2 is fitted too; its bend c / 4 is how far the answer at both ends, on average, lies from that in
the middle. What the initial conditions add cancels. The mean over the
slabs of the same initial conditions is one number; its error is that from one set of initial conditions to the next.
Of a parameter that the answer is about, the slope against p itself is the gain: 1 of a network that is right, 0 of one
that answers the prior.

Rows of a table that are equal differ in their initial conditions: the k-th among equal rows has the k-th
(`fieldlevel.simulate.sets`). The table of CAMELS that repeats its fiducial row for each parameter has one that varies.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (the set 1P).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fieldlevel.arrays import BoolArray, FloatArray, IntArray
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout, Parameter
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import ratio
from fieldlevel.statistics.predictions import Predictions

_DECIMALS = 5
"""Of the values in tables of parameters."""
_TERMS = 3
"""Of a parabola."""
_NO_GAIN = Estimate(np.nan, np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class OneParameterTable:
    """The parameters of a set in which one varies at a time.

    Attributes:
        parameters: of every simulation, shape (n, P), columns in the order of the layout.
        layout: of the maps, with the priors of the parameters.
    """

    parameters: FloatArray
    layout: Layout

    @cached_property
    def rounded(self) -> FloatArray:
        """The parameters as they are compared, (n, P)."""
        rounded: FloatArray = np.round(np.asarray(self.parameters, dtype=float), _DECIMALS)
        return rounded

    @cached_property
    def conditions(self) -> IntArray:
        """Which initial conditions each simulation has, (n,): how many equal rows come before it.

        Example:
            >>> table = np.array([[0.3, 0.8], [0.1, 0.8], [0.3, 0.8], [0.1, 0.8]])
            >>> OneParameterTable(table, Layout().select(["Omega_m", "sigma_8"])).conditions.tolist()
            [0, 0, 1, 1]
        """
        before: Counter[tuple[float, ...]] = Counter()
        found = []
        for row in map(tuple, self.rounded.tolist()):
            found.append(before[row])
            before[row] += 1
        return np.array(found, dtype=np.int64)

    @cached_property
    def fiducial(self) -> FloatArray:
        """What each parameter is in most simulations, (P,)."""
        return np.array([Counter(column).most_common(1)[0][0] for column in self.rounded.T.tolist()])

    def of(self, name: str) -> BoolArray:
        """Simulations in which no other parameter differs from the fiducial ones, (n,)."""
        others = np.arange(self.rounded.shape[1]) != self.layout.column(name)
        found: BoolArray = (self.rounded == self.fiducial)[:, others].all(axis=1)
        return found

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of the parameters that vary alone."""
        columns = zip(self.layout.names, self.rounded.T, strict=True)
        return tuple(name for name, column in columns if len(np.unique(column[self.of(name)])) > 1)


@dataclass(frozen=True)
class Response:
    """How the mean for one parameter follows another, or itself.

    Attributes:
        slope: change of the mean over the full range of what varies, in units of the answered parameter.
        in_std: the same over the mean standard deviation of the network on these maps.
        bend_in_std: change of the mean from the middle of the range to its ends, over the same; NaN of two values.
        gain: change of the mean for a change of the parameter itself; NaN of another.
        n_conditions: sets of initial conditions; the errors of one alone are from slab to slab.
        values: of what varies, shape (n_values,).
        means: mean answer at each, shape (n_values,).
        scatters: standard deviation of the mean answers from one set of initial conditions to the next, shape
            (n_values,); NaN of one.
        stds: mean standard deviation that the network claims, shape (n_values,).
    """

    slope: Estimate
    in_std: Estimate
    bend_in_std: Estimate
    gain: Estimate
    n_conditions: int
    values: FloatArray
    means: FloatArray
    scatters: FloatArray
    stds: FloatArray


Responses = dict[tuple[str, str], Response]
"""By the parameter that is answered and the one that varies."""


def measure_responses(
    predictions: Predictions, table: OneParameterTable, answered: Sequence[str], n_bootstrap: int = 1000, seed: int = 0
) -> Responses:
    """How the answers for some parameters follow each one that varies alone.

    Args:
        predictions: of simulations of the set, all maps of each.
        table: parameters of all simulations of the set.
        answered: names of parameters that the network answers.
        n_bootstrap: resamplings of the initial conditions, of the slabs where there is one set of these.
        seed: of the resampling.

    Returns:
        Every answered parameter with every one that varies in the tested simulations; those that do not are left out.

    Raises:
        UserError: simulations that the table does not have, or with other numbers of maps, a parameter that is not
            answered, fewer than two resamplings.

    Example:
        >>> layout = Layout().select(["Omega_m", "sigma_8"])
        >>> theta = np.array([[0.1, 0.8], [0.3, 0.8], [0.5, 0.8]] * 2)
        >>> told = Predictions(theta, 0.9 * theta, 0 * theta + 0.02, np.arange(6), np.arange(6), layout)
        >>> found = measure_responses(told, OneParameterTable(theta, layout), ["Omega_m"])["Omega_m", "Omega_m"]
        >>> round(found.gain.value, 3), round(found.in_std.value, 3), found.n_conditions
        (0.9, 18.0, 2)
    """
    numbers, rows = _rows_of_simulations(predictions, len(table.parameters))
    found: Responses = {}
    for varied in table.varied:
        values, places = _places(table, varied, numbers)
        for name in answered if len(places) else ():
            mean, std = (_at(moments.astype(float)[rows], places) for moments in predictions.moments_of(name)[1:])
            parameter = table.layout.parameters[table.layout.column(varied)]
            response = _measure(values, mean, std, parameter, n_bootstrap, seed)
            found[name, varied] = response if name == varied else replace(response, gain=_NO_GAIN)
    return found


def _rows_of_simulations(predictions: Predictions, n_known: int) -> tuple[IntArray, IntArray]:
    """Numbers of the tested simulations, (n,), and the rows of their maps in the order of the slabs, (n, n_maps)."""
    numbers, counts = np.unique(predictions.simulation, return_counts=True)
    if numbers[-1] >= n_known:
        raise UserError(f"responses: simulation {numbers[-1]}, but the table has {n_known}; give that of the same set")
    if len(set(counts.tolist())) > 1:
        told = f"{counts.min()} to {counts.max()} maps a simulation"
        raise UserError(f"responses: {told}; give predictions of all maps of each")
    order = np.lexsort((predictions.map_index, predictions.simulation))
    return numbers, order.reshape(len(numbers), -1)


def _places(table: OneParameterTable, varied: str, numbers: IntArray) -> tuple[FloatArray, IntArray]:
    """Values of a parameter that varies alone, and which of the tested simulations has each in each set of conditions.

    Returns:
        Shapes (n_values,) and (n_conditions, n_values), -1 where there is none; conditions of one value are left out.
    """
    alone = np.flatnonzero(table.of(varied)[numbers])
    column = table.rounded[numbers[alone], table.layout.column(varied)]
    values, value = np.unique(column, return_inverse=True)
    conditions, condition = np.unique(table.conditions[numbers[alone]], return_inverse=True)
    places = np.full((len(conditions), len(values)), -1)
    places[condition, value] = alone
    places = places[(places >= 0).sum(axis=1) > 1]
    is_there = (places >= 0).any(axis=0)
    return values[is_there], places[:, is_there]


def _at(moments: FloatArray, places: IntArray) -> FloatArray:
    """Of (n_simulations, n_maps) those at places (n_conditions, n_values), NaN where there is none."""
    return np.where((places >= 0)[..., None], moments[places], np.nan)


def _measure(
    values: FloatArray, mean: FloatArray, std: FloatArray, parameter: Parameter, n_bootstrap: int, seed: int
) -> Response:
    """Of moments (n_conditions, n_values, n_maps), NaN where there is no simulation, at values (n_values,)."""
    along = through_range(values, parameter)
    slopes = _slopes(along, mean)
    bends, gains, widths = _bends(along, mean), _slopes(values, mean), np.nanmean(std, axis=1)
    several = len(mean) > 1
    groups = np.indices(slopes.shape)[0 if several else 1].ravel()
    draws = Bootstrap.draw(groups, n_bootstrap, [seed])
    slope, bend, width, gain = draws.averages(*(each.ravel() for each in (slopes, bends, widths, gains)))
    answers = mean.mean(axis=2)
    return Response(
        Estimate.from_replicas(float(slopes.mean()), slope),
        Estimate.from_replicas(float(ratio(slopes.mean(), widths.mean())), ratio(slope, width)),
        Estimate.from_replicas(float(ratio(bends.mean(), widths.mean())), ratio(bend, width)),
        Estimate.from_replicas(float(gains.mean()), gain),
        len(mean),
        values,
        np.nanmean(answers, axis=0),
        _scatter(answers),
        np.nanmean(std, axis=(0, 2)),
    )


def through_range(values: FloatArray, parameter: Parameter) -> FloatArray:
    """0 at the lower end of a prior and 1 at the upper one, in the logarithm where the prior is uniform in that."""
    low, high = parameter.low, parameter.high
    if parameter.logarithmic:
        values, low, high = np.log(values), np.log(low), np.log(high)
    along: FloatArray = (values - low) / (high - low)
    return along


def _slopes(along: FloatArray, mean: FloatArray) -> FloatArray:
    """Lines of least squares through what there is of (n_conditions, n_values, n_maps): (n_conditions, n_maps)."""
    x = np.where(np.isnan(mean), np.nan, along[:, None])
    distance = x - np.nanmean(x, axis=1, keepdims=True)
    slopes: FloatArray = np.nansum(distance * mean, axis=1) / np.nansum(distance**2, axis=1)
    return slopes


def _bends(along: FloatArray, mean: FloatArray) -> FloatArray:
    """A quarter of the curvature of parabolas through the same; NaN where there are less than three values."""
    bends = np.full((len(mean), mean.shape[2]), np.nan)
    for each, answers in zip(bends, mean, strict=True):
        known = ~np.isnan(answers).any(axis=1)
        if known.sum() > _TERMS - 1:
            powers = np.vander(along[known], _TERMS)
            each[:] = np.linalg.lstsq(powers, answers[known], rcond=None)[0][0] / 4
    return bends


def _scatter(answers: FloatArray) -> FloatArray:
    """Standard deviation over initial conditions of (n_conditions, n_values), NaN where there is one, (n_values,)."""
    n = np.isfinite(answers).sum(axis=0)
    deviations = np.nansum((answers - np.nanmean(answers, axis=0)) ** 2, axis=0)
    scatter: FloatArray = np.sqrt(np.divide(deviations, n - 1, out=np.full(len(n), np.nan), where=n > 1))
    return scatter
