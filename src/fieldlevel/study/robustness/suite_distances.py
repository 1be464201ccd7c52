"""How far suites lie apart: rms difference of the mean logarithm of their power spectra.

    d(A, B)^2 = mean over wavenumbers of (<log10 P_A> - <log10 P_B>)^2   [dex],

each mean over maps of training rows, smoothed or cut as the networks of the study read them; no label enters. P is that
of a map over its mean, as networks on summaries read it, so a difference of Omega_m alone hardly shows.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np

from fieldlevel.arrays import FloatArray
from fieldlevel.data.suite import Suite
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.data.transformed import transform_maps
from fieldlevel.numerics.summaries import log_power_spectrum
from fieldlevel.study.robustness.rows import Numbers

MOST_SIMULATIONS = 100
"""Of each suite that are looked at; the same rows of all."""


def suite_distances(
    suites: Mapping[str, Suite], rows: Mapping[str, Numbers], transform: TransformSpec
) -> dict[tuple[str, str], float]:
    """Distance of every ordered pair of suites, in dex.

    Args:
        suites: by name.
        rows: training rows of each.
        transform: of every map first.
    """
    mean = {name: mean_log_power(suite, rows[name][:MOST_SIMULATIONS], transform) for name, suite in suites.items()}
    return {
        (one, other): float(np.sqrt(np.mean(np.square(mean[one] - mean[other]))))
        for one, other in permutations(mean, 2)
    }


def mean_log_power(suite: Suite, simulations: Sequence[int], transform: TransformSpec) -> FloatArray:
    """Mean over maps of log10 P, (bins,)."""
    n_maps = suite.layout.n_maps

    def of(number: int) -> FloatArray:
        own = np.arange(number * n_maps, (number + 1) * n_maps)
        maps = transform_maps(suite.load_simulation(number), transform, own, suite.layout)
        return log_power_spectrum(maps).double().mean(dim=0).numpy()

    return np.asarray(np.mean([of(int(number)) for number in simulations], axis=0))


def to_nearest(distances: Mapping[tuple[str, str], float], target: str, others: Sequence[str]) -> float:
    """Of a suite to the nearest of some others."""
    return min(distances[target, other] for other in others)
