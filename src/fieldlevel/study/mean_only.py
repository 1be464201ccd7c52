"""What the mean of a map alone tells: the total mass of the slab against the parameters.

The mean surface density of a slab scatters around 2.775e11 * 5 * Omega_m (Msun/h)/(Mpc/h)^2. What it tells of a
parameter, E[theta | mean], is fitted on the training simulations as a curve that rises everywhere or falls everywhere:
least squares under that condition, of averages over maps of nearly the same mean (`monotone_fit`). A polynomial would
turn over where maps are few.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (total mass against Omega_m and sigma_8). Barlow et al. 1972,
    Statistical Inference under Order Restrictions (pool adjacent violators).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import FloatArray
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import Suite
from fieldlevel.statistics.metrics import Scores, evaluate
from fieldlevel.statistics.predictions import Predictions

N_GROUPS = 30
"""Maps of nearly the same mean are averaged in so many groups."""


@dataclass(frozen=True)
class MeanOnly:
    """A predictor that knows the mean of a map alone.

    Attributes:
        mean_density: of each test map, (n,) in the unit of the field.
        predictions: of the test maps; the standard deviation is that of the residuals of the training maps.
        scores: every measure of every parameter.
    """

    mean_density: FloatArray
    predictions: Predictions
    scores: Scores


def predict_from_mean(suite: Suite, split: SplitSpec) -> MeanOnly:
    """Fit the predictor on the training simulations and apply it to the test simulations.

    Args:
        suite: the maps.
        split: of the simulations.
    """
    parts = split.divide(suite.n_simulations)
    known, test = (_mean_density(suite, numbers) for numbers in (parts.train, np.sort(parts.test)))
    of_known, of_test = (suite.simulation_of_map[suite.maps_of(n)] for n in (parts.train, np.sort(parts.test)))
    theta = suite.parameters[of_known]
    residuals = theta - guess_from_mean(known, theta, known)
    mean = np.clip(guess_from_mean(known, theta, test), suite.layout.lows, suite.layout.highs)
    predictions = Predictions(
        theta=suite.parameters[of_test],
        mean=mean,
        std=np.broadcast_to(residuals.std(0), mean.shape),
        simulation=of_test,
        map_index=suite.maps_of(np.sort(parts.test)),
        layout=suite.layout,
    )
    return MeanOnly(test, predictions, evaluate(predictions))


def _mean_density(suite: Suite, simulations: npt.NDArray[np.int64]) -> FloatArray:
    return np.concatenate([suite.read_simulation(int(n)).mean((1, 2), dtype=np.float64) for n in simulations])


def guess_from_mean(known: FloatArray, theta: FloatArray, mean_density: FloatArray) -> FloatArray:
    """What the mean of a map tells of each parameter.

    Args:
        known: means of maps whose parameters are known, shape (n,).
        theta: these parameters, shape (n, P).
        mean_density: means of other maps, shape (m,).

    Returns:
        Shape (m, P); beyond the outermost groups of known maps it stays as it is there.
    """
    floor = min(known[known > 0], default=1.0)  # maps of stars may be empty
    x, at = (np.log(np.maximum(mean, floor)) for mean in (known, mean_density))
    return np.stack([np.interp(at, *monotone_fit(x, column)) for column in theta.T], axis=1)


def monotone_fit(x: FloatArray, y: FloatArray, n_groups: int = N_GROUPS) -> tuple[FloatArray, FloatArray]:
    """The monotone curve with the least squared distance from averages of y over neighbours in x.

    It rises where x and y are correlated and falls where they are anticorrelated.

    Args:
        x: shape (n,).
        y: shape (n,).
        n_groups: of as many neighbours as possible each; n at most.

    Returns:
        Means of x in the groups, ascending, and the curve there, each of shape (n_groups,).

    Example:
        >>> monotone_fit(np.arange(4.0), np.array([0.0, 2.0, 1.0, 3.0]))[1].tolist()
        [0.0, 1.5, 1.5, 3.0]
    """
    groups = np.array_split(np.argsort(x, kind="stable"), min(n_groups, len(x)))
    places, heights = (np.array([values[group].mean() for group in groups]) for values in (x, y))
    weights = np.array([len(group) for group in groups])
    rises = float(((x - x.mean()) * (y - y.mean())).sum()) >= 0
    return places, pool_violators(heights, weights) if rises else -pool_violators(-heights, weights)


def pool_violators(heights: FloatArray, weights: npt.NDArray[np.int64]) -> FloatArray:
    """The rising sequence with the least weighted squared distance from another one, shape (n,).

    Wherever a number is below the one before, both become their mean, until none is.
    """
    pools: list[tuple[float, int, int]] = []
    for height, weight in zip(heights.tolist(), weights.tolist(), strict=True):
        pools.append((height, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, first, n), (other, second, m) = pools[-2:]
            pools[-2:] = [((one * first + other * second) / (first + second), first + second, n + m)]
    return np.repeat([height for height, _, _ in pools], [n for _, _, n in pools])
