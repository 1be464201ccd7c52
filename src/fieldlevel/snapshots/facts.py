"""The facts of a snapshot: those of its header, what the user gives where it lacks one, and what must not be guessed.

The expansion factor gives the redshift. Nothing is asked for that nobody uses. What a user gives fills a gap; where it
contradicts the header, one of the two is wrong, and the snapshot is refused with both numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import h5py

from fieldlevel.errors import DataError
from fieldlevel.snapshots.hdf5_files import find_member, find_text
from fieldlevel.snapshots.headers import (
    BOX_NAMES,
    HUBBLE_NAMES,
    OMEGA_M_NAMES,
    PLACES,
    REDSHIFT_NAMES,
    Header,
    find_expansion_factor,
    find_number,
    read_numbers,
)
from fieldlevel.snapshots.units import LengthUnit
from fieldlevel.spec_io import refuse_values
from fieldlevel.wording import joined

BOX_TOLERANCE = 1e-3
"""Relative."""
OMEGA_M_TOLERANCE = 1e-3
REDSHIFT_TOLERANCE = 5e-3
"""Names of files have two decimals."""
SMALLEST_BOX_MPC_H, LARGEST_BOX_MPC_H = 1e-6, 1e5
_TIME_TOLERANCE = 1e-2

_NAMES_OF_FACTS: Mapping[str, tuple[str, str, str]] = {
    "box": ("the size of the box", " or ".join(BOX_NAMES), "--box-size-mpc-h"),
    "Omega_m": ("Omega_m", " or ".join(OMEGA_M_NAMES), "--omega-m"),
    "redshift": ("the redshift", f"{' or '.join(REDSHIFT_NAMES)} or Time", "--redshift"),
    "unit": ("the unit of length", "UnitLength_in_cm", "--length-unit"),
    "h": ("the Hubble parameter", " or ".join(HUBBLE_NAMES), "HubbleParam in /Header, for which there is no option"),
}
"""In words, attributes, and how to give them."""


@dataclass(frozen=True)
class Given:
    """Facts that the user gives; None where the header has to say.

    Attributes:
        box_size_mpc_h: side of the box, comoving.
        Omega_m: matter density today.
        redshift: of the snapshot.
        length_unit: of the code; stands above what the snapshot states.

    Raises:
        UserError: a number that cannot be.
    """

    box_size_mpc_h: float | None = None
    Omega_m: float | None = None
    redshift: float | None = None
    length_unit: LengthUnit | None = None

    def __post_init__(self) -> None:
        box, Omega_m, redshift = self.box_size_mpc_h, self.Omega_m, self.redshift
        allowed = {
            "box_size_mpc_h": (
                box is None or SMALLEST_BOX_MPC_H <= box <= LARGEST_BOX_MPC_H,
                f"numbers above 0, to {LARGEST_BOX_MPC_H:g}",
            ),
            "Omega_m": (Omega_m is None or 0 < Omega_m <= 2, "numbers above 0, to 2"),
            "redshift": (redshift is None or 0 <= redshift <= 1000, "0 to 1000"),
            "length_unit": (self.length_unit in (None, "kpc/h", "Mpc/h"), "kpc/h and Mpc/h"),
        }
        refuse_values(self, allowed)


NOTHING = Given()


def refuse_isolated(file: h5py.File, header: Header, given: Given) -> None:
    """Refuse runs without a cosmology: their numbers mean something else.

    Raises:
        DataError: with what tells.
    """
    told = _sign_of_isolation(file, header, given)
    if told is not None:
        remedy = "give a snapshot of a periodic box in an expanding universe"
        raise DataError([f"{file.filename}: an isolated run, not a cosmological one: {told}; {remedy}"])


def _sign_of_isolation(file: h5py.File, header: Header, given: Given) -> str | None:
    for place, name in _SWITCHES:
        if _is_off(file, place, name):
            return f"{name} of /{place} is 0"
    config = find_member(file, "Config")
    if config is not None and "GRAVITY_NOT_PERIODIC" in config.attrs:
        return "GRAVITY_NOT_PERIODIC in /Config"
    if header.box_size == 0 and given.box_size_mpc_h is None:
        return "the size of the box is 0 (BoxSize)"
    time, stated = find_expansion_factor(file), find_number(file, REDSHIFT_NAMES)
    if time is None or given.redshift is not None or (stated is None and 0 < time <= 1 + _TIME_TOLERANCE):
        return None
    if stated is None:
        return f"Time is {time:g}, which is no expansion factor"
    has_expanded = abs(time * (1 + stated) - 1) > _TIME_TOLERANCE
    return f"Time is {time:g}, and not the expansion factor at redshift {stated:g}" if has_expanded else None


_SWITCHES = (
    ("Parameters", "ComovingIntegrationOn"),
    ("Header", "ComovingIntegrationOn"),
    ("Cosmology", "Cosmological run"),
    ("Parameters", "PeriodicBoundariesOn"),
    ("Parameters", "InitialConditions:periodic"),
)
"""Of GADGET, AREPO and GIZMO; SWIFT; GADGET-2; SWIFT, which writes its parameters as text."""


def _is_off(file: h5py.File, place: str, name: str) -> bool:
    node = find_member(file, place)
    if node is None or name not in node.attrs:
        return False
    text = find_text(node, name)
    return read_numbers(node, name)[0] == 0 if text is None else text.strip() in ("0", "no", "false")


def list_lacking(header: Header, given: Given, *, needs_Omega_m: bool, has_unit: bool, needs_h: bool) -> list[str]:
    """Facts that are used and that neither the header nor the user tells, as `refuse_lacking` takes them.

    Args:
        header: of the first file.
        given: by the user.
        needs_Omega_m: whether the mass of the particles will be judged.
        has_unit: whether the unit of length is known.
        needs_h: whether some unit carries h.
    """
    has_box = bool(header.box_size) or given.box_size_mpc_h is not None
    has_Omega_m = header.Omega_m is not None or given.Omega_m is not None
    has_way_to_unit = bool(header.box_size) and (has_Omega_m or given.box_size_mpc_h is not None)
    lacking = {
        "box": not has_box,
        "Omega_m": needs_Omega_m and not has_Omega_m,
        "redshift": header.redshift is None and given.redshift is None,
        "unit": not has_unit and not has_way_to_unit,
        "h": needs_h and header.h is None,
    }
    return [name for name, is_lacking in lacking.items() if is_lacking]


def refuse_lacking(path: Path, lacking: list[str]) -> None:
    """Tell all missing facts at once.

    Raises:
        DataError: there are some, with the attributes that were looked for and the options that give them.
    """
    if not lacking:
        return
    facts, names, options = zip(*(_NAMES_OF_FACTS[name] for name in lacking), strict=True)
    places = ", ".join(f"/{place}" for place in PLACES)
    told = f"does not say {joined(facts)}: no attribute {'; '.join(names)} in {places}"
    raise DataError([f"{path}: {told}; give {joined(options)}"])


def fill(path: Path, header: Header, given: Given) -> Header:
    """Fill the redshift and Omega_m of a header with what the user gives.

    Args:
        path: of the snapshot, for errors.
        header: of the first file.
        given: by the user.

    Raises:
        DataError: the two contradict each other.
    """
    _compare(path, "--redshift", header.redshift, given.redshift, REDSHIFT_TOLERANCE)
    _compare(path, "--omega-m", header.Omega_m, given.Omega_m, OMEGA_M_TOLERANCE)
    Omega_m = given.Omega_m if header.Omega_m is None else header.Omega_m
    return replace(
        header,
        redshift=given.redshift if header.redshift is None else header.redshift,
        Omega_m=Omega_m,
        parameters=header.parameters if Omega_m is None else {**header.parameters, "Omega_m": Omega_m},
    )


def settle_box(path: Path, stated_mpc_h: float | None, given: Given) -> float:
    """Side of the box in Mpc/h.

    Args:
        path: of the snapshot, for errors.
        stated_mpc_h: what the header says in the unit of length that was found; None or zero if it does not say.
        given: by the user.

    Raises:
        DataError: the two contradict each other, or no box is as large.
    """
    if not stated_mpc_h:
        return math.nan if given.box_size_mpc_h is None else float(given.box_size_mpc_h)
    tolerance = BOX_TOLERANCE * stated_mpc_h
    _compare(path, "--box-size-mpc-h", stated_mpc_h, given.box_size_mpc_h, tolerance, " Mpc/h")
    if not SMALLEST_BOX_MPC_H <= stated_mpc_h <= LARGEST_BOX_MPC_H:
        raise DataError([f"{path}: BoxSize is {stated_mpc_h:.4g} Mpc/h; mend it, or give --length-unit"])
    return stated_mpc_h


def _compare(
    path: Path, option: str, stated: float | None, given: float | None, tolerance: float, unit: str = ""
) -> None:
    if stated is not None and given is not None and not abs(stated - given) <= tolerance:
        told = f"{option} says {given:g}{unit}, but the header says {stated:g}{unit}"
        raise DataError([f"{path}: {told}; leave the option out, or mend the one that is wrong"])
