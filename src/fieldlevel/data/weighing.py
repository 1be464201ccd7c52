r"""Do the maps hold the mass that their labels say, in the unit and the geometry of CMD?

Mass conservation tells: the five slabs of an axis, each of thickness \(\ell\), hold all the mass of the box, so the
mean pixel of the total-mass maps of simulation \(i\) is

.. math:: \langle\Sigma\rangle_i = \rho_{\rm crit}\,\ell\,\Omega_{{\rm m},i},\qquad
          \rho_{\rm crit} = 2.775\times 10^{11}\,h^2 M_\odot\,{\rm Mpc}^{-3},\ \ell = 5\,{\rm Mpc}/h .

References:
    Villaescusa-Navarro et al. 2022, arXiv:2109.10915 (CMD).
"""

import math
from collections.abc import Iterator

import numpy as np

from fieldlevel.data.cmd_format import Float64Array, SuiteFiles
from fieldlevel.data.geometry import RECORD_NAME, Geometry, recorded_geometry
from fieldlevel.data.pixels import PixelSurvey
from fieldlevel.parameters import (
    BOX_SIZE_MPC_H,
    CRITICAL_DENSITY,
    HUBBLE,
    MAPS_PER_SIMULATION,
    PARAMETERS,
    SLAB_THICKNESS_MPC_H,
    SLABS_PER_AXIS,
    SURFACE_DENSITIES,
)
from fieldlevel.wording import name_some

MASS_TOLERANCE = 0.02
"""Relative; a row of a shuffled latin hypercube agrees this well by chance in about 3% of the simulations."""

_UNIT = "(Msun/h)/(Mpc/h)^2"
_WANTED = f"{SLABS_PER_AXIS} slabs of a box of {BOX_SIZE_MPC_H:g} Mpc/h"
_OTHER_UNITS = {
    "(Msun/h)/(kpc/h)^2": 1e-6,
    "Msun/kpc^2": 1e-6 * HUBBLE,
    "Msun/Mpc^2": HUBBLE,
    "(Msun/h)/Mpc^2": HUBBLE**2,
    "Msun/(Mpc/h)^2": 1 / HUBBLE,
    "10^10 (Msun/h)/(Mpc/h)^2": 1e-10,
    "10^10 (Msun/h)/(kpc/h)^2": 1e-16,
    "Msun/pc^2": 1e-12 * HUBBLE,
    "g/cm^2": HUBBLE * 1.98841e33 / 3.085678e24**2,
}
_LOWEST_OVERDENSITY, _NEAR = 1.001, 0.2
_LARGEST_LOGARITHM = 45.0
_ROUND_OFF = 1e-4
_LARGEST_RATIO = 6.0
"""Of Omega_m of any two simulations: more between maps and labels is no exchange of labels."""


def expected_mean(theta: Float64Array | None) -> float:
    """Mean pixel of total-mass maps of some labels, or of the fiducial ones [(Msun/h) / (Mpc/h)^2]."""
    Omega_m = PARAMETERS[0].fiducial if theta is None else float(theta[:, 0].mean())
    return CRITICAL_DENSITY * SLAB_THICKNESS_MPC_H * Omega_m


def unit_defect(files: SuiteFiles, theta: Float64Array | None, survey: PixelSurvey) -> str | None:
    """Say what maps are that hold no surface densities: logarithms, overdensities, normalised maps.

    Args:
        files: a suite; only surface densities are judged.
        theta: parameters, shape (n_simulations, 6), if they can be used.
        survey: of the map file.

    Returns:
        One line, with the mean pixel and the one that it ought to be.
    """
    is_whole = np.isfinite(survey.mean)
    if files.field not in SURFACE_DENSITIES or not is_whole.any():
        return None
    expected = expected_mean(theta)
    average = float(survey.mean[is_whole].mean())
    what = _what_they_are(float(np.nanmin(survey.minimum)), float(np.nanmax(survey.maximum)), average, expected)
    if what is None:
        return None
    whose = "these labels make it" if files.field == "Mtot" else "total mass makes it"
    return (
        f"{files.maps_path}: the mean pixel is {average:.3g}, where {whose} {expected:.3g} {_UNIT}: {what}; "
        "give the maps themselves"
    )


def _what_they_are(lowest: float, highest: float, average: float, expected: float) -> str | None:
    if lowest == highest or not math.isfinite(expected) or expected <= 0:
        return None
    centre = 1.0 if lowest >= 0 else 0.0
    if lowest >= -_LOWEST_OVERDENSITY and abs(average - centre) < _NEAR:
        return "these are overdensities, the maps over their mean"
    if highest > _LARGEST_LOGARITHM:
        return None
    if lowest < -1 and abs(average) < 1:
        return "these are normalised logarithms of the maps"
    if average < 1:
        return None
    base = "natural logarithm" if average > 1.5 * math.log10(expected) else "log10"
    return f"these are the {base} of the maps"


def mass_defects(files: SuiteFiles, theta: Float64Array, mean: Float64Array) -> Iterator[str]:
    """Compare the mass in the maps of each simulation with the Omega_m of its row.

    Args:
        files: a suite of total-mass maps; other fields do not conserve mass and are passed over.
        theta: parameters, shape (n_simulations, 6).
        mean: mean pixel of each map [(Msun/h) / (Mpc/h)^2], shape (15 n_simulations,).

    Yields:
        One line: another unit or geometry, labels of another suite, or the simulations whose labels are wrong.
    """
    if files.field != "Mtot":
        return
    Omega_m = theta[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        weighed = mean.reshape(-1, MAPS_PER_SIMULATION).mean(1) / (CRITICAL_DENSITY * SLAB_THICKNESS_MPC_H)
        ratio = weighed / Omega_m
        is_known = np.isfinite(ratio) & (ratio > 0) & (Omega_m > 0) & (Omega_m <= 1)
        wrong = np.flatnonzero(is_known & (np.abs(weighed - Omega_m) > MASS_TOLERANCE * Omega_m))
    if not wrong.size:
        return
    usual = float(np.median(ratio[is_known]))
    known = recorded_geometry(files)
    if known is not None and not known.fills_box:
        yield f"{files.maps_path}: not all mass of the box is in the maps: {_told_of_geometry(known)}"
        return
    if np.ptp(ratio[is_known]) <= MASS_TOLERANCE * usual or not 1 / _LARGEST_RATIO < usual < _LARGEST_RATIO:
        yield _told_of_ratio(files, theta[is_known], usual)
        return
    if np.ptp(weighed[is_known]) <= _ROUND_OFF * weighed[is_known].max():
        yield (
            f"{files.maps_path}: all simulations hold the same mass, whatever their Omega_m: these are maps over their "
            "mean, or copies; give the maps themselves"
        )
        return
    is_odd = is_known & ((ratio * _LARGEST_RATIO < usual) | (ratio > _LARGEST_RATIO * usual))
    if is_odd.any():
        listed = name_some([f"{i} (row {Omega_m[i]:.4g}, maps {weighed[i]:.4g})" for i in np.flatnonzero(is_odd)])
        yield f"{files.maps_path}: another unit than the others in the maps of simulations {listed}; make these again"
        wrong = wrong[~is_odd[wrong]]
    if not wrong.size:
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


def _told_of_ratio(files: SuiteFiles, theta: Float64Array, ratio: float) -> str:
    expected = expected_mean(theta)
    holds = f"every map holds {ratio:.3g} times the mass of a slab of {SLAB_THICKNESS_MPC_H:g} Mpc/h"
    numbers = f"mean pixel {ratio * expected:.3g}, {expected:.3g} by Omega_m of the labels"
    known = recorded_geometry(files)
    if known is not None and _agrees(known.thickness_mpc_h / SLAB_THICKNESS_MPC_H, ratio):
        return f"{files.maps_path}: {holds}: {_told_of_geometry(known)}"
    causes = [f"these are {unit}" for unit, factor in _OTHER_UNITS.items() if _agrees(factor, ratio)]
    if 1 < ratio < 100:
        causes.append(f"the slabs are {ratio * SLAB_THICKNESS_MPC_H:.3g} Mpc/h thick")
    if len(theta) == 1:
        causes.append("the label is that of another simulation")
    guess = f", or {' or '.join(causes)}" if causes else ""
    return (
        f"{files.maps_path}: {holds} ({numbers}): another unit or another box{guess}; give maps of {_WANTED} in {_UNIT}"
    )


def _told_of_geometry(known: Geometry) -> str:
    is_cut = known.box_size_mpc_h == BOX_SIZE_MPC_H
    remedy = "project the snapshots again without --slab-thickness-mpc-h" if is_cut else "project a smaller box"
    return f"they are {known}, as {RECORD_NAME} says; this version takes {_WANTED}, {remedy}"


def _agrees(one: float, other: float) -> bool:
    return abs(one / other - 1) <= MASS_TOLERANCE
