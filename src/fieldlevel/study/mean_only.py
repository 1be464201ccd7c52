"""What the mean of a map alone tells: the total mass of the slab against the parameters.

The mean surface density of a slab scatters around 2.775e11 * 5 * Omega_m (Msun/h)/(Mpc/h)^2. What it tells of a
parameter, E[theta | mean], is fitted on the training simulations as a cubic in its logarithm.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (total mass against Omega_m and sigma_8).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import FloatArray
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import Suite
from fieldlevel.statistics.metrics import Scores, evaluate
from fieldlevel.statistics.predictions import Predictions

_DEGREE = 3


@dataclass(frozen=True)
class MeanOnly:
    """A predictor that knows the mean of a map alone.

    Attributes:
        mean_density: of each test map, (n,) in the unit of the field.
        predictions: of the test maps; the standard deviation is that of the residuals of the training maps.
        scores: every measure of every parameter.
    """

    mean_density: FloatArray
    predictions: Predictions
    scores: Scores


def predict_from_mean(suite: Suite, split: SplitSpec) -> MeanOnly:
    """Fit the predictor on the training simulations and apply it to the test simulations.

    Args:
        suite: the maps.
        split: of the simulations.
    """
    parts = split.divide(suite.n_simulations)
    known, test = (_mean_density(suite, numbers) for numbers in (parts.train, np.sort(parts.test)))
    of_known, of_test = (suite.simulation_of_map[suite.maps_of(n)] for n in (parts.train, np.sort(parts.test)))
    theta = suite.parameters[of_known]
    floor = min(known[known > 0], default=1.0)  # maps of stars may be empty
    coefficients = np.linalg.lstsq(_powers(known, floor), theta, rcond=None)[0]
    residuals = theta - _powers(known, floor) @ coefficients
    mean = np.clip(_powers(test, floor) @ coefficients, suite.layout.lows, suite.layout.highs)
    predictions = Predictions(
        theta=suite.parameters[of_test],
        mean=mean,
        std=np.broadcast_to(residuals.std(0), mean.shape),
        simulation=of_test,
        map_index=suite.maps_of(np.sort(parts.test)),
        layout=suite.layout,
    )
    return MeanOnly(test, predictions, evaluate(predictions))


def _mean_density(suite: Suite, simulations: npt.NDArray[np.int64]) -> FloatArray:
    return np.concatenate([suite.read_simulation(int(n)).mean((1, 2), dtype=np.float64) for n in simulations])


def _powers(mean_density: FloatArray, floor: float) -> FloatArray:
    logarithm = np.log10(np.maximum(mean_density, floor) / 4e11)
    return np.stack([logarithm**power for power in range(_DEGREE + 1)], axis=1)
