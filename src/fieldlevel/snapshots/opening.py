"""Opening a snapshot: its facts, the units of its code, where its particles are.

Where a snapshot states no units (GADGET-2, SIMBA), kpc/h or Mpc/h is inferred from its mass: in one of the two units
sum(m) = Omega_m rho_crit L^3 holds, in the other it fails by a factor of 1e9.
"""

import math
from dataclasses import replace
from pathlib import Path

from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.snapshots.extent import check_extent, sample_positions
from fieldlevel.snapshots.facts import (
    BOX_TOLERANCE,
    NOTHING,
    Given,
    fill,
    list_lacking,
    refuse_isolated,
    refuse_lacking,
    settle_box,
)
from fieldlevel.snapshots.hdf5_files import open_hdf5
from fieldlevel.snapshots.headers import PLACES, Header, read_header
from fieldlevel.snapshots.members import find_files
from fieldlevel.snapshots.parts import KINDS, Part, list_parts
from fieldlevel.snapshots.quantities import POSITION
from fieldlevel.snapshots.snapshot import Snapshot
from fieldlevel.snapshots.units import LENGTH_UNITS, MPC, CodeUnits, LengthUnit, Unit, read_units

MASS_TOLERANCE = 0.05
"""By which the mass of the particles may miss that of the box: stars and black holes radiate, boxes are rounded."""

_USUAL = Layout()
_MOST_TO_WEIGH = 2**36
"""Particles whose masses are read only to find the unit of length."""


def open_snapshot(
    path: Path | str,
    length_unit: LengthUnit | None = None,
    *,
    box_size_mpc_h: float | None = None,
    Omega_m: float | None = None,
    redshift: float | None = None,
    is_whole: bool = True,
    layout: Layout = _USUAL,
) -> Snapshot:
    """Open a snapshot: read its facts, count its particles, look at a few of them.

    Args:
        path: its file, any one of its files, or their folder.
        length_unit: of the code; needed only where the snapshot states none and its mass does not tell.
        box_size_mpc_h: side of the box, comoving; needed where the header does not say, as the following.
        Omega_m: matter density today.
        redshift: of the snapshot.
        is_whole: whether the particles fill the box, as those of a cut-out do not: they must then be all over it, and
            Omega_m must be known.
        layout: whose parameters the header may state.

    Returns:
        The snapshot; particles are read from disk when asked for.

    Raises:
        DataError: damaged or missing files, missing facts (with the attributes that were looked for, and how to give
            them), facts that contradict each other, no particles, datasets of the wrong length, positions that do not
            fit the box.
        UserError: the unit of length is unknown, or a given number cannot be.
    """
    given, name = Given(box_size_mpc_h, Omega_m, redshift, length_unit), Path(path)
    files = find_files(name)
    with open_hdf5(files[0]) as file:
        header = read_header(file, layout.names)
        refuse_isolated(file, header, given)
        stated = read_units(file, header.h)
    needs_h = length_unit is None and stated is not None and (stated.h_free or stated.length != stated.length)
    has_unit = stated is not None or length_unit is not None
    lacking = list_lacking(header, given, needs_Omega_m=is_whole, has_unit=has_unit, needs_h=needs_h)
    refuse_lacking(name, lacking)
    header = fill(name, header, given)
    parts = list_parts(name, files, header, is_whole=is_whole)
    snapshot = _in_known_units(name, files, header, parts, stated, given)
    check_extent(snapshot.path, sample_positions(snapshot), snapshot.box_size_mpc_h, is_whole=is_whole)
    return snapshot


def _in_known_units(
    path: Path,
    files: tuple[Path, ...],
    header: Header,
    parts: tuple[Part, ...],
    stated: CodeUnits | None,
    given: Given,
) -> Snapshot:
    units, length_unit = stated or CodeUnits(LENGTH_UNITS["kpc/h"]), given.length_unit
    if length_unit is None and stated is None:
        length_unit = _unit_of_box(header, given)
    if length_unit is None and stated is None:
        length_unit = infer_length_unit(_in_units(path, files, header, parts, units, NOTHING))
    if length_unit:
        units = replace(units, length=LENGTH_UNITS[length_unit], h_free=False)
    return _in_units(path, files, header, parts, units, given)


def _unit_of_box(header: Header, given: Given) -> LengthUnit | None:
    """Unit of length in which the box of the header is the box that is given; None if there is none."""
    if not header.box_size or given.box_size_mpc_h is None:
        return None
    ratios = {unit: header.box_size * cm / MPC / given.box_size_mpc_h for unit, cm in LENGTH_UNITS.items()}
    return next((unit for unit, ratio in ratios.items() if abs(ratio - 1) <= BOX_TOLERANCE), None)


def infer_length_unit(snapshot: Snapshot) -> LengthUnit:
    """Unit of length in which the particles hold the mass of the box.

    Args:
        snapshot: opened as if its unit were kpc/h.

    Returns:
        The unit in which sum(m) / (Omega_m rho_crit L^3) is within 5% of one.

    Raises:
        UserError: there is none.
    """
    told = (
        f"{snapshot.path}: unknown unit of length: no UnitLength_in_cm, UnitLength_In_CGS or Unit length in cgs (U_L) "
        f"in {', '.join('/' + place for place in PLACES)}, no to_cgs on Coordinates"
    )
    if (n := sum(snapshot.n_particles.values())) > _MOST_TO_WEIGH:
        raise UserError(f"{told}, and too many particles ({n}) to weigh; give --length-unit")
    in_kpc = snapshot.mass_ratio()
    ratios = {unit: in_kpc * (LENGTH_UNITS["kpc/h"] / cm) ** 3 for unit, cm in LENGTH_UNITS.items()}
    for unit, ratio in ratios.items():
        if abs(ratio - 1) < MASS_TOLERANCE:
            return unit
    found = ", ".join(f"{ratio:.3g} of it in {unit}" for unit, ratio in ratios.items())
    raise UserError(f"{told}, and the particles do not have the mass of Omega_m ({found}); give --length-unit")


def _in_units(
    path: Path, files: tuple[Path, ...], header: Header, parts: tuple[Part, ...], units: CodeUnits, given: Given
) -> Snapshot:
    redshift = header.redshift or 0.0
    side = units.unit(POSITION.dimension).in_units_of(Unit(MPC, 1, -1), 1 / (1 + redshift), header.h or 1.0)
    return Snapshot(
        path=path,
        files=files,
        box_size_mpc_h=settle_box(path, _scaled(header.box_size, side), given),
        redshift=redshift,
        Omega_m=header.Omega_m,
        Omega_lambda=header.Omega_lambda,
        h=header.h,
        n_particles={kind: sum(part.n for part in parts if part.kind == kind) for kind in KINDS},
        is_mock=header.is_mock,
        suite=header.suite,
        parameters=header.parameters,
        mass_table=header.mass_table,
        units=units,
        parts=parts,
    )


def _scaled(length: float | None, side: float) -> float | None:
    """A length in another unit, that of a length above zero above zero."""
    return max(length * side, math.nextafter(0.0, 1.0)) if length else length
