r"""Are truths drawn from the posteriors? Ranks of the truth, and a test that they are uniform.

If theta and a map are drawn from the prior and the simulator, the distribution function of the exact marginal posterior
at the truth, F(theta | map), is uniform on [0, 1] (probability integral transform), and so is the rank of the truth
among samples of the posterior (simulation-based calibration). Posteriors that are too narrow pile it up at both ends,
too wide ones in the middle, biased ones at one end.

Kuiper's statistic V = max(F_n - u) + max(u - F_n), for F_n the empirical distribution of n values, sees all three. The
maps of one simulation are not independent, so the distribution of V where values are uniform is that of F*_n - F_n with
simulations drawn with replacement (bootstrap of the empirical process).

References:
    Talts et al. 2018, arXiv:1804.06788; Kuiper 1960; Politis, Romano & Wolf 1999, Subsampling.
"""

from dataclasses import dataclass

import numpy as np
import torch

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.errors import UserError
from fieldlevel.numerics.random import uniform
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate

_STREAM_OF_TIES = 71
_GRID = np.arange(1, 50) / 50


@dataclass(frozen=True)
class Uniformity:
    """Whether values are uniform on [0, 1].

    Attributes:
        statistic: Kuiper's V, between 0 and 1.
        p_value: of uniform values having one as large.
    """

    statistic: float
    p_value: float


def check_samples(samples: FloatArray, theta: FloatArray) -> None:
    """Refuse samples that are not (S, n, P) beside truths (n, P).

    Raises:
        UserError: with both shapes.
    """
    if samples.ndim != 3 or samples.shape[1:] != theta.shape or len(samples) < 1:
        told = f"samples of shape {samples.shape} beside truths of shape {theta.shape}"
        raise UserError(f"{told}; give samples (S, n, P) and truths (n, P)")


def ranks(samples: FloatArray, theta: FloatArray) -> IntArray:
    """How many samples of each parameter lie below the truth.

    Args:
        samples: of the posteriors, (S, n, P).
        theta: truths, (n, P).

    Returns:
        (n, P), from 0 to S.

    Example:
        >>> ranks(np.array([0.1, 0.2, 0.7]).reshape(3, 1, 1), np.array([[0.5]])).tolist()
        [[2]]
    """
    check_samples(samples, theta)
    return np.asarray((samples < theta).sum(axis=0))


def pit_of_samples(samples: FloatArray, theta: FloatArray, seed: int = 0) -> FloatArray:
    """Values that are uniform where the truth is as good as one of the samples: (rank + u) / (S + 1), u in (0, 1).

    Args:
        samples: of the posteriors, (S, n, P).
        theta: truths, (n, P); NaN where there is none.
        seed: of u, which is drawn so that few samples give uniform values too.

    Returns:
        (n, P), NaN where there is no truth.
    """
    counters = torch.arange(theta.size).reshape(theta.shape)
    within = uniform(counters, seed, _STREAM_OF_TIES).numpy()
    values = (ranks(samples, theta) + within) / (len(samples) + 1)
    return np.where(np.isnan(theta), np.nan, values)


def judge_uniformity(pit: FloatArray, simulation: IntArray, n_bootstrap: int = 1000, seed: int = 0) -> list[Uniformity]:
    """Test each parameter, by simulation.

    Args:
        pit: distribution functions at the truths, (n, P).
        simulation: number of the simulation of each map, (n,).
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.

    Returns:
        One a parameter; both numbers are NaN where there is no truth, the p-value of a single simulation.
    """
    draws = Bootstrap.draw(simulation, n_bootstrap, [seed])
    return [_test_one(column, draws) for column in pit.T]


def _test_one(pit: FloatArray, draws: Bootstrap) -> Uniformity:
    if np.isnan(pit).any():
        return Uniformity(np.nan, np.nan)
    below = [(pit <= edge).astype(float) for edge in _GRID]
    found = np.array([each.mean() for each in below])
    drawn = np.stack(draws.averages(*below), axis=1)
    statistic, replicas = _kuiper(found - _GRID), _kuiper(drawn - found)
    if np.isnan(replicas).any():
        return Uniformity(float(statistic), np.nan)
    return Uniformity(float(statistic), float((1 + (replicas >= statistic).sum()) / (1 + len(replicas))))


def _kuiper(difference: FloatArray) -> FloatArray:
    """Of F - u on the grid, (..., G) to (...); both are equal at 0 and 1."""
    above, below = difference.max(axis=-1, initial=0.0), (-difference).max(axis=-1, initial=0.0)
    return np.asarray(above + below)


def pit_histogram(
    pit: FloatArray, simulation: IntArray, n_bins: int = 10, n_bootstrap: int = 400, seed: int = 0
) -> list[Estimate]:
    """Part of the values of one parameter in each of equal bins, times their number: 1 where they are uniform.

    Args:
        pit: distribution functions at the truths, (n,).
        simulation: number of the simulation of each map, (n,).
        n_bins: as many.
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.
    """
    draws = Bootstrap.draw(simulation, n_bootstrap, [seed])
    place = np.clip((pit * n_bins).astype(int), 0, n_bins - 1)
    inside = [n_bins * (place == each).astype(float) for each in range(n_bins)]
    return [
        Estimate.from_replicas(float(each.mean()), drawn)
        for each, drawn in zip(inside, draws.averages(*inside), strict=True)
    ]
