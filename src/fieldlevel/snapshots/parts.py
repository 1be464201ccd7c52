"""Where the particles of a snapshot are, and whether they can be what they are said to be."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np
import numpy.typing as npt

from fieldlevel.errors import DataError
from fieldlevel.snapshots.hdf5_files import check_storage, check_written, find_member, open_hdf5
from fieldlevel.snapshots.headers import Header, read_counts, read_header

Kind = Literal["gas", "dark matter", "stars", "black holes"]
KINDS: tuple[Kind, ...] = get_args(Kind)

COORDINATES = ("Coordinates",)
MASSES = ("Masses", "Mass", "DynamicalMasses")
"""In all codes but old GADGET and the black holes of SWIFT; in old GADGET; in those."""

REMEDY_OF_EXTENT = "mend the size of the box (BoxSize, --box-size-mpc-h) or the unit of length (--length-unit)"
"""Of positions that do not suit the box, whoever said how large it is."""

_KIND_OF_TYPE: Mapping[int, Kind] = {0: "gas", 4: "stars", 5: "black holes"}
_TRACERS = 3
_N_TYPES = 7
_MOST_COLUMNS = 1000
_SAME = 1e-6
_COMPARED = 4
"""Particles at the beginning of a file that tell it from the others."""


@dataclass(frozen=True)
class Part:
    """The particles of one type in one file.

    Attributes:
        file: that holds them.
        type: number of their group.
        n: how many.
    """

    file: Path
    type: int
    n: int

    @property
    def group(self) -> str:
        """Name of the HDF5 group."""
        return f"PartType{self.type}"

    @property
    def kind(self) -> Kind:
        """What these particles are."""
        return _KIND_OF_TYPE.get(self.type, "dark matter")


def kind_of_group(group: str) -> Kind:
    """What the particles of an HDF5 group are.

    Example:
        >>> kind_of_group("PartType4")
        'stars'
    """
    return _KIND_OF_TYPE.get(int(group.removeprefix("PartType")), "dark matter")


def find_dataset(group: object, names: Sequence[str]) -> h5py.Dataset | None:
    """First dataset of one of these names; None also where there is no group."""
    if not isinstance(group, h5py.Group):
        return None
    members = (find_member(group, name) for name in names)
    return next((member for member in members if isinstance(member, h5py.Dataset)), None)


def check_shape(dataset: h5py.Dataset, part: Part, shape: tuple[int, ...] | None) -> None:
    """Refuse a dataset that has not one row of numbers a particle.

    Args:
        dataset: to be read.
        part: whose it is.
        shape: of a row; None if a number or some columns will do.

    Raises:
        DataError: the shapes disagree, it holds no numbers, or some of them are not there to be read.
    """
    if dataset.shape is None:
        raise DataError([f"{part.file}: {dataset.name} is empty, without even a shape; write the snapshot again"])
    columns = dataset.shape[1:]
    is_table = len(columns) < 2 and all(1 <= n <= _MOST_COLUMNS for n in columns)
    expected = (part.n, *(columns if shape is None and is_table else shape or ()))
    if dataset.shape != expected or dataset.dtype.kind not in "iuf":
        raise DataError(
            [
                f"{part.file}: {dataset.name} has the shape {dataset.shape}, but NumPart_ThisFile counts {part.n} "
                f"particles: it must hold numbers of the shape {expected}, and holds {dataset.dtype}; write it again"
            ]
        )
    check_storage(dataset)
    check_written(dataset)


def list_parts(path: Path, files: Sequence[Path], header: Header, *, is_whole: bool = True) -> tuple[Part, ...]:
    """List the particles of a snapshot, file by file and type by type.

    Args:
        path: of the snapshot, for errors.
        files: all files of it.
        header: facts of the first file.
        is_whole: whether these are all particles of a box; a cut-out in one file may have the totals of its snapshot.

    Returns:
        One entry for each type in each file; without types that have no particles, and without tracers.

    Raises:
        DataError: no particles, a number that disagrees with another, no positions or no masses.
    """
    parts: list[Part] = []
    counted: Counter[int] = Counter()
    beginnings: dict[bytes, Path] = {}
    for name in files:
        with open_hdf5(name) as file:
            if name != files[0]:
                _refuse_another_snapshot(name, read_header(file), header)
            _refuse_twins(name, file, beginnings)
            counts = read_counts(file) or _count_rows(file)
            parts += [
                part
                for number, n in enumerate(counts)
                if n > 0 and _is_matter(file, part := Part(name, number, n), header)
            ]
        counted.update(dict(enumerate(counts)))
    if not parts:
        raise DataError([f"{path}: no particles; NumPart_ThisFile is zero everywhere"])
    if not _agree(counted, header.n_total, is_cut=len(files) == 1 and not is_whole):
        raise DataError(
            [
                f"{path}: NumPart_ThisFile adds up to {list(counted.values())}, but NumPart_Total says "
                f"{list(header.n_total[-1])}; are all of them from this snapshot?"
            ]
        )
    return tuple(parts)


def _refuse_another_snapshot(name: Path, other: Header, first: Header) -> None:
    """Refuse a file whose facts are not those of the first one."""
    for fact in ("box_size", "redshift", "Omega_m", "h"):
        here, there = getattr(other, fact), getattr(first, fact)
        if here is not None and there is not None and not math.isclose(here, there, rel_tol=_SAME, abs_tol=_SAME):
            told = f"{fact} is {here}, but {there} in the first file of the snapshot"
            raise DataError([f"{name}: {told}; are all of them from this snapshot?"])


def _refuse_twins(name: Path, file: h5py.File, beginnings: dict[bytes, Path]) -> None:
    """Refuse two files of a snapshot that begin with the same particles."""
    for number in range(_N_TYPES):
        dataset = find_dataset(find_member(file, f"PartType{number}"), COORDINATES)
        if dataset is None or len(dataset.shape or ()) != 2 or dataset.shape[0] < _COMPARED or dataset.shape[1] != 3:
            continue
        check_storage(dataset)
        first = beginnings.setdefault(dataset[:_COMPARED].tobytes(), name)
        if first != name:
            told = f"/PartType{number} holds the same particles as in {first.name}"
            raise DataError([f"{name}: {told}; bring the file of that number back"])


def _agree(counted: Counter[int], n_total: Sequence[Sequence[int]], *, is_cut: bool) -> bool:
    """Whether the particles are as many as one reading of the header has, or no more in a cut-out."""
    totals = [Counter(dict(enumerate(total))) for total in n_total]
    return not totals or any(counted == total or (is_cut and counted <= total) for total in totals)


def _count_rows(file: h5py.File) -> tuple[int, ...]:
    """Particles of each type where no header counts them: one for each position."""
    found = {number: find_dataset(find_member(file, f"PartType{number}"), COORDINATES) for number in range(_N_TYPES)}
    return tuple(dataset.shape[0] if dataset is not None and dataset.shape else 0 for dataset in found.values())


def _is_matter(file: h5py.File, part: Part, header: Header) -> bool:
    """Whether particles have positions and masses; only tracers may have none."""
    group = find_member(file, part.group)
    coordinates, masses = find_dataset(group, COORDINATES), find_dataset(group, MASSES)
    has_mass = masses is not None or any(header.mass_table[part.type : part.type + 1])
    if coordinates is not None and has_mass:
        check_shape(coordinates, part, (3,))
        return True
    if part.type == _TRACERS:
        return False
    if coordinates is None:
        lacking = f"no dataset {COORDINATES[0]}"
    else:
        lacking = f"no dataset {' or '.join(MASSES)}, and no mass in MassTable"
    raise DataError([f"{part.file}: {lacking} for the {part.n} particles of /{part.group}; write the snapshot again"])


def check_values(
    values: npt.NDArray[np.floating[Any]], what: str, part: Part, lowest: float = -np.inf, highest: float = np.inf
) -> None:
    """Refuse NaN, infinity and what lies out of bounds.

    Args:
        values: any shape.
        what: their name, for errors.
        part: whose they are.
        lowest: number that is possible.
        highest: number that is possible.

    Raises:
        DataError: there are such numbers.
    """
    possible = np.isfinite(values) & (values >= lowest) & (values <= highest)
    if bad := int(values.size - np.count_nonzero(possible)):
        bounds = "" if lowest == -np.inf else f" or not from {lowest:.3g} to {highest:.6g}"
        told = f"{bad} numbers of {what} in /{part.group} are not finite{bounds}"
        raise DataError([f"{part.file}: {told}; the snapshot is damaged, write it again"])


def wrap_positions(
    position: npt.NDArray[np.floating[Any]], box_size_mpc_h: float, where: str
) -> npt.NDArray[np.floating[Any]]:
    """Bring positions into [0, L) of the periodic box.

    Args:
        position: (n, 3) in Mpc/h.
        box_size_mpc_h: L.
        where: file and dataset, for errors.

    Returns:
        The same shape and type, every number at least 0 and less than L.

    Raises:
        DataError: a position is more than a box outside.
    """
    if position.size and (position.min() < -box_size_mpc_h or position.max() > 2 * box_size_mpc_h):
        raise DataError(
            [
                f"{where}: positions from {position.min():.4g} to {position.max():.4g} Mpc/h in a box of "
                f"{box_size_mpc_h:.4g} Mpc/h; {REMEDY_OF_EXTENT}"
            ]
        )
    wrapped: npt.NDArray[np.floating[Any]] = np.remainder(position, box_size_mpc_h)
    wrapped[wrapped >= box_size_mpc_h] = 0
    return wrapped
