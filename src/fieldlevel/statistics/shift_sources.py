r"""By how much the answers of two networks to the same maps differ, and which parameters of the maps that follows.

With d_i the mean of mu' - mu over the maps of simulation i, in mean standard deviations of the first network, and u_ij
from 0 to 1 as parameter j goes through its prior (in the logarithm where the prior is uniform in that),

    d_i = a + sum_j b_j u_ij + rest

is fitted by least squares. b_j is the change of the difference over the full range of one parameter while the others
stay; the share that is explained is the adjusted R^2. Where the first network was trained on the suite of the maps, the
difference is what the other one lacks, without the noise that both share and the shrinkage towards the prior of any
posterior mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldlevel.arrays import FloatArray
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.responses import through_range

FEWEST = 2
"""Simulations for each coefficient, below which nothing is told."""
_TELLING = 2.0
"""Errors beyond which a slope is told."""


@dataclass(frozen=True)
class Labels:
    """The parameters of all simulations of a set.

    Attributes:
        parameters: shape (n, P), columns in the order of the layout.
        layout: with the priors.
    """

    parameters: FloatArray
    layout: Layout


@dataclass(frozen=True)
class ShiftSources:
    """What a difference of answers follows.

    Attributes:
        shift: mean difference, in mean standard deviations of the first network.
        explained: share of its variance from simulation to simulation that a linear function of the parameters takes
            away, adjusted for their number.
        slopes: by parameter, in the same standard deviations over its full range.
    """

    shift: Estimate
    explained: float
    slopes: Mapping[str, Estimate]

    @property
    def telling(self) -> list[tuple[str, Estimate]]:
        """The slopes beyond two errors, the steepest first."""
        known = [(name, slope) for name, slope in self.slopes.items() if abs(slope.value) > _TELLING * slope.error]
        return sorted(known, key=lambda each: -abs(each[1].value))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        slopes = {name: slope.to_json() for name, slope in self.slopes.items()}
        return {"shift": self.shift.to_json(), "explained": self.explained, "slopes": slopes}


def shift_sources(
    before: Predictions, after: Predictions, name: str, labels: Labels, n_bootstrap: int = 1000, seed: int = 0
) -> ShiftSources | None:
    """Which parameters the difference of two networks' answers follows.

    Args:
        before: of the first network, all maps of each simulation.
        after: of the other one, of the same simulations.
        name: of the parameter that is answered.
        labels: of all simulations of the set.
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.

    Returns:
        None of fewer than two simulations for each coefficient.

    Raises:
        UserError: other simulations on both sides, or some that the table does not have.

    Example:
        >>> layout = Layout().select(["Omega_m", "sigma_8"])
        >>> theta = layout.lows + np.random.default_rng(0).random((40, 2)) * (layout.highs - layout.lows)
        >>> one = Predictions(theta, theta, 0 * theta + 0.05, np.arange(40), np.arange(40), layout)
        >>> other = Predictions(theta, theta + 0.1 * theta[:, [0, 0]], one.std, np.arange(40), np.arange(40), layout)
        >>> found = shift_sources(one, other, "sigma_8", Labels(theta, layout))
        >>> round(found.slopes["Omega_m"].value, 3), round(found.explained, 3), [name for name, _ in found.telling]
        (0.8, 1.0, ['Omega_m'])
    """
    numbers = np.unique(before.simulation)
    if not np.array_equal(numbers, np.unique(after.simulation)) or numbers[-1] >= len(labels.parameters):
        raise UserError("shift sources: other simulations; give predictions of the same ones, and the labels of all")
    along = np.column_stack(
        [
            through_range(column[numbers], parameter)
            for column, parameter in zip(labels.parameters.T, labels.layout.parameters, strict=True)
        ]
    )
    varies = np.flatnonzero(np.ptp(along, axis=0) > 0)
    terms = np.column_stack([np.ones(len(numbers)), along[:, varies]])
    n, n_terms = terms.shape
    if n < FEWEST * n_terms:
        return None
    difference = (_mean_answers(after, name) - _mean_answers(before, name)) / before.moments_of(name)[2].mean()
    fitted = np.linalg.lstsq(terms, difference, rcond=None)[0]
    draws = Bootstrap.draw(numbers, n_bootstrap, [seed])
    replicas = _fits(terms, difference, draws.times.astype(float))
    names = [labels.layout.names[column] for column in varies.tolist()]
    slopes = zip(names, fitted[1:].tolist(), replicas[:, 1:].T, strict=True)
    left, total = (np.sum(each**2) for each in (difference - terms @ fitted, difference - difference.mean()))
    share = 1 - (left / (n - n_terms)) / (total / (n - 1)) if total > 0 else 0.0
    (means,) = draws.averages(difference)
    return ShiftSources(
        Estimate.from_replicas(float(difference.mean()), means),
        float(np.clip(share, 0.0, 1.0)),
        {each: Estimate.from_replicas(slope, replica) for each, slope, replica in slopes},
    )


def _mean_answers(predictions: Predictions, name: str) -> FloatArray:
    """Mean answer of each simulation over its maps, and over networks where there are several."""
    _, group, counts = np.unique(predictions.simulation, return_inverse=True, return_counts=True)
    means: FloatArray = np.bincount(group, weights=predictions.moments_of(name)[1].astype(float)) / counts
    return means


def _fits(terms: FloatArray, values: FloatArray, times: FloatArray) -> FloatArray:
    """Least squares of each resampling, (n_bootstrap, n_terms); the shortest solution of one that has several."""
    squares = np.einsum("bn,ni,nj->bij", times, terms, terms, optimize=True)
    products = np.einsum("bn,ni->bi", times * values, terms)
    return np.asarray(np.einsum("bij,bj->bi", np.linalg.pinv(squares, hermitian=True), products))
