r"""How far the answers of a network move when maps of the same simulations are made in another way.

With mu before and mu' after, on the same maps,

    shift = <mu' - mu>,    in standard deviations <mu' - mu> / <sigma>,

with sigma before. What the simulations scatter by cancels, so that few of them show a shift far below sigma.
"""

from dataclasses import dataclass

import numpy as np

from fieldlevel.arrays import FloatArray
from fieldlevel.errors import UserError
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import ratio
from fieldlevel.statistics.predictions import Predictions


@dataclass(frozen=True)
class PairedShift:
    """Mean shift of the posterior mean of a parameter.

    Attributes:
        shift: in units of the parameter.
        in_std: over the mean standard deviation before.
        n_simulations: that both sides have.
    """

    shift: Estimate
    in_std: Estimate
    n_simulations: int


def paired_shift(
    before: Predictions, after: Predictions, name: str, n_bootstrap: int = 1000, seed: int = 0
) -> PairedShift:
    """Shift of a parameter from some predictions to others, over the maps that both have by number.

    Args:
        before: of maps as they are.
        after: of maps of the same simulations, made in another way.
        name: of the parameter.
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.

    Raises:
        UserError: no map in common, another truth on both sides, no such parameter, or fewer than two resamplings.

    Example:
        >>> theta, simulation = np.linspace(1.0, 2.0, 12).reshape(2, 6), np.arange(2)
        >>> one, other = (Predictions(theta, theta + d, 0 * theta + 0.5, simulation, simulation) for d in (0.1, 0.3))
        >>> round(paired_shift(one, other, "sigma_8").in_std.value, 4)
        0.4
    """
    numbers, first, second = np.intersect1d(before.map_index, after.map_index, return_indices=True)
    if len(numbers) == 0:
        raise UserError("paired shift: no map in common; give predictions of the same simulations")
    (truth, mean, std), (other_truth, other_mean, _) = (
        [moments[rows].astype(float) for moments in predictions.moments_of(name)]
        for predictions, rows in ((before, first), (after, second))
    )
    if not np.allclose(truth, other_truth, equal_nan=True):
        raise UserError(f"paired shift: {name} differs on both sides; give predictions of the same simulations")
    simulations = before.simulation[first]
    draws = Bootstrap.draw(simulations, n_bootstrap, [seed])
    moved, widths = draws.averages(other_mean - mean, std)
    shift = float((other_mean - mean).mean())
    return PairedShift(
        Estimate.from_replicas(shift, moved),
        Estimate.from_replicas(float(ratio(shift, std.mean())), ratio(moved, widths)),
        len(np.unique(simulations)),
    )


def coverage_within(
    predictions: Predictions, name: str, z: float = 1.0, n_bootstrap: int = 1000, seed: int = 0
) -> Estimate:
    """Fraction of the truths of a parameter within z standard deviations of the mean; 0.683 of a Gaussian at z = 1.

    Args:
        predictions: tested maps.
        name: of the parameter.
        z: half-width of the interval in standard deviations.
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.

    Raises:
        UserError: no such parameter, or fewer than two resamplings.
    """
    truth, mean, std = predictions.moments_of(name)
    inside = (np.abs(truth - mean) <= z * std).astype(float)
    (replicas,) = Bootstrap.draw(predictions.simulation, n_bootstrap, [seed]).averages(inside)
    return Estimate.from_replicas(float(inside.mean()), replicas)


def scatter_of_simulations(predictions: Predictions, name: str) -> float:
    """Standard deviation over simulations of the mean error of a parameter over their maps; NaN of a single one."""
    errors = mean_errors(predictions, name)
    return float(errors.std(ddof=1)) if len(errors) > 1 else np.nan


def mean_errors(predictions: Predictions, name: str) -> FloatArray:
    """Mean error of a parameter over the maps of each simulation, (n_simulations,)."""
    truth, mean, _ = predictions.moments_of(name)
    _, group = np.unique(predictions.simulation, return_inverse=True)
    sums: FloatArray = np.bincount(group, weights=mean - truth) / np.bincount(group)
    return sums
