r"""Standard deviations rescaled as a smooth function of the mean, so that standardised errors have unit scale.

With the mean mu of a parameter in units of its prior, clipped to the range of nearly all means that were seen in the
fit, x = 2 mu - 1 and Legendre polynomials P_l,

    log s(mu) = sum_l c_l P_l(x),    l = 0 .. 3,

and sigma becomes s sigma. The c_l minimise, over maps with errors z = (theta - mu) / sigma,

    < log s + z^2 / (2 s^2) > + lambda sum_l (1 + l^2) c_l^2,

the negative log-likelihood of Gaussian errors and a shrinkage to no change. It is convex in c. Lambda is the one with
the highest likelihood of simulations left out, in a tenfold cross-validation over simulations. Where that gains no more
over no change than its own error, the standard deviations stay: so do those of an honest network.

References:
    Levi et al. 2019, arXiv:1905.11659 (one scale for all maps); Guo et al. 2017, arXiv:1706.04599 (fitted on data of
    its own).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.polynomial.legendre import legvander

from fieldlevel.arrays import BoolArray, FloatArray, IntArray
from fieldlevel.errors import UserError
from fieldlevel.spec_io import STRICT

DEGREE = 3
"""Of the polynomial in the mean."""

LEAST_SIMULATIONS = 10
"""With fewer nothing is fitted."""

LARGEST_SCALE = 100.0
"""A standard deviation is multiplied by at most this, and divided by at most this."""

_N_FOLDS = 10
_SHRINKAGES = np.logspace(-4, 1, 11)
_WEIGHTS = 1.0 + np.arange(DEGREE + 1) ** 2
_NEWTON_STEPS = 30
_SMALLEST_STD = 1e-6
"""In units of the prior: a vanishing standard deviation is taken for this, so that its errors are numbers."""
_LARGEST_COEFFICIENT = 20.0
_NEARLY_ALL = (1.0, 99.0)
"""Percentiles of the means, between which the scale follows them."""


@dataclass(frozen=True)
class Rescaling:
    """How much wider the standard deviation of each parameter is made, as a function of its mean.

    Attributes:
        coefficients: c_l of each parameter, (P, 4); all zero where nothing is changed.
        ranges: of the means of the fit, in units of the prior, (P, 2); beyond them the scale is that of the edge.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    coefficients: tuple[tuple[float, ...], ...]
    ranges: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if len(self.ranges) != len(self.coefficients):
            raise ValueError(f"coefficients: of {len(self.coefficients)} parameters, ranges of {len(self.ranges)}")
        if not all(0 <= low <= high <= 1 for low, high in self.ranges):
            raise ValueError("ranges: none inside the prior")
        if any(len(row) != DEGREE + 1 for row in self.coefficients):
            raise ValueError(f"coefficients: rows that have not {DEGREE + 1} numbers")
        if not all(abs(value) <= _LARGEST_COEFFICIENT for row in self.coefficients for value in row):
            raise ValueError(f"coefficients: numbers beyond {_LARGEST_COEFFICIENT:g}")

    @classmethod
    def none(cls, n_parameters: int) -> "Rescaling":
        """No change."""
        return cls(n_parameters * ((DEGREE + 1) * (0.0,),), n_parameters * ((0.0, 1.0),))

    @property
    def changes(self) -> BoolArray:
        """Which parameters have other standard deviations than before, (P,)."""
        return np.array([any(row) for row in self.coefficients], dtype=bool)

    def scale(self, mean: FloatArray) -> FloatArray:
        """What standard deviations are multiplied by.

        Args:
            mean: in units of the prior, (..., P).

        Returns:
            An array of the same shape, between 1/100 and 100.

        Example:
            >>> double = Rescaling(((np.log(2.0), 0.0, 0.0, 0.0),), ((0.0, 1.0),))
            >>> double.scale(np.array([[0.1], [0.9]])).round(6).tolist()
            [[2.0], [2.0]]
        """
        low, high = np.array(self.ranges).T
        logarithm = (_basis(np.clip(mean, low, high)) * np.array(self.coefficients)).sum(-1)
        return np.asarray(np.clip(np.exp(logarithm), 1 / LARGEST_SCALE, LARGEST_SCALE))


def _basis(mean: FloatArray) -> FloatArray:
    """Legendre polynomials, (...) to (..., 4)."""
    return np.asarray(legvander(2 * np.asarray(mean, dtype=float) - 1, DEGREE))


def fit_rescaling(theta: FloatArray, mean: FloatArray, std: FloatArray, simulation: IntArray) -> Rescaling:
    """The rescaling that the errors of calibration maps ask for.

    Args:
        theta: truths in units of the prior, (n, P); NaN where there is none, which leaves the parameter as it is.
        mean: posterior means, (n, P).
        std: posterior standard deviations, (n, P).
        simulation: number of the simulation of each map, (n,).

    Raises:
        UserError: fewer than `LEAST_SIMULATIONS` simulations.
    """
    n = len(np.unique(simulation))
    if n < LEAST_SIMULATIONS:
        raise UserError(f"calibration: {n} simulations; give {LEAST_SIMULATIONS} at least, better 100")
    squared = np.square((theta - mean) / np.maximum(std, _SMALLEST_STD))
    low, high = (np.clip(edge, 0.0, 1.0) for edge in np.percentile(mean, _NEARLY_ALL, axis=0))
    basis = _basis(np.clip(mean, low, high))
    fitted = tuple(_fit_one(squared[:, each], basis[:, each], simulation) for each in range(theta.shape[1]))
    return Rescaling(fitted, tuple(zip(low.tolist(), high.tolist(), strict=True)))


def _fit_one(squared: FloatArray, basis: FloatArray, simulation: IntArray) -> tuple[float, ...]:
    """Coefficients of one parameter, from squared standardised errors (n,) and polynomials (n, 4)."""
    known = np.isfinite(squared)
    squared, basis, simulation = squared[known], basis[known], simulation[known]
    unchanged = np.zeros(DEGREE + 1)
    if len(np.unique(simulation)) < LEAST_SIMULATIONS:
        return tuple(unchanged.tolist())
    place = np.unique(simulation, return_inverse=True)[1]
    gains = np.stack([_gains(squared, basis, place, shrinkage) for shrinkage in _SHRINKAGES])
    best = int(np.argmax(gains.mean(axis=1)))
    helps = gains[best].mean() > gains[best].std(ddof=1) / np.sqrt(gains.shape[1])
    return tuple((_minimise(squared, basis, _SHRINKAGES[best]) if helps else unchanged).tolist())


def _gains(squared: FloatArray, basis: FloatArray, place: IntArray, shrinkage: float) -> FloatArray:
    """Log-likelihood of each simulation, left out of the fit with every tenth, over that without a change, (n,)."""
    gains = np.empty(len(squared))
    for fold in range(_N_FOLDS):
        out = place % _N_FOLDS == fold
        fitted = _minimise(squared[~out], basis[~out], shrinkage)
        logarithm = np.clip(basis[out] @ fitted, -np.log(LARGEST_SCALE), np.log(LARGEST_SCALE))
        gains[out] = squared[out] / 2 - _losses(squared[out], logarithm)
    return np.asarray(np.bincount(place, weights=gains))


def _losses(squared: FloatArray, logarithm: FloatArray) -> FloatArray:
    return logarithm + squared * np.exp(-2 * logarithm) / 2


def _minimise(squared: FloatArray, basis: FloatArray, shrinkage: float) -> FloatArray:
    """Newton's method with halved steps on a convex function, from the best constant scale."""
    ridge, n = 2 * shrinkage * _WEIGHTS, len(squared)

    def value(c: FloatArray) -> float:
        with np.errstate(over="ignore", invalid="ignore"):  # of steps that are then halved
            return float(_losses(squared, basis @ c).mean() + (ridge * c * c).sum() / 2)

    c = np.zeros(DEGREE + 1)
    c[0] = np.clip(np.log(max(squared.mean(), LARGEST_SCALE**-2)) / 2, -np.log(LARGEST_SCALE), np.log(LARGEST_SCALE))
    for _ in range(_NEWTON_STEPS):
        pull = squared * np.exp(-2 * (basis @ c))
        slope = basis.T @ (1 - pull) / n + ridge * c
        curvature = (basis.T * (2 * pull)) @ basis / n + np.diag(ridge + 1e-12)
        step, now = np.linalg.solve(curvature, slope), value(c)
        size = next((size for size in 0.5 ** np.arange(20) if value(c - size * step) <= now), 0.0)
        c = np.clip(c - size * step, -_LARGEST_COEFFICIENT, _LARGEST_COEFFICIENT)
        if size * np.abs(step).max() < 1e-8:
            break
    return c
