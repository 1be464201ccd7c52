r"""Units of snapshots: what a stored number is worth.

Every simulation code states a number \(x\) in units that may carry the expansion factor \(a\) and the Hubble parameter
\(h\): its physical value in cgs is \(x\,u\,a^\alpha h^\eta\). GADGET, AREPO and GIZMO take \(\eta\) from the dimension,
comoving lengths and masses being divided by \(h\); SWIFT has no \(h\) at all. Datasets may state \(\alpha\) and
\(\eta\) themselves, under names that differ from code to code.

References:
    Springel 2005, arXiv:astro-ph/0505010 (GADGET-2); Springel et al. 2021, arXiv:2010.03567 (GADGET-4);
    Nelson et al. 2019, arXiv:1812.05609 (IllustrisTNG data release); Hopkins 2015, arXiv:1409.7395 (GIZMO);
    Schaller et al. 2024, arXiv:2305.13380 (SWIFT).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import h5py

from fieldlevel.errors import DataError
from fieldlevel.snapshots.hdf5_files import find_member
from fieldlevel.snapshots.headers import find_number, read_numbers
from fieldlevel.snapshots.parts import find_dataset

LengthUnit = Literal["kpc/h", "Mpc/h"]

KPC, MPC = 3.085678e21, 3.085678e24
"""In cm, as GADGET has them."""
MSUN = 1.989e33
"""In g, as GADGET has it."""
KM_S = 1e5
"""In cm/s."""
LENGTH_UNITS: dict[LengthUnit, float] = {"kpc/h": KPC, "Mpc/h": MPC}

_SAME = 2e-3
"""Relative difference below which two values mean the same unit: codes round them, and differ about the Sun's mass."""
_HIGHEST_POWER = 10
_POSSIBLE = {"length": (1e-3, 1e32), "mass": (1e-3, 1e60), "velocity": (1e-3, 1e15)}
"""In cgs, with room on both sides."""

_STATED = (
    ("a_scaling", "h_scaling", "to_cgs"),
    ("a-scale exponent", "h-scale exponent", "Conversion factor to CGS (not including cosmological corrections)"),
    ("aexp-scale-exponent", "h-scale-exponent", "CGSConversionFactor"),
)
"""Attributes of a dataset in GADGET-4 and AREPO, in SWIFT, in EAGLE."""


@dataclass(frozen=True)
class Unit:
    """A number x in this unit is x * cgs * scale_factor**a * hubble**h in physical cgs units."""

    cgs: float
    a: float = 0.0
    h: float = 0.0

    def in_units_of(self, other: "Unit", scale_factor: float, hubble: float) -> float:
        """Value of this unit in another.

        Example:
            >>> Unit(KPC, 1, -1).in_units_of(Unit(MPC, 1, -1), scale_factor=0.5, hubble=0.7)
            0.001
        """
        return self.cgs / other.cgs * math.pow(scale_factor, self.a - other.a) * math.pow(hubble, self.h - other.h)


@dataclass(frozen=True)
class Dimension:
    """Powers of the code's units of length, mass and velocity in a stored quantity.

    Attributes:
        length: power.
        mass: power.
        velocity: power.
        a: power of the expansion factor in GADGET, AREPO and GIZMO.
        a_swift: the same in SWIFT.
    """

    length: float = 0.0
    mass: float = 0.0
    velocity: float = 0.0
    a: float = 0.0
    a_swift: float = 0.0


DIMENSIONLESS = Dimension()


@dataclass(frozen=True)
class CodeUnits:
    """The units of one snapshot.

    Attributes:
        length: in cm.
        mass: in g.
        velocity: in cm/s.
        h_free: whether no unit carries h, as in SWIFT.
    """

    length: float
    mass: float = 1e10 * MSUN
    velocity: float = KM_S
    h_free: bool = False

    def unit(self, dimension: Dimension) -> Unit:
        """Unit of a quantity that states nothing itself."""
        if self.h_free:
            return Unit(self._cgs(dimension), dimension.a_swift)
        return Unit(self._cgs(dimension), dimension.a, -dimension.length - dimension.mass)

    def unit_of(self, dataset: h5py.Dataset, dimension: Dimension) -> Unit:
        """Unit of a dataset: with the powers of a and h that it states, or those of its code."""
        stated = stated_unit(dataset)
        return Unit(self._cgs(dimension), stated.a, stated.h) if stated else self.unit(dimension)

    def _cgs(self, dimension: Dimension) -> float:
        powers = ((self.length, dimension.length), (self.mass, dimension.mass), (self.velocity, dimension.velocity))
        return math.prod(math.pow(unit, power) for unit, power in powers)


def stated_unit(dataset: h5py.Dataset) -> Unit | None:
    """Unit in the attributes of a dataset; None where it states none (AREPO writes zeros there)."""
    for a, h, cgs in _STATED:
        if a in dataset.attrs and h in dataset.attrs:
            factor = float(read_numbers(dataset, cgs)[0]) if cgs in dataset.attrs else 1.0
            powers = [float(read_numbers(dataset, name)[0]) for name in (a, h)]
            if max(map(abs, powers)) > _HIGHEST_POWER:
                told = f"{a} and {h} of {dataset.name} are {powers[0]:g} and {powers[1]:g}"
                raise DataError([f"{dataset.file.filename}: {told}; mend them to the powers of its unit"])
            return Unit(factor, *powers) if factor > 0 else None
    return None


def read_units(file: h5py.File, hubble: float | None) -> CodeUnits | None:
    """Units that a snapshot states.

    Looked for are, in this order: `Unit length in cgs (U_L)` (SWIFT); `UnitLength_in_cm` (GADGET-4, AREPO, EAGLE);
    `UnitLength_In_CGS` (GIZMO, divided by h); the attributes of the datasets.

    Args:
        file: opened snapshot.
        hubble: h; without it the units of GIZMO are not numbers.

    Returns:
        The units, or None if there is none of these.

    Raises:
        DataError: a unit that no code can have.
    """
    found = _find_units(file, math.nan if hubble is None else hubble)
    for name, (lowest, highest) in _POSSIBLE.items() if found else ():
        value = getattr(found, name)
        if not (lowest <= value <= highest or math.isnan(value)):
            told = f"the unit of {name} is {value:g} in cgs units"
            raise DataError([f"{file.filename}: {told}; mend it, or give --length-unit"])
    return found


def _find_units(file: h5py.File, hubble: float) -> CodeUnits | None:
    coordinates, masses, velocities = (
        _stated_by(file, names) for names in (("Coordinates",), ("Masses", "Mass"), ("Velocities",))
    )
    h_free = coordinates is not None and coordinates.h == 0
    if length := find_number(file, ("Unit length in cgs (U_L)",)):
        time = find_number(file, ("Unit time in cgs (U_t)",)) or length / KM_S
        mass = find_number(file, ("Unit mass in cgs (U_M)",)) or 1e10 * MSUN
        return _round(length, mass, length / time, h_free=True)
    if length := find_number(file, ("UnitLength_in_cm",)):
        mass = find_number(file, ("UnitMass_in_g",)) or 1e10 * MSUN
        return _round(length, mass, find_number(file, ("UnitVelocity_in_cm_per_s",)) or KM_S, h_free=h_free)
    if length := find_number(file, ("UnitLength_In_CGS",)):
        mass = find_number(file, ("UnitMass_In_CGS",)) or 1e10 * MSUN / hubble
        return _round(length * hubble, mass * hubble, find_number(file, ("UnitVelocity_In_CGS",)) or KM_S, h_free=False)
    if coordinates is None or coordinates.cgs == 1.0:
        return None
    mass, velocity = masses.cgs if masses else 1e10 * MSUN, velocities.cgs if velocities else KM_S
    return _round(coordinates.cgs, mass, velocity, h_free=h_free)


def _stated_by(file: h5py.File, names: Sequence[str]) -> Unit | None:
    groups = [find_member(file, name) for name in sorted(file) if name.startswith("PartType")]
    datasets = [dataset for group in groups if (dataset := find_dataset(group, names)) is not None]
    return next((unit for dataset in datasets if (unit := stated_unit(dataset))), None)


def _round(length: float, mass: float, velocity: float, *, h_free: bool) -> CodeUnits:
    """Give kpc, Mpc, 1e10 Msun and km/s the same value in every code, whatever digits it has for them."""
    return CodeUnits(
        _nearest(length, (KPC, MPC)),
        _nearest(mass, (MSUN, 1e10 * MSUN)),
        _nearest(velocity, (KM_S,)),
        h_free,
    )


def _nearest(value: float, candidates: Sequence[float]) -> float:
    return next((known for known in candidates if abs(value / known - 1) < _SAME), value)
