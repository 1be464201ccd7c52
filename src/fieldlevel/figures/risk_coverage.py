r"""Risk against coverage: the error of the maps that a network is surest of, against how many these are.

Maps are ordered by the claimed standard deviation, the smallest first. Of the first part c of them

    risk(c) = RMSE of the first c n maps.

Where standard deviations tell which answers are bad, risk grows with c; a flat curve says that they do not.

References:
    El-Yaniv & Wiener 2010, JMLR 11, 1605 (selective prediction).
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from fieldlevel.arrays import FloatArray
from fieldlevel.figures.parameter_row import parameter_row
from fieldlevel.figures.style import colours_and_markers, refuse_empty
from fieldlevel.layout import Parameter
from fieldlevel.statistics.predictions import Predictions

LEAST = 0.1
"""Part of the maps from which on the curves are drawn."""


def risk(theta: FloatArray, mean: FloatArray, std: FloatArray) -> FloatArray:
    """RMSE of the surest maps, the n-th number of the n surest, (n,).

    Args:
        theta: truths, (n,).
        mean: posterior means, (n,).
        std: claimed standard deviations, (n,).

    Example:
        >>> risk(np.zeros(3), np.array([3.0, 0.0, 4.0]), np.array([0.2, 0.1, 0.3])).round(3).tolist()
        [0.0, 2.121, 2.887]
    """
    squared = np.square(mean - theta)[np.argsort(std, kind="stable")]
    return np.asarray(np.sqrt(np.cumsum(squared) / np.arange(1, len(squared) + 1)))


def draw_risk_coverage(
    predictions: Mapping[str, Predictions], parameters: tuple[Parameter, ...], *, mock: bool
) -> Figure:
    """Draw a curve for each of some tested maps, in a panel a parameter.

    Args:
        predictions: by name.
        parameters: one panel each.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no predictions.
    """
    refuse_empty(predictions, "predictions")
    xlabel, ylabel = "part of the maps that is kept, the surest", "RMSE of these"
    with parameter_row(parameters, xlabel, ylabel, mock=mock) as (figure, axes):
        for panel, parameter in zip(axes, parameters, strict=True):
            looks = colours_and_markers(len(predictions))
            for (name, tested), (colour, _) in zip(predictions.items(), looks, strict=True):
                curve = risk(*tested.moments_of(parameter.name))
                part = np.arange(1, len(curve) + 1) / len(curve)
                shown = part >= LEAST
                panel.plot(part[shown], curve[shown], color=colour, label=name)
            panel.set_ylim(bottom=0)
    return figure
