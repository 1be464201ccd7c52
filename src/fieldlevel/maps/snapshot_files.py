"""Files of a snapshot and the facts in their headers.

A snapshot is one HDF5 file, or N files `<base>.0.hdf5` to `<base>.<N-1>.hdf5`. Attributes stand in `/Header`, in
`/Parameters` (GADGET-4), in `/Cosmology` (SWIFT) or in `/Units`.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from fieldlevel.errors import DataError
from fieldlevel.maps.wording import name_some
from fieldlevel.parameters import MOCK_MARK, PARAMETER_NAMES

PLACES = ("Header", "Parameters", "Cosmology", "Units")

_NUMBERED = re.compile(r"(?P<base>.+)\.(?P<number>\d+)\.(?P<ending>hdf5|h5)")
_ENDINGS = (".hdf5", ".h5")
_ROUND_OFF = 1e-6
"""By which codes miss redshift zero."""
_SIGMA_8_NAMES = ("sigma_8", "Sigma8", "sigma8")
_STRETCHES, _STRETCH = 4, 64
"""Stretches of a dataset that its fingerprint is made of, and particles in each."""


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
        parameters: those of the six that it states, by name.
    """

    box_size: float
    redshift: float
    Omega_m: float
    Omega_lambda: float
    h: float
    mass_table: tuple[float, ...]
    n_total: tuple[int, ...]
    is_mock: bool
    parameters: Mapping[str, float]


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises:
        DataError: missing, not ours to read, not HDF5, cut short, or damaged where it is read.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise DataError([f"{path}: no such file; name a snapshot, one of its files or their folder"]) from None
    except PermissionError:
        raise DataError([f"{path}: permission denied; make the file readable"]) from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:  # h5py has no fewer for damaged files
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
        n_files = int(find_number(file, ("NumFilesPerSnapshot",), lowest=0) or 1)
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


def fingerprint(files: Sequence[Path]) -> str:
    """Identify a snapshot by its content: all attributes and a few stretches of each dataset.

    Args:
        files: all files of the snapshot.

    Returns:
        Sixteen hexadecimal digits, the same wherever the files lie and whenever they were copied.
    """
    content = hashlib.sha256()
    for path in files:
        with open_hdf5(path) as file:
            file.visititems(lambda name, node: content.update(_sample(name, node)))
    return content.hexdigest()[:16]


def _sample(name: str, node: h5py.Group | h5py.Dataset) -> bytes:
    attributes = [f"{key} = {np.asarray(node.attrs[key]).tolist()}" for key in sorted(node.attrs)]
    sample = "\n".join([name, *attributes, ""]).encode()
    if isinstance(node, h5py.Dataset) and node.shape and node.dtype.kind in "iuf":
        sample += f"{node.shape} {node.dtype}".encode()
        starts = np.linspace(0, len(node), _STRETCHES, endpoint=False).astype(int)
        sample += b"".join(node[start : start + _STRETCH].tobytes() for start in starts)
    return sample


def read_numbers(node: h5py.Group | h5py.Dataset, name: str, lowest: float = -np.inf) -> npt.NDArray[np.float64]:
    """Read an attribute that must hold numbers.

    Args:
        node: that has the attribute.
        name: of the attribute.
        lowest: number that is allowed.

    Returns:
        The numbers, (n,) with n > 0; a scalar is an array of one, as SWIFT writes it.

    Raises:
        DataError: it is text or empty, or a number is not finite or too low.
    """
    values = np.asarray(node.attrs[name]).reshape(-1)
    if values.dtype.kind in "iuf" and values.size and np.isfinite(values).all() and values.min() >= lowest:
        return values.astype(np.float64)
    allowed = "finite numbers" if lowest == -np.inf else f"finite numbers from {lowest:g}"
    raise DataError([f"{node.file.filename}: {name} of {node.name} is {values.tolist()}; mend it to {allowed}"])


def find_numbers(file: h5py.File, names: Sequence[str], lowest: float = -np.inf) -> npt.NDArray[np.float64] | None:
    """First attribute of one of these names in `PLACES`, as from `read_numbers`; None if there is none."""
    for place in PLACES:
        for name in names:
            if place in file and name in file[place].attrs:
                return read_numbers(file[place], name, lowest)
    return None


def find_number(file: h5py.File, names: Sequence[str], lowest: float = -np.inf) -> float | None:
    """First of the numbers of `find_numbers`."""
    values = find_numbers(file, names, lowest)
    return None if values is None else float(values[0])


def read_counts(file: h5py.File) -> tuple[int, ...]:
    """Particles of each type in one file.

    Raises:
        DataError: the header does not say.
    """
    return tuple(int(number) for number in _require(file, "the number of particles", ("NumPart_ThisFile",), lowest=0))


def read_header(file: h5py.File) -> Header:
    """Read the facts of a snapshot.

    Raises:
        DataError: no header, a fact is missing or impossible, or the box is no cube.
    """
    if not isinstance(file.get("Header"), h5py.Group):
        raise DataError([f"{file.filename}: no group /Header; is this a snapshot? It holds {name_some(sorted(file))}"])
    table = find_numbers(file, ("MassTable",), lowest=0)
    Omega_m = _positive(file, "Omega_m", ("Omega0", "OmegaMatter", "Omega_Matter", "Omega_m"))
    return Header(
        box_size=_box_size(file),
        redshift=float(_require(file, "the redshift", ("Redshift",), lowest=-_ROUND_OFF)[0]),
        Omega_m=Omega_m,
        Omega_lambda=float(_require(file, "Omega_lambda", ("OmegaLambda", "Omega_Lambda", "Omega_lambda"))[0]),
        h=_positive(file, "the Hubble parameter", ("HubbleParam", "h")),
        mass_table=() if table is None else tuple(table.tolist()),
        n_total=_totals(file),
        is_mock=MOCK_MARK in str(file["Header"].attrs.get("Origin", "")),
        parameters=_parameters(file) | {"Omega_m": Omega_m},
    )


def _require(file: h5py.File, fact: str, names: Sequence[str], lowest: float = -np.inf) -> npt.NDArray[np.float64]:
    values = find_numbers(file, names, lowest)
    if values is None:
        looked = " or ".join(names)
        places = ", ".join(f"/{place}" for place in PLACES)
        raise DataError([f"{file.filename}: does not say {fact}: no attribute {looked} in {places}; add it"])
    return values


def _positive(file: h5py.File, fact: str, names: Sequence[str]) -> float:
    value = float(_require(file, fact, names)[0])
    if value <= 0:
        raise DataError([f"{file.filename}: {fact} is {value:g} ({' or '.join(names)}); give a cosmological snapshot"])
    return value


def _box_size(file: h5py.File) -> float:
    sides = _require(file, "the size of the box", ("BoxSize",))
    if not np.all(sides == sides[0]):
        raise DataError([f"{file.filename}: BoxSize is {sides.tolist()}; only cubes can be projected"])
    return _positive(file, "the size of the box", ("BoxSize",))


def _totals(file: h5py.File) -> tuple[int, ...]:
    low, high = find_numbers(file, ("NumPart_Total",)), find_numbers(file, ("NumPart_Total_HighWord",))
    if low is None:
        return ()
    words = zip_longest(low, () if high is None else high, fillvalue=0)
    return tuple((int(b) << 32) + (int(a) & 0xFFFFFFFF) for a, b in words)


def _parameters(file: h5py.File) -> dict[str, float]:
    names = {name: (name,) for name in PARAMETER_NAMES} | {"sigma_8": _SIGMA_8_NAMES}
    found = {name: find_number(file, spellings) for name, spellings in names.items()}
    return {name: value for name, value in found.items() if value is not None}
