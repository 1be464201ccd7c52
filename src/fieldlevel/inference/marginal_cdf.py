r"""Where truths lie in the marginal posteriors that a mean and a standard deviation stand for.

The posterior of which a network tells two moments is taken for the truncated normal on the prior that has them, the
density of largest entropy on [0, 1],

    p(x) ~ exp(gamma t - beta t^2 / 2),    t = (x - mu) / sigma,    0 <= x <= 1,

with E[t] = 0 and E[t^2] = 1. Wider than the exponential of its mean none is: such a standard deviation is taken for
that.
"""

from functools import cache

import numpy as np
from scipy.special import ndtr

from fieldlevel.arrays import FloatArray
from fieldlevel.statistics.predictions import Predictions

_FAR = 8.0
"""Standard deviations from both edges at which nothing is left to truncate."""
_SMALLEST_STD = 1e-6
_N_NODES = 128
_N_STEPS = 60
_MOST_BETA = 30.0
_BLOCK = 4096
"""Posteriors whose integrals are in memory at a time."""


def pit_of_predictions(predictions: Predictions) -> tuple[FloatArray, FloatArray]:
    """Distribution functions of the posteriors at the truths, and the means that they belong to.

    Returns:
        Both (n, P), the means in units of the prior; NaN where there is no truth.
    """
    layout = predictions.layout
    theta, mean = (layout.to_unit_interval(each) for each in (predictions.theta, predictions.mean))
    return marginal_cdf(theta, mean, predictions.std / (layout.highs - layout.lows)), mean


def marginal_cdf(theta: FloatArray, mean: FloatArray, std: FloatArray) -> FloatArray:
    """Distribution function of the truncated normals of these moments, all in units of the prior.

    Args:
        theta: where, any shape; NaN gives NaN.
        mean: posterior means, the same shape.
        std: posterior standard deviations, the same shape.

    Example:
        >>> marginal_cdf(np.array([0.5, 0.3]), np.array([0.5, 0.5]), np.array([0.01, 12**-0.5])).round(3).tolist()
        [0.5, 0.3]
    """
    std = np.maximum(std, _SMALLEST_STD)
    mean = np.clip(mean, np.minimum(std, 0.25) / 2, 1 - np.minimum(std, 0.25) / 2)
    values = np.asarray(ndtr((theta - mean) / std))
    near = np.argwhere((np.minimum(mean, 1 - mean) < _FAR * std) & np.isfinite(theta))
    for start in range(0, len(near), _BLOCK):
        some = tuple(near[start : start + _BLOCK].T)
        values[some] = _truncated(theta[some], mean[some], std[some])
    return values


def _truncated(theta: FloatArray, mean: FloatArray, std: FloatArray) -> FloatArray:
    """By quadrature over the interval and over its part below theta."""
    low, high = np.maximum(-mean / std, -40.0), np.minimum((1 - mean) / std, 40.0)
    beta, gamma = _solve(low, high)
    edge = np.clip((theta - mean) / std, low, high)
    whole = [(low, edge), (edge, high)]
    peak = np.max([_exponent(beta, gamma, *_nodes_between(*each)[:1]).max(axis=1) for each in whole], axis=0)
    below, above = (_integral(beta, gamma, *each, peak) for each in whole)
    return np.asarray(below / (below + above))


def _solve(low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Beta and gamma of mean 0 and variance 1 on [low, high], by Newton's method with damped steps."""
    t, weights = _nodes_between(low, high)
    features = np.stack([-(t**2) / 2, t])
    answer, target = np.stack([np.ones_like(low), np.zeros_like(low)]), np.array([-0.5, 0.0])[:, None]
    for _ in range(_N_STEPS):
        exponent = np.einsum("kn,knq->nq", answer, features)
        density = weights * np.exp(exponent - exponent.max(axis=1, keepdims=True))
        density /= density.sum(axis=1, keepdims=True)
        moments = (density * features).sum(axis=-1)
        apart = features - moments[..., None]
        hessian = np.einsum("nq,inq,jnq->nij", density, apart, apart) + 1e-12 * np.eye(2)
        slope = (moments - target).T
        is_widest = (answer[0] == 0) & (slope[:, 0] > 0)  # beta stays 0, gamma alone is sought
        slope[is_widest, 0], hessian[is_widest, 0, 1], hessian[is_widest, 1, 0] = 0.0, 0.0, 0.0
        step = np.linalg.solve(hessian, slope[..., None])[..., 0]
        decrement = np.sqrt(np.maximum((step * slope).sum(axis=1), 0.0))
        damped = step / np.where(decrement < 0.25, 1.0, 1.0 + decrement)[:, None]
        answer = answer - damped.T
        answer[0] = np.clip(answer[0], 0.0, _MOST_BETA)
        if decrement.max(initial=0.0) < 1e-7:
            break
    return answer[0], answer[1]


def _integral(beta: FloatArray, gamma: FloatArray, low: FloatArray, high: FloatArray, peak: FloatArray) -> FloatArray:
    t, weights = _nodes_between(low, high)
    return np.asarray((weights * np.exp(_exponent(beta, gamma, t) - peak[:, None])).sum(axis=1))


def _exponent(beta: FloatArray, gamma: FloatArray, t: FloatArray) -> FloatArray:
    return np.asarray(gamma[:, None] * t - beta[:, None] * t**2 / 2)


def _nodes_between(low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of Gauss and Legendre on [low, high], (n, Q) each."""
    nodes, weights = _quadrature()
    width = (high - low)[:, None]
    return low[:, None] + width * nodes, width * weights


@cache
def _quadrature() -> tuple[FloatArray, FloatArray]:
    nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
    return (nodes + 1) / 2, weights / 2
