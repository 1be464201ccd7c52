r"""How far a map was smoothed, as its power tells: for networks whose training maps were each smoothed differently.

A Gaussian of w pixels takes \(w^2 k^2\) off the logarithm of the power at a wavenumber of k radians a pixel, so \(w^2\)
is found by a regression on the logarithm of the power and on the answers. It is one more thing that the statistics of a
map are to be expected given, so that a map is not called unlike for a resolution that the network was trained on.
Beyond those resolutions nothing is expected: estimates end a little below 0 and above the largest width of the
training, as far as chance leads.
"""

from dataclasses import dataclass

import numpy as np

from fieldlevel.arrays import FloatArray
from fieldlevel.inference.trust.map_statistics import Measured
from fieldlevel.inference.trust.regression import Regression

_MAPS = 3
"""That tell as much of widths as a simulation does of what its maps share: each has a width of its own."""
_CHANCE = 2.0
"""Standard deviations of the estimates."""


@dataclass(frozen=True, eq=False)
class Widths:
    """Estimates of how far maps were smoothed.

    Attributes:
        regression: of squares of widths on the power and the answers.
        low: the least estimate that is believed [pixels^2].
        high: the largest.
    """

    regression: Regression
    low: float
    high: float

    @classmethod
    def fit(cls, measured: Measured, widths: FloatArray, most: float) -> "Widths":
        """Of maps that were smoothed by known widths [pixels], (n,), of which the largest might have been `most`."""
        told, squares = _told(measured), np.square(widths)[:, None]
        regression = Regression.fit(told, squares, len(widths) // _MAPS)
        chance = _CHANCE * float((regression.expected(told) - squares).std())
        return cls(regression, -chance, most**2 + chance)

    def squares(self, measured: Measured) -> FloatArray:
        """Estimated squares of the widths of maps [pixels^2], (n,), within those of the training."""
        return self.regression.expected(_told(measured))[:, 0].clip(self.low, self.high)


def _told(measured: Measured) -> FloatArray:
    return np.concatenate([measured.power, measured.answers], axis=1)
