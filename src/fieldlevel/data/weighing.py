r"""Do the maps hold the mass that their labels say, in the unit and the geometry of their layout?

Mass conservation tells: slabs that fill the box along an axis, each of thickness \(\ell\), hold all its mass, so the
mean pixel of the total-mass maps of simulation \(i\) is

.. math:: \langle\Sigma\rangle_i = \rho_{\rm crit}\,\ell\,\Omega_{{\rm m},i},\qquad
          \rho_{\rm crit} = 2.775\times 10^{11}\,h^2 M_\odot\,{\rm Mpc}^{-3} .

References:
    Villaescusa-Navarro et al. 2022, arXiv:2109.10915 (CMD).
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.parameter_tables import Float64Array
from fieldlevel.data.pixels import PixelSurvey
from fieldlevel.layout import SURFACE_DENSITY, Layout
from fieldlevel.suites import HUBBLE
from fieldlevel.wording import name_some

MASS_TOLERANCE = 0.02
"""Relative; a row of a shuffled latin hypercube agrees this well by chance in about 3% of the simulations."""

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
_LARGEST_OF_PARTS = 2.0
"""Of the mass in slabs that do not fill the box to that of as many average ones, of the median of all simulations."""
_USUAL_OMEGA_M = 0.3


def is_weighed(files: SuiteFiles, layout: Layout) -> bool:
    """Whether the maps must hold the mass of their Omega_m: surface densities of all matter in slabs that fill the box.

    Args:
        files: the suite.
        layout: of its maps.
    """
    return _has_mass(files, layout) and layout.fills_box


def _has_mass(files: SuiteFiles, layout: Layout) -> bool:
    return files.field == "Mtot" and layout.is_surface_density("Mtot") and layout.has("Omega_m")


def expected_mean(theta: Float64Array | None, layout: Layout) -> float:
    """Mean pixel of total-mass maps of some labels, or of the fiducial ones [(Msun/h) / (Mpc/h)^2]."""
    fiducial = layout.parameters[layout.column("Omega_m")].fiducial if layout.has("Omega_m") else None
    if theta is None or fiducial is None:
        return layout.mean_density(fiducial or _USUAL_OMEGA_M)
    return layout.mean_density(float(theta[:, layout.column("Omega_m")].mean()))


def unit_defect(files: SuiteFiles, theta: Float64Array | None, survey: PixelSurvey, layout: Layout) -> str | None:
    """Say what maps are that hold no surface densities: logarithms, overdensities, normalised maps.

    Args:
        files: a suite; only surface densities are judged.
        theta: parameters, shape (n_simulations, P), if they can be used.
        survey: of the map file.
        layout: of the maps.

    Returns:
        One line, with the mean pixel and the one that it ought to be.
    """
    is_whole = np.isfinite(survey.mean)
    if not layout.is_surface_density(files.field) or not is_whole.any():
        return None
    expected = expected_mean(theta, layout)
    average = float(survey.mean[is_whole].mean())
    what = _what_they_are(float(np.nanmin(survey.minimum)), float(np.nanmax(survey.maximum)), average, expected)
    if what is None:
        return None
    whose = "these labels make it" if files.field == "Mtot" else "total mass makes it"
    return (
        f"{files.maps_path}: the mean pixel is {average:.3g}, where {whose} {expected:.3g} {SURFACE_DENSITY}: {what}; "
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


class MassDefects(NamedTuple):
    """Lines on maps of another unit or geometry, and lines on labels of other maps."""

    of_maps: list[str]
    of_labels: list[str]


def mass_defects(files: SuiteFiles, theta: Float64Array, mean: Float64Array, layout: Layout) -> MassDefects:
    """Compare the mass in the maps of each simulation with the Omega_m of its row.

    Slabs that do not fill the box hold what happens to be in them: there only another unit or thickness shows.

    Args:
        files: a suite of total-mass maps; other fields do not conserve mass and are passed over.
        theta: parameters, shape (n_simulations, P).
        mean: mean pixel of each map [(Msun/h) / (Mpc/h)^2], shape (n_maps n_simulations,).
        layout: of the maps.

    Returns:
        One line at most of each: another unit or geometry; labels of another suite, or the simulations whose labels
        are wrong.
    """
    if not _has_mass(files, layout):
        return MassDefects([], [])
    Omega_m = theta[:, layout.column("Omega_m")]
    with np.errstate(invalid="ignore", divide="ignore"):
        weighed = mean.reshape(-1, layout.n_maps).mean(1) / layout.mean_density(1.0)
        ratio = weighed / Omega_m
        is_known = np.isfinite(ratio) & (ratio > 0) & (Omega_m > 0) & (Omega_m <= 1)
        wrong = np.flatnonzero(is_known & (np.abs(weighed - Omega_m) > MASS_TOLERANCE * Omega_m))
    if not wrong.size:
        return MassDefects([], [])
    usual = float(np.median(ratio[is_known]))
    if not layout.fills_box:
        is_near = 1 / _LARGEST_OF_PARTS < usual < _LARGEST_OF_PARTS
        return MassDefects([] if is_near else [_told_of_ratio(files, theta[is_known], usual, layout)], [])
    if np.ptp(ratio[is_known]) <= MASS_TOLERANCE * usual or not 1 / _LARGEST_RATIO < usual < _LARGEST_RATIO:
        return MassDefects([_told_of_ratio(files, theta[is_known], usual, layout)], [])
    if np.ptp(weighed[is_known]) <= _ROUND_OFF * weighed[is_known].max():
        told = "all simulations hold the same mass, whatever their Omega_m: these are maps over their mean, or copies"
        return MassDefects([f"{files.maps_path}: {told}; give the maps themselves"], [])
    is_odd = is_known & ((ratio * _LARGEST_RATIO < usual) | (ratio > _LARGEST_RATIO * usual))
    odd, others = np.flatnonzero(is_odd), wrong[~is_odd[wrong]]
    found = MassDefects([], [])
    if odd.size:
        told = f"another unit than the others in the maps of simulations {_listed(odd, Omega_m, weighed)}"
        found.of_maps.append(f"{files.maps_path}: {told}; make these again")
    if others.size:
        told = f"Omega_m does not agree with the mass in the maps of simulations {_listed(others, Omega_m, weighed)}"
        found.of_labels.append(_told_of_labels(files, told, is_most=2 * others.size > len(Omega_m)))
    return found


def _listed(simulations: npt.NDArray[np.intp], Omega_m: Float64Array, weighed: Float64Array) -> str:
    return name_some([f"{i} (row {Omega_m[i]:.4g}, maps {weighed[i]:.4g})" for i in simulations])


def _told_of_labels(files: SuiteFiles, where: str, *, is_most: bool) -> str:
    if not is_most:
        return f"{files.parameters_path}: {where}; mend these rows or make these maps again"
    return (
        f"{files.parameters_path}: labels of another suite or shuffled rows: {where}; "
        f"give the labels that belong to {files.maps_path.name}"
    )


def _told_of_ratio(files: SuiteFiles, theta: Float64Array, ratio: float, layout: Layout) -> str:
    expected, thickness = expected_mean(theta, layout), layout.slab_thickness_mpc_h
    holds = f"every map holds {ratio:.3g} times the mass of a slab of {thickness:g} Mpc/h"
    numbers = f"mean pixel {ratio * expected:.3g}, {expected:.3g} by Omega_m of the labels"
    causes = [f"these are {unit}" for unit, factor in _OTHER_UNITS.items() if _agrees(factor, ratio)]
    if 1 < ratio < 100:
        causes.append(f"the slabs are {ratio * thickness:.3g} Mpc/h thick")
    if len(theta) == 1:
        causes.append("the label is that of another simulation")
    guess = f", or {' or '.join(causes)}" if causes else ""
    wanted = f"{layout.n_slabs} slabs of a box of {layout.box_size_mpc_h:g} Mpc/h in {SURFACE_DENSITY}"
    return (
        f"{files.maps_path}: {holds} ({numbers}): another unit or another box{guess}; give maps of {wanted}, or say "
        f"what they are in {files.layout_path.name}"
    )


def _agrees(one: float, other: float) -> bool:
    return abs(one / other - 1) <= MASS_TOLERANCE
