r"""Are the labels sound, and do they belong to the maps?

Mass conservation tells: the five slabs of an axis, each of thickness \(\ell\), hold all the mass of the box, so the
mean pixel of the total-mass maps of simulation \(i\) is

.. math:: \langle\Sigma\rangle_i = \rho_{\rm crit}\,\ell\,\Omega_{{\rm m},i},\qquad
          \rho_{\rm crit} = 2.775\times 10^{11}\,h^2 M_\odot\,{\rm Mpc}^{-3},\ \ell = 5\,{\rm Mpc}/h .

References:
    Villaescusa-Navarro et al. 2022, arXiv:2109.10915 (CMD).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fieldlevel.maps.cmd_format import Float64Array, SuiteFiles
from fieldlevel.maps.wording import equal_pairs, name_some
from fieldlevel.parameters import (
    CRITICAL_DENSITY,
    MAPS_PER_SIMULATION,
    MAXIMA,
    MINIMA,
    PARAMETER_NAMES,
    PARAMETERS,
    SLAB_THICKNESS_MPC_H,
    is_nbody,
    prior_range,
)

MASS_TOLERANCE = 0.02
"""Relative; a row of a shuffled latin hypercube agrees this well by chance in about 3% of the simulations."""

_PRIOR_TOLERANCE = 1e-6
_BOUNDED_SETS = ("LH", "CV", "1P")
"""Sets that keep to the priors by design; the extreme set EX and sets of the user's own need not."""

_A_AGN1, _A_SN2 = PARAMETER_NAMES.index("A_AGN1"), PARAMETER_NAMES.index("A_SN2")


def parameter_defects(files: SuiteFiles, theta: Float64Array) -> Iterator[str]:
    """Compare the parameters with their priors and with one another.

    Gravity-only suites carry the feedback columns of their twins, which mean nothing there and are not looked at.

    Args:
        files: where the parameters come from.
        theta: parameters, shape (n_simulations, 6).

    Yields:
        One line a kind of defect and column.
    """
    used = [i for i, p in enumerate(PARAMETERS) if p.cosmological or not is_nbody(files.suite)]
    may_be_swapped = files.set_name in _BOUNDED_SETS and not is_nbody(files.suite)
    swapped = (_A_AGN1, _A_SN2) if may_be_swapped and _has_swapped_columns(theta) else ()
    if swapped:
        order = ", ".join(PARAMETER_NAMES)
        yield f"{files.parameters_path}: columns A_AGN1 and A_SN2 are swapped; put the columns in the order {order}"
    for column in used:
        if column not in swapped:
            yield from _range_defects(files, column, theta[:, column])
    if files.set_name == "LH" and (pairs := equal_pairs([row.tobytes() for row in theta[:, used]])):
        yield (
            f"{files.parameters_path}: rows {name_some(pairs)} are the same, which a latin hypercube never has; "
            f"mend the table"
        )


def _has_swapped_columns(theta: Float64Array) -> bool:
    is_narrow = not _outside_prior(theta[:, _A_AGN1], _A_SN2).any()
    is_wide = bool(_outside_prior(theta[:, _A_SN2], _A_SN2).any())
    return is_narrow and is_wide and not _outside_prior(theta[:, _A_SN2], _A_AGN1).any()


def _outside_prior(values: Float64Array, column: int) -> npt.NDArray[np.bool_]:
    return _outside(values, (MINIMA[column], MAXIMA[column]))


def _outside(values: Float64Array, bounds: tuple[float, float]) -> npt.NDArray[np.bool_]:
    slack = _PRIOR_TOLERANCE * bounds[1]
    is_inside: npt.NDArray[np.bool_] = (values >= bounds[0] - slack) & (values <= bounds[1] + slack)
    return ~is_inside


def _range_defects(files: SuiteFiles, column: int, values: Float64Array) -> Iterator[str]:
    """Outside its prior range; in a set that may leave the priors only NaN and infinity are wrong."""
    parameter = PARAMETERS[column]
    is_bounded = files.set_name in _BOUNDED_SETS
    bounds = prior_range(files.suite, parameter)
    rows = np.flatnonzero(_outside(values, bounds) if is_bounded else ~np.isfinite(values))
    if rows.size:
        listed = name_some([f"{row} ({values[row]:g})" for row in rows])
        yield (
            f"{files.parameters_path}: {parameter.name} (column {column + 1}) outside its prior range "
            f"[{bounds[0]:g}, {bounds[1]:g}] in rows {listed}; mend the table"
        )


def mass_defects(files: SuiteFiles, theta: Float64Array, mean: Float64Array) -> Iterator[str]:
    """Compare the mass in the maps of each simulation with the Omega_m of its row.

    Args:
        files: a suite of total-mass maps; other fields do not conserve mass and are passed over.
        theta: parameters, shape (n_simulations, 6).
        mean: mean pixel of each map [(Msun/h) / (Mpc/h)^2], shape (15 n_simulations,).

    Yields:
        One line: labels of another suite, or the simulations whose labels are wrong.
    """
    if files.field != "Mtot":
        return
    Omega_m = theta[:, 0]
    weighed = mean.reshape(-1, MAPS_PER_SIMULATION).mean(1) / (CRITICAL_DENSITY * SLAB_THICKNESS_MPC_H)
    is_wrong = np.isfinite(weighed) & (np.abs(weighed - Omega_m) > MASS_TOLERANCE * Omega_m)
    wrong = np.flatnonzero(is_wrong)
    if not wrong.size:
        return
    ratio = weighed / Omega_m
    if len(ratio) > 1 and np.ptp(ratio) <= MASS_TOLERANCE * ratio[0]:
        yield (
            f"{files.maps_path}: every map holds {ratio[0]:.3g} times the mass of a slab of "
            f"{SLAB_THICKNESS_MPC_H:g} Mpc/h; give maps of five slabs of a box of 25 Mpc/h"
        )
        return
    listed = name_some([f"{i} (row {Omega_m[i]:.4g}, maps {weighed[i]:.4g})" for i in wrong])
    where = f"Omega_m does not agree with the mass in the maps of simulations {listed}"
    if 2 * wrong.size > len(Omega_m):
        yield (
            f"{files.parameters_path}: labels of another suite or shuffled rows: {where}; "
            f"give the labels that belong to {files.maps_path.name}"
        )
    else:
        yield f"{files.parameters_path}: {where}; mend these rows or make these maps again"
