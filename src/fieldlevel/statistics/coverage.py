r"""How often truths lie in the intervals that posteriors give: expected against true coverage.

The central interval of level c of a marginal posterior holds the truth where its distribution function there, F, has

    |2 F - 1| <= c.

An honest posterior has a true coverage of c at every level, also among maps chosen by anything that the maps tell, such
as the posterior mean. Among maps chosen by their truth it has not: at the edge of a prior truths are further out than
means. So maps are put into quarters of the prior by their means.

References:
    Hermans et al. 2022, arXiv:2110.06581 (expected coverage).
"""

from collections.abc import Sequence

import numpy as np

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate

LEVELS = (0.68, 0.95)
N_PARTS = 4


def coverage(
    pit: FloatArray,
    simulation: IntArray,
    levels: Sequence[float] = LEVELS,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> list[list[Estimate]]:
    """True coverage of the central intervals of each level, with its error by bootstrap over simulations.

    Args:
        pit: distribution functions at the truths, (n, P); NaN where there is no truth.
        simulation: number of the simulation of each map, (n,).
        levels: expected coverages.
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.

    Returns:
        By level, then by parameter.

    Example:
        >>> values = np.linspace(0.005, 0.995, 100)[:, None]
        >>> [row[0].value for row in coverage(values, np.arange(100))]
        [0.68, 0.96]
    """
    draws = Bootstrap.draw(simulation, n_bootstrap, [seed])
    every = np.ones(len(pit), dtype=bool)
    return [[_fraction(column, level, every, draws) for column in pit.T] for level in levels]


def coverage_by_quarter(
    pit: FloatArray,
    mean: FloatArray,
    simulation: IntArray,
    levels: Sequence[float] = LEVELS,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> list[list[list[Estimate]]]:
    """The same of maps whose posterior mean lies in each quarter of the prior.

    Args:
        pit: distribution functions at the truths, (n, P); NaN where there is no truth.
        mean: posterior means in units of the prior, (n, P).
        simulation: number of the simulation of each map, (n,).
        levels: expected coverages.
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.

    Returns:
        By quarter, then by level, then by parameter; NaN where no map has its mean there.
    """
    draws = Bootstrap.draw(simulation, n_bootstrap, [seed])
    quarter = np.clip((N_PARTS * mean).astype(int), 0, N_PARTS - 1)
    columns = range(pit.shape[1])
    return [
        [[_fraction(pit[:, c], level, quarter[:, c] == part, draws) for c in columns] for level in levels]
        for part in range(N_PARTS)
    ]


def _fraction(pit: FloatArray, level: float, chosen: np.ndarray, draws: Bootstrap) -> Estimate:
    """Part of the chosen maps whose truth lies in the interval."""
    if np.isnan(pit).any() or not chosen.any():
        return Estimate(np.nan, np.nan, np.nan, np.nan)
    inside = (chosen & (np.abs(2 * pit - 1) <= level)).astype(float)
    hits, n = draws.averages(inside, chosen.astype(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        replicas = hits / n
    return Estimate.from_replicas(float(inside.sum() / chosen.sum()), replicas)
