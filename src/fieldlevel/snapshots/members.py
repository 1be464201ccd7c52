"""Files of a snapshot, and what their content is known by.

A snapshot is one HDF5 file, or N files `<base>.0.hdf5` to `<base>.<N-1>.hdf5`.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from fieldlevel.errors import DataError
from fieldlevel.snapshots.hdf5_files import Member, check_storage, find_member, has_stored_length, open_hdf5
from fieldlevel.snapshots.headers import find_number, holds_origin, whole
from fieldlevel.suites import MOCK_ORIGIN
from fieldlevel.wording import name_some

_NUMBERED = re.compile(r"(?P<base>.+)\.(?P<number>\d+)\.(?P<ending>hdf5|h5)")
_ENDINGS = (".hdf5", ".h5")
_STRETCHES, _STRETCH = 4, 64
"""Stretches of a dataset that its fingerprint is made of, and particles in each."""
_MOST_BYTES = 2**20
"""Of an attribute or a stretch that goes into a fingerprint."""

_OTHERS: Mapping[str, tuple[str, ...]] = {
    "a catalogue of galaxies of CAESAR": ("galaxy_data", "halo_data", "tree_data", "simulation_attributes"),
    "a merger tree": ("TreeHalos", "TreeTable", "TreeTimes", "Tree0", "Forests", "DescendantID", "SubhaloIDRaw"),
    "a table of offsets": ("FileOffsets",),
    "a group catalogue": ("Group", "Subhalo", "Groups", "Subhalos", "FOF", "Halo", "IDs"),
    "a light cone": ("HealPixHashTable", "Lightcone"),
    "a grid": ("Grid", "Grids", "grid", "Maps", "maps"),
}
"""What other files of simulations hold beside, and instead of, particles."""
_CATALOGUE_COUNTS = ("Ngroups_Total", "Ngroups_ThisFile", "Nsubhalos_Total", "Nsubgroups_Total", "TotNgroups")


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
        _refuse_other_files(file)
        n_files = whole(file, "NumFilesPerSnapshot", find_number(file, ("NumFilesPerSnapshot",), lowest=0) or 1)
    if n_files == 1:
        return (one,)
    match = _NUMBERED.fullmatch(one.name)
    if not match:
        raise DataError([f"{one}: one of {n_files} files, but without a number in its name; call it <name>.0.hdf5"])
    files = tuple(one.with_name(f"{match['base']}.{number}.{match['ending']}") for number in range(n_files))
    if missing := [file.name for file in files if not file.is_file()]:
        raise DataError([f"{one.parent}: {len(missing)} of {n_files} files are missing: {name_some(missing)}"])
    return files


def _refuse_other_files(file: h5py.File) -> None:
    """Tell what a file is that holds no particles."""
    members = sorted(file)
    if any(name.startswith("PartType") for name in members) and "HealPixHashTable" not in members:
        return
    header = find_member(file, "Header")
    counts = [name for name in _CATALOGUE_COUNTS if header is not None and name in header.attrs]
    for told, names in _OTHERS.items():
        found = [name for name in names if name in members] + counts * ("group" in told)
        if found:
            remedy = "name the snapshot that it was made from"
            raise DataError([f"{file.filename}: {told}, not a snapshot: it holds {name_some(found)}; {remedy}"])


def _any_file(path: Path) -> Path:
    try:
        if path.is_dir():
            return _only_snapshot(path)
        stem = path.with_suffix("") if path.suffix in _ENDINGS else path
        guesses = [path, *(stem.with_name(stem.name + number + end) for end in _ENDINGS for number in ("", ".0"))]
        return next((guess for guess in guesses if guess.is_file()), path)
    except OSError as error:
        raise DataError([f"{path}: cannot be read ({error.strerror}); name another snapshot"]) from None
    except ValueError:
        return path


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
            file.visititems(lambda name, node: content.update(_sample(name, node)))  # follows no links
    return content.hexdigest()[:16]


def _sample(name: str, node: Member | h5py.Datatype) -> bytes:
    attributes = [f"{key} = {_describe(node, key)}" for key in sorted(node.attrs)]
    sample = "\n".join([name, *attributes, ""]).encode(errors="surrogateescape")
    if isinstance(node, h5py.Dataset) and node.shape and node.dtype.kind in "iuf":
        check_storage(node)
        sample += f"{node.shape} {node.dtype}".encode()
        starts = np.linspace(0, len(node), _STRETCHES, endpoint=False).astype(int)
        row_bytes = node.size // max(len(node), 1) * node.dtype.itemsize
        stretch = min(_STRETCH, _MOST_BYTES // max(row_bytes, 1))
        sample += b"".join(node[start : start + stretch].tobytes() for start in starts if stretch)
    return sample


def _describe(node: Member | h5py.Datatype, name: str) -> object:
    """An attribute in words; of one whose length is stored apart only the type, but for that of old mock snapshots."""
    attribute = node.attrs.get_id(name)
    if has_stored_length(node, name):
        return MOCK_ORIGIN if name == "Origin" and holds_origin(node, MOCK_ORIGIN) else attribute.dtype
    if attribute.shape is None or np.prod(attribute.shape, dtype=float) * attribute.dtype.itemsize > _MOST_BYTES:
        return attribute.shape, attribute.dtype
    return np.asarray(node.attrs[name]).tolist()
