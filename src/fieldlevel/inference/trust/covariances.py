r"""Covariances of many numbers from few maps: the shrinkage of Ledoit and Wolf, and whitening with it.

The sample covariance S of n rows of d numbers is drawn towards \(\mu I\), \(\mu = \mathrm{tr} S / d\), by the weight
\(\min(b^2, \delta^2) / \delta^2\) with \(\delta^2 = \|S - \mu I\|^2 / d\) and
\(b^2 = \sum_i \|x_i x_i^T - S\|^2 / (n^2 d)\), which is the best for the mean squared error.

References:
    Ledoit & Wolf 2004, J. Multivariate Analysis 88, 365.
"""

import numpy as np

from fieldlevel.arrays import FloatArray

_LEAST = 1e-12
"""Of the eigenvalues, relative to the largest."""


def ledoit_wolf(rows: FloatArray) -> FloatArray:
    """Covariance of rows whose mean is taken to be zero.

    Args:
        rows: (n, d).

    Returns:
        (d, d), positive definite unless all rows vanish.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(20, 30))
        >>> bool(np.linalg.eigvalsh(ledoit_wolf(rows)).min() > 0.3)
        True
    """
    n, d = rows.shape
    sample = rows.T @ rows / n
    level = float(np.trace(sample)) / d
    distance = float(((sample - level * np.eye(d)) ** 2).sum()) / d
    spread = float(((rows**2).sum(1) ** 2).sum() / n**2 - (sample**2).sum() / n) / d
    weight = min(spread, distance) / distance if distance > 0 else 1.0
    shrunk: FloatArray = weight * level * np.eye(d) + (1 - weight) * sample
    return shrunk


def whitening(covariance: FloatArray) -> FloatArray:
    """W with W^T C W = 1, so that rows times W have unit covariance, (d, d)."""
    values, vectors = np.linalg.eigh(covariance)
    floor = max(float(values[-1]), np.finfo(float).tiny) * _LEAST
    white: FloatArray = vectors / np.sqrt(np.maximum(values, floor))
    return white
