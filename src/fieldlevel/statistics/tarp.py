r"""Expected coverage of joint posteriors from samples: Tests of Accuracy with Random Points (TARP).

For a map with truth theta and a random point theta_r, let f be the part of the posterior's samples that lie nearer to
theta_r than theta does. The samples nearer than that make a credible region of level f with the truth on its edge, and

    ECP(alpha) = P(f < alpha) = alpha

for all alpha where the posterior is exact; where it holds for points at will, depending on the map, the posterior is
exact. Points here are uniform in the prior. Too narrow posteriors have ECP > alpha below one half and < alpha above.

References:
    Lemos et al. 2023, arXiv:2302.03026.
"""

from dataclasses import dataclass

import numpy as np
import torch

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.errors import UserError
from fieldlevel.numerics.random import uniform
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.sbc import check_samples

_STREAM_OF_POINTS, _STREAM_OF_TIES = 72, 73
_BLOCK = 256
"""Maps whose distances are in memory at a time."""


@dataclass(frozen=True)
class Tarp:
    """Expected coverage of joint posteriors.

    Attributes:
        alpha: levels, (L,).
        ecp: expected coverage probability at each, (L,).
        low: 16th percentile of its bootstrap, (L,).
        high: 84th percentile, (L,).
        area: between the curve and the diagonal, integral of |ECP - alpha|; 0 is perfect, 1/4 the worst of what is
            not biased, 1/2 the worst. Noise adds to it.
        width: integral of ECP - alpha above one half minus that below: negative where posteriors are too narrow,
            positive where they are too wide, 0 on average where they are exact.
    """

    alpha: FloatArray
    ecp: FloatArray
    low: FloatArray
    high: FloatArray
    area: Estimate
    width: Estimate


def tarp(
    samples: FloatArray,
    theta: FloatArray,
    simulation: IntArray,
    n_levels: int = 50,
    n_bootstrap: int = 400,
    seed: int = 0,
) -> Tarp:
    """Measure the expected coverage of joint posteriors, with errors by bootstrap over simulations.

    Args:
        samples: of the posteriors in units of the prior, (S, n, P).
        theta: truths in units of the prior, (n, P); parameters without any are left out.
        simulation: number of the simulation of each map, (n,).
        n_levels: steps of alpha from 0 to 1.
        n_bootstrap: resamplings of the simulations.
        seed: of the random points and of the resampling.

    Raises:
        UserError: shapes that disagree, or no truth.
    """
    check_samples(samples, theta)
    known = ~np.isnan(theta).any(axis=0)
    if not known.any():
        raise UserError("TARP: no parameter has truths; give simulations that have the parameters")
    fractions = credible_levels(samples[:, :, known], theta[:, known], seed)
    alpha = np.linspace(0, 1, n_levels + 1)
    below = (fractions[:, None] <= alpha).astype(float)
    drawn = np.stack(Bootstrap.draw(simulation, n_bootstrap, [seed]).averages(*below.T), axis=1)
    ecp = below.mean(axis=0)
    low, high = np.percentile(drawn, [16, 84], axis=0)
    area, width = (
        Estimate.from_replicas(float(measure(ecp, alpha)), measure(drawn, alpha)) for measure in (_area, _width)
    )
    return Tarp(alpha, ecp, low, high, area, width)


def credible_levels(samples: FloatArray, theta: FloatArray, seed: int = 0) -> FloatArray:
    """Level f of the region around a random point that has the truth on its edge, of each map; uniform where exact.

    Args:
        samples: of the posteriors in units of the prior, (S, n, P).
        theta: truths, (n, P).
        seed: of the random points, and of the place within 1 / (S + 1) that few samples leave open.

    Returns:
        (n,), in (0, 1).
    """
    n, n_parameters = theta.shape
    points = uniform(torch.arange(n * n_parameters), seed, _STREAM_OF_POINTS).numpy().reshape(n, n_parameters)
    within = uniform(torch.arange(n), seed, _STREAM_OF_TIES).numpy()
    nearer = np.empty(n)
    for start in range(0, n, _BLOCK):
        block = slice(start, start + _BLOCK)
        of_samples = np.square(samples[:, block] - points[block]).sum(axis=-1)
        nearer[block] = (of_samples < np.square(theta[block] - points[block]).sum(axis=-1)).sum(axis=0)
    return np.asarray((nearer + within) / (len(samples) + 1))


def _area(ecp: FloatArray, alpha: FloatArray) -> FloatArray:
    return np.asarray(np.trapezoid(np.abs(ecp - alpha), alpha, axis=-1))


def _width(ecp: FloatArray, alpha: FloatArray) -> FloatArray:
    return np.asarray(np.trapezoid((ecp - alpha) * np.sign(alpha - 0.5), alpha, axis=-1))
