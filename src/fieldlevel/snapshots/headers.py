"""The facts in the headers of a snapshot.

Attributes stand in `/Header`, in `/Parameters` (GADGET-4), in `/Cosmology` (SWIFT) or in `/Units`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from fieldlevel.errors import DataError
from fieldlevel.layout import CAMELS_PARAMETERS
from fieldlevel.snapshots.hdf5_files import Member, find_member, find_text, holds_bytes, holds_numbers, is_text
from fieldlevel.suites import MOCK_MARK
from fieldlevel.wording import name_some

PLACES = ("Header", "Parameters", "Cosmology", "Units")
BOX_NAMES = ("BoxSize",)
OMEGA_M_NAMES = ("Omega0", "OmegaMatter", "Omega_Matter", "Omega_m")
REDSHIFT_NAMES = ("Redshift",)
TIME_NAMES = ("Scale-factor", "ExpansionFactor", "Time")
"""The expansion factor, in the last of them only where the run is cosmological, and never in SWIFT."""

HUBBLE_NAMES = ("HubbleParam", "h")
_ROUND_OFF = 1e-6
"""By which codes miss redshift zero."""

_PARAMETERS = tuple(parameter.name for parameter in CAMELS_PARAMETERS)
_SIGMA_8_NAMES = ("sigma_8", "Sigma8", "sigma8")
_SUITE_NAMES = ("Suite", "SimulationName")
_MOST_FILES = 10**6
_HIGHEST = {"Omega_m": 10.0, "redshift": 1e5, "h": 100.0}


@dataclass(frozen=True)
class Header:
    """Facts of a snapshot; None is what the header lacks.

    Attributes:
        box_size: side of the box in the code's unit of length; zero in some isolated runs.
        redshift: of the snapshot.
        Omega_m: matter density today.
        Omega_lambda: dark-energy density today.
        h: Hubble parameter.
        mass_table: mass of each particle of a type, in the code's unit; zero where masses are stored one by one.
        n_total: particles of each type in all files, one row for each way to read the header; empty if it does not say.
        is_mock: written by this package's simulator.
        suite: name of the simulations.
        parameters: those of the wanted ones that it states, by name.
    """

    box_size: float | None
    redshift: float | None
    Omega_m: float | None
    Omega_lambda: float | None
    h: float | None
    mass_table: tuple[float, ...]
    n_total: tuple[tuple[int, ...], ...]
    is_mock: bool
    suite: str | None
    parameters: Mapping[str, float]


def holds_origin(node: Member, text: str) -> bool:
    """Whether the attribute Origin has a text in it, also one that is stored apart."""
    origin = find_text(node, "Origin")
    if origin is not None:
        return text in origin
    is_stored_apart = "Origin" in node.attrs and is_text(node, "Origin")
    return is_stored_apart and holds_bytes(Path(node.file.filename), text.encode())


def read_numbers(node: Member, name: str, lowest: float = -np.inf) -> npt.NDArray[np.float64]:
    """Read an attribute that must hold numbers.

    Args:
        node: that has the attribute.
        name: of the attribute.
        lowest: number that is allowed.

    Returns:
        The numbers, (n,) with n > 0; a scalar is an array of one, as SWIFT writes it.

    Raises:
        DataError: it is text, empty or huge, or a number is not finite or too low.
    """
    attribute = node.attrs.get_id(name)
    told: object = "empty" if attribute.shape is None else f"of type {attribute.dtype} and shape {attribute.shape}"
    if holds_numbers(node, name):
        values = np.asarray(node.attrs[name]).reshape(-1)
        if values.size and np.isfinite(values).all() and values.min() >= lowest:
            return values.astype(np.float64)
        told = name_some(values.tolist()) if values.size > 6 else values.tolist()
    elif is_text(node, name):
        told = [str(node.attrs[name])[:80]]
    allowed = "finite numbers" if lowest == -np.inf else f"finite numbers from {lowest:g}"
    raise DataError([f"{node.file.filename}: {name} of {node.name} is {told}; mend it to {allowed}"])


def find_numbers(file: h5py.File, names: Sequence[str], lowest: float = -np.inf) -> npt.NDArray[np.float64] | None:
    """First attribute of one of these names in `PLACES`, as from `read_numbers`; None if there is none."""
    for place in PLACES:
        node = find_member(file, place)
        for name in names:
            if node is not None and name in node.attrs:
                return read_numbers(node, name, lowest)
    return None


def find_number(file: h5py.File, names: Sequence[str], lowest: float = -np.inf) -> float | None:
    """First of the numbers of `find_numbers`."""
    values = find_numbers(file, names, lowest)
    return None if values is None else float(values[0])


def read_counts(file: h5py.File) -> tuple[int, ...] | None:
    """Particles of each type in one file; None if no header counts them.

    Raises:
        DataError: the header counts those of all files, but not of this one.
    """
    numbers = find_numbers(file, ("NumPart_ThisFile",), lowest=0)
    if numbers is None and find_numbers(file, ("NumPart_Total",)) is not None:
        told = "does not say the number of particles: no attribute NumPart_ThisFile"
        raise DataError([f"{file.filename}: {told}; add it"])
    return None if numbers is None else tuple(whole(file, "NumPart_ThisFile", number) for number in numbers)


def whole(file: h5py.File, name: str, number: float) -> int:
    """A number of things that a header states.

    Raises:
        DataError: it is a fraction, or larger than any.
    """
    if number != int(number) or number > (_MOST_FILES if name == "NumFilesPerSnapshot" else 2**62):
        raise DataError([f"{file.filename}: {name} is {number:g}; mend it to a number of things"])
    return int(number)


def read_header(file: h5py.File, names: Sequence[str] = _PARAMETERS) -> Header:
    """Read the facts of a snapshot.

    Args:
        file: one of its files.
        names: of parameters that it may state.

    Raises:
        DataError: no header, a fact is impossible, or the box is no cube.
    """
    header = find_member(file, "Header")
    if not isinstance(header, h5py.Group):
        raise DataError([f"{file.filename}: no group /Header; is this a snapshot? It holds {name_some(sorted(file))}"])
    table = find_numbers(file, ("MassTable",), lowest=0)
    Omega_m = _positive(file, "Omega_m", OMEGA_M_NAMES)
    suites = (find_text(header, name) for name in _SUITE_NAMES)
    return Header(
        box_size=_box_size(file),
        redshift=_redshift(file),
        Omega_m=Omega_m,
        Omega_lambda=find_number(file, ("OmegaLambda", "Omega_Lambda", "Omega_lambda")),
        h=_positive(file, "h", HUBBLE_NAMES),
        mass_table=() if table is None else tuple(table.tolist()),
        n_total=_totals(file),
        is_mock=holds_origin(header, MOCK_MARK),
        suite=next((name for name in suites if name), None),
        parameters=_parameters(file, names) | ({} if Omega_m is None else {"Omega_m": Omega_m}),
    )


def _positive(file: h5py.File, fact: str, names: Sequence[str]) -> float | None:
    value = find_number(file, names)
    if value is not None and not 0 < value <= _HIGHEST[fact]:
        raise DataError([f"{file.filename}: {fact} is {value:g} ({' or '.join(names)}); give a cosmological snapshot"])
    return value


def _redshift(file: h5py.File) -> float | None:
    """Redshift that is stated, or that of the expansion factor; None if there is neither."""
    redshift = find_number(file, REDSHIFT_NAMES, lowest=-_ROUND_OFF)
    if redshift is None and (time := find_expansion_factor(file)) is not None and 0 < time <= 1 + _ROUND_OFF:
        redshift = 1 / time - 1
    if redshift is not None and redshift > _HIGHEST["redshift"]:
        raise DataError([f"{file.filename}: the redshift is {redshift:g}; give a snapshot of matter"])
    return redshift


def find_expansion_factor(file: h5py.File) -> float | None:
    """What stands for the expansion factor; None if nothing does, as in SWIFT where only the time is stated."""
    names = TIME_NAMES[:-1] if isinstance(find_member(file, "Cosmology"), h5py.Group) else TIME_NAMES
    return find_number(file, names)


def _box_size(file: h5py.File) -> float | None:
    sides = find_numbers(file, BOX_NAMES, lowest=0)
    if sides is not None and not np.all(sides == sides[0]):
        raise DataError([f"{file.filename}: BoxSize is {name_some(sides.tolist())}; only cubes can be projected"])
    return None if sides is None else float(sides[0])


def _totals(file: h5py.File) -> tuple[tuple[int, ...], ...]:
    """What the numbers of particles may be: 64-bit numbers as they are, 32-bit ones with their high words.

    Some write 32-bit words as 64-bit numbers: then both readings are possible.
    """
    places = (find_member(file, place) for place in PLACES)
    node = next((place for place in places if place is not None and "NumPart_Total" in place.attrs), None)
    if node is None:
        return ()
    low, high = read_numbers(node, "NumPart_Total"), find_numbers(file, ("NumPart_Total_HighWord",))
    words = list(zip_longest(low, () if high is None else high, fillvalue=0))
    combined = tuple((int(b) << 32) + (int(a) & 0xFFFFFFFF) for a, b in words)
    is_wide = node.attrs.get_id("NumPart_Total").dtype.itemsize > 4
    if not is_wide:
        return (combined,)
    exact = tuple(int(a) for a in low)
    return (exact,) if max(exact) >= 2**32 else tuple(dict.fromkeys((exact, combined)))


def _parameters(file: h5py.File, names: Sequence[str]) -> dict[str, float]:
    spellings = {"sigma_8": _SIGMA_8_NAMES}
    found = {name: find_number(file, spellings.get(name, (name,))) for name in names}
    return {name: value for name, value in found.items() if value is not None}
