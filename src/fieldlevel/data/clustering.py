"""Does sigma_8 go with the clustering in the maps?

The spread of the logarithm of the pixels grows with sigma_8. Where the spread of total-mass maps differs clearly from
simulation to simulation and yet not with sigma_8, the labels are not those of the maps. Maps without such a difference
(toys, one cosmology) tell nothing.
"""

from collections.abc import Iterator

import numpy as np

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.parameter_tables import Float64Array
from fieldlevel.layout import Layout

_FIELDS = ("Mtot", "Mcdm")
_FEWEST_SIMULATIONS = 50
_CLEAR_RATIO = 3.0
"""Of the variance between simulations and that expected of the mean of the maps of one."""
_LOWEST_CORRELATION = 0.4
"""Of ranks, at equal Omega_m; shuffled labels of few simulations may reach it by chance."""


def clustering_defects(files: SuiteFiles, theta: Float64Array, contrast: Float64Array, layout: Layout) -> Iterator[str]:
    """Compare sigma_8 with the spread of the logarithm of the pixels.

    Args:
        files: a latin hypercube of matter maps; in others sigma_8 is not alone.
        theta: parameters, shape (n_simulations, P).
        contrast: standard deviation of log10 of each map, shape (n_maps n_simulations,).
        layout: of the maps.

    Yields:
        One line, where the two have nothing to do with one another.
    """
    if not has_clustering(files, theta, contrast, layout):
        return
    column = layout.column("sigma_8")
    cosmology = theta[:, [layout.column("Omega_m"), column]]
    correlation = _correlation(cosmology, contrast.reshape(-1, layout.n_maps).mean(1))
    if correlation < _LOWEST_CORRELATION:
        yield (
            f"{files.parameters_path}: sigma_8 (column {column + 1}) does not go with the clustering in the maps (rank "
            f"correlation {correlation:.2f} over {len(theta)} simulations): shuffled, or of another suite; give "
            f"the labels that belong to {files.maps_path.name}"
        )


def has_clustering(files: SuiteFiles, theta: Float64Array, contrast: Float64Array, layout: Layout) -> bool:
    """Whether the maps tell of sigma_8: many simulations of different sigma_8 that differ clearly in their spread."""
    n = len(theta)
    is_judged = files.field in _FIELDS and files.set_name == "LH" and n >= _FEWEST_SIMULATIONS
    if not is_judged or layout.n_maps < 2 or not layout.has("Omega_m", "sigma_8"):
        return False
    cosmology = theta[:, [layout.column("Omega_m"), layout.column("sigma_8")]]
    is_finite = np.isfinite(contrast).all() and np.isfinite(cosmology).all()
    if not is_finite or len(np.unique(cosmology[:, 1])) <= n / 2:
        return False
    by_simulation = contrast.reshape(n, layout.n_maps)
    by_chance = by_simulation.var(1, ddof=1).mean() / layout.n_maps
    return bool(by_simulation.mean(1).var(ddof=1) > _CLEAR_RATIO * by_chance)


def _correlation(cosmology: Float64Array, spread: Float64Array) -> float:
    """Rank correlation of sigma_8 and the spread, both without what Omega_m explains."""
    powers = np.vander(np.log(np.maximum(cosmology[:, 0], 1e-3)), 3)
    rest = [column - powers @ np.linalg.lstsq(powers, column, rcond=None)[0] for column in (cosmology[:, 1], spread)]
    ranks = [column.argsort().argsort() for column in rest]
    return float(np.corrcoef(ranks)[0, 1])
