"""Where truths lie in the marginal posteriors that a mean and a standard deviation stand for.

The posterior of which a network tells two moments is taken for the truncated normal on the prior that has them
(`estimators.truncated_normal`).
"""

import numpy as np
import torch

from fieldlevel.arrays import FloatArray
from fieldlevel.estimators.densities import TruncatedNormal
from fieldlevel.statistics.predictions import Predictions


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
        theta: where, (n, P) or (n,); NaN gives NaN.
        mean: posterior means, the same shape.
        std: posterior standard deviations, the same shape.

    Example:
        >>> marginal_cdf(np.array([0.5, 0.3]), np.array([0.5, 0.5]), np.array([0.01, 12**-0.5])).round(3).tolist()
        [0.5, 0.3]
    """
    values, means, stds = (torch.tensor(np.atleast_2d(each), dtype=torch.float64) for each in (theta, mean, std))
    found = TruncatedNormal(means, stds).marginal_cdf(values).numpy()
    return np.asarray(np.where(np.isnan(theta), np.nan, found.reshape(np.shape(theta))))
