"""Files of a snapshot and the facts in their headers.

A snapshot is one HDF5 file, or N files `<base>.0.hdf5` to `<base>.<N-1>.hdf5`. Attributes stand in `/Header`, in
`/Parameters` (GADGET-4), in `/Cosmology` (SWIFT) or in `/Units`.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fieldlevel.errors import DataError
from fieldlevel.maps.wording import name_some
from fieldlevel.parameters import MOCK_MARK

PLACES = ("Header", "Parameters", "Cosmology", "Units")

_NUMBERED = re.compile(r"(?P<base>.+)\.(?P<number>\d+)\.(?P<ending>hdf5|h5)")
_ENDINGS = (".hdf5", ".h5")


@dataclass(frozen=True)
class Header:
    """Facts of a snapshot.

    Attributes:
        box_size: side of the box in the code's unit of length.
        redshift: of the snapshot.
        Omega_m: matter density today.
        Omega_lambda: dark-energy density today.
        h: Hubble parameter.
        mass_table: mass of each particle of a type, in the code's unit; zero where masses are stored one by one.
        n_total: particles of each type in all files; empty if the header does not say.
        is_mock: written by this package's simulator.
    """

    box_size: float
    redshift: float
    Omega_m: float
    Omega_lambda: float
    h: float
    mass_table: tuple[float, ...]
    n_total: tuple[int, ...]
    is_mock: bool


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises:
        DataError: missing, not HDF5, cut short, or damaged where it is read.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise DataError([f"{path}: no such file; name a snapshot, one of its files or their folder"]) from None
    except (OSError, RuntimeError, KeyError) as error:  # h5py has no fewer for damaged files
        reason = " ".join(str(error).split())
        remedy = "it is damaged, of another format, or needs a filter: give an HDF5 snapshot"
        raise DataError([f"{path}: cannot be read as HDF5 ({reason}); {remedy}"]) from error


def find_files(path: Path) -> tuple[Path, ...]:
    """Find all files of a snapshot.

    Args:
        path: its file, any one of its files, its folder, or its name without the ending.

    Returns:
        The files in the order of their numbers.

    Raises:
        DataError: no such snapshot, several in one folder, or some of its files are missing.
    """
    one = _any_file(path)
    with open_hdf5(one) as file:
        n_files = int(find_number(file, ("NumFilesPerSnapshot",)) or 1)
    if n_files == 1:
        return (one,)
    match = _NUMBERED.fullmatch(one.name)
    if not match:
        raise DataError([f"{one}: one of {n_files} files, but without a number in its name; call it <name>.0.hdf5"])
    files = tuple(one.with_name(f"{match['base']}.{number}.{match['ending']}") for number in range(n_files))
    if missing := [file.name for file in files if not file.is_file()]:
        raise DataError([f"{one.parent}: {len(missing)} of {n_files} files are missing: {name_some(missing)}"])
    return files


def _any_file(path: Path) -> Path:
    if path.is_dir():
        return _only_snapshot(path)
    stem = path.with_suffix("") if path.suffix in _ENDINGS else path
    guesses = [path, *(stem.with_name(stem.name + number + end) for end in _ENDINGS for number in ("", ".0"))]
    return next((guess for guess in guesses if guess.is_file()), path)


def _only_snapshot(folder: Path) -> Path:
    by_name: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix in _ENDINGS:
            match = _NUMBERED.fullmatch(file.name)
            by_name.setdefault(match["base"] if match else file.stem, file)
    names = [name for name in by_name if name.startswith("snap")] or list(by_name)
    if not names:
        raise DataError([f"{folder}: no .hdf5 files in this folder; name a snapshot"])
    if len(names) > 1:
        raise DataError([f"{folder}: {len(names)} snapshots in this folder ({name_some(names)}); name a file"])
    return by_name[names[0]]


def find_attribute(file: h5py.File, names: Sequence[str]) -> Any:
    """First attribute of one of these names in `PLACES`; None if there is none."""
    for place in PLACES:
        for name in names:
            if place in file and name in file[place].attrs:
                return file[place].attrs[name]
    return None


def find_number(file: h5py.File, names: Sequence[str]) -> float | None:
    """First attribute of one of these names as a number; SWIFT writes arrays of one."""
    value = find_attribute(file, names)
    return None if value is None else float(np.asarray(value).reshape(-1)[0])


def read_counts(file: h5py.File) -> tuple[int, ...]:
    """Particles of each type in one file.

    Raises:
        DataError: the header does not say.
    """
    return tuple(int(number) for number in _require(file, "the number of particles", ("NumPart_ThisFile",)))


def read_header(file: h5py.File) -> Header:
    """Read the facts of a snapshot.

    Raises:
        DataError: no header, a fact is missing or impossible, or the box is no cube.
    """
    if "Header" not in file:
        raise DataError([f"{file.filename}: no group /Header; is this a snapshot? It holds {name_some(sorted(file))}"])
    table = find_attribute(file, ("MassTable",))
    return Header(
        box_size=_box_size(file),
        redshift=float(_require(file, "the redshift", ("Redshift",))[0]),
        Omega_m=_positive(file, "Omega_m", ("Omega0", "OmegaMatter", "Omega_Matter", "Omega_m")),
        Omega_lambda=float(_require(file, "Omega_lambda", ("OmegaLambda", "Omega_Lambda", "Omega_lambda"))[0]),
        h=_positive(file, "the Hubble parameter", ("HubbleParam", "h")),
        mass_table=() if table is None else tuple(float(mass) for mass in table),
        n_total=_totals(file),
        is_mock=MOCK_MARK in str(file["Header"].attrs.get("Origin", "")),
    )


def _require(file: h5py.File, fact: str, names: Sequence[str]) -> Any:
    value = find_attribute(file, names)
    if value is None:
        looked = " or ".join(names)
        places = ", ".join(f"/{place}" for place in PLACES)
        raise DataError([f"{file.filename}: does not say {fact}: no attribute {looked} in {places}; add it"])
    return np.asarray(value).reshape(-1)


def _positive(file: h5py.File, fact: str, names: Sequence[str]) -> float:
    value = float(_require(file, fact, names)[0])
    if not 0 < value < float("inf"):
        raise DataError([f"{file.filename}: {fact} is {value:g} ({' or '.join(names)}); give a cosmological snapshot"])
    return value


def _box_size(file: h5py.File) -> float:
    sides = _require(file, "the size of the box", ("BoxSize",))
    if not np.all(sides == sides[0]):
        raise DataError([f"{file.filename}: BoxSize is {sides.tolist()}; only cubes can be projected"])
    return _positive(file, "the size of the box", ("BoxSize",))


def _totals(file: h5py.File) -> tuple[int, ...]:
    low, high = find_attribute(file, ("NumPart_Total",)), find_attribute(file, ("NumPart_Total_HighWord",))
    if low is None:
        return ()
    if high is None:
        return tuple(int(number) for number in low)
    return tuple((int(b) << 32) + (int(a) & 0xFFFFFFFF) for a, b in zip(low, high, strict=True))
