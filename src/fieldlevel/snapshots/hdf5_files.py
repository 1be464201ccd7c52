"""HDF5 files of others: read only if they are files, and only as far as what they say is there.

A member of an HDF5 file may lie in other files: by an external link, in external storage, as a virtual dataset. What is
missing there HDF5 reads as zeros without a word, as it does chunks that were never written; and a file from elsewhere
can point to any file of the machine. So every member is reached through `find_member`, and every dataset that is read
has passed `check_storage` and `check_written`.
"""

import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np
from h5py._hl.vds import VDSmap

from fieldlevel.errors import DataError, reason
from fieldlevel.files import check_regular
from fieldlevel.numerics.memory import physical_memory

Member: TypeAlias = h5py.Group | h5py.Dataset

_DEEPEST = 16
"""Links and sources that may follow one another."""
_MOST_NUMBERS = 4096
"""Of an attribute that is read."""


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises:
        DataError: missing, not ours to read, not HDF5, cut short, or damaged where it is read.
        UserError: a pipe or a device.
    """
    check_regular(path, "name a snapshot, one of its files or their folder")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise DataError([f"{path}: no such file; name a snapshot, one of its files or their folder"]) from None
    except PermissionError:
        raise DataError([f"{path}: permission denied; make the file readable"]) from None
    except _DAMAGE as error:
        remedy = "it is damaged, of another format, or needs a filter: give an HDF5 snapshot"
        raise DataError([f"{path}: cannot be read as HDF5 ({reason(error)}); {remedy}"]) from error


_DAMAGE = (OSError, RuntimeError, KeyError, TypeError, ValueError, ArithmeticError, MemoryError)
"""What h5py raises for damaged files; it has no fewer."""


def find_member(group: h5py.Group, name: str, depth: int = 0) -> Member | None:
    """Follow a path to a group or dataset; through links only as far as the folder of the file.

    Args:
        group: to start from.
        name: path of names between slashes; one that begins with a slash starts from the root.
        depth: links that were followed before.

    Returns:
        The member; None if there is none of that name, or something else.

    Raises:
        DataError: an external link leads out of the folder or to what is missing, or links lead in a circle.
    """
    if depth > _DEEPEST:
        raise DataError([f"{group.file.filename}: links to {name} lead in a circle; write the file again"])
    node: object = group.file["/"] if name.startswith("/") else group
    for part in filter(None, name.split("/")):
        if not isinstance(node, h5py.Group):
            return None
        node = node if part == "." else _follow(node, part, depth)
    return node if isinstance(node, h5py.Group | h5py.Dataset) else None


def _follow(group: h5py.Group, part: str, depth: int) -> object:
    link = group.get(part, getlink=True)
    if isinstance(link, h5py.SoftLink):
        return find_member(group, link.path, depth + 1)
    if isinstance(link, h5py.ExternalLink):
        return _follow_outside(group, part, link, depth)
    return None if link is None else group[part]


def _follow_outside(group: h5py.Group, part: str, link: h5py.ExternalLink, depth: int) -> object:
    what = f"{group.name.rstrip('/')}/{part}"
    path = _beside(group.file, link.filename, what)
    with open_hdf5(path) as other:
        if find_member(other, link.path, depth + 1) is None:
            raise DataError([f"{group.file.filename}: {what} is {link.path} of {path}, which is missing there"])
    node = group[part]
    if not Path(node.file.filename).samefile(path):
        raise DataError([f"{group.file.filename}: {what} leads to {node.file.filename}, not to {path}; copy it there"])
    return node


def _beside(file: h5py.File, name: str, what: str) -> Path:
    """The file in which a member lies: one of those in and below the folder of the file that says so."""
    here = Path(file.filename)
    folders = list(dict.fromkeys((here.parent, here.resolve().parent)))
    names = [name, Path(name).name] if Path(name).is_absolute() else [name]
    guesses = [folder / each for each in names for folder in folders]
    path = next((guess for guess in guesses if guess.exists()), guesses[0])
    if not any(path.resolve().is_relative_to(folder.resolve()) for folder in folders):
        raise DataError([f"{here}: {what} lies in {path}, outside of the folder of the file; copy it into the folder"])
    if not path.exists():
        raise DataError([f"{here}: {what} lies in {path}, which is missing; bring that file back"])
    check_regular(path, f"{here} names it for {what}")
    return path


def check_storage(dataset: h5py.Dataset, depth: int = 0) -> None:
    """Refuse a dataset that HDF5 cannot read here, or would fill up with zeros.

    Args:
        dataset: to be read.
        depth: virtual datasets that it is a source of.

    Raises:
        DataError: a filter or a source is missing, a source lies outside of the folder of the file or holds less than
            what is taken from it, or chunks are larger than memory.
    """
    properties = dataset.id.get_create_plist()
    if dataset.is_virtual:
        _check_sources(dataset, depth)
    elif dataset.external:
        _check_external(dataset)
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            _import_filters(dataset, code, name.decode(errors="replace"))
    n_bytes = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if n_bytes > physical_memory() // 2:
        told = f"{dataset.name} has chunks of {n_bytes} bytes, which no memory here holds"
        raise DataError([f"{dataset.file.filename}: {told}; write it with smaller ones"])


def _import_filters(dataset: h5py.Dataset, code: int, name: str) -> None:
    """Load the filters of hdf5plugin; CAMELS compresses its N-body snapshots with one of them."""
    named = name.partition(";")[0] or "a filter"
    told = f"{dataset.file.filename}: {dataset.name} is compressed with {named} (HDF5 filter {code})"
    try:
        import hdf5plugin  # noqa: F401, PLC0415 (optional, and registers its filters when imported)
    except ImportError:
        raise DataError(
            [f"{told}, which needs the package hdf5plugin: pip install hdf5plugin, or 'fieldlevel[hdf5]'"]
        ) from None
    if not h5py.h5z.filter_avail(code):
        raise DataError([f"{told}, which hdf5plugin has not either; write the file again with gzip or none"])


def _check_external(dataset: h5py.Dataset) -> None:
    """Raw bytes in other files: HDF5 looks for these from the working directory."""
    here, needed = Path(dataset.file.filename), dataset.size * dataset.dtype.itemsize
    for name, offset, size in dataset.external:
        path = Path(name)
        if not path.resolve().is_relative_to(here.resolve().parent):
            told = f"lies in {path}, outside of the folder of the file"
            raise DataError([f"{here}: {dataset.name} {told}; write the file again with all data in it"])
        check_regular(path, f"{here} names it for {dataset.name}")
        wanted = min(size, needed)
        held = path.stat().st_size - offset if path.exists() else 0
        if held < wanted:
            told = f"lies in {path}, which holds {max(held, 0)} bytes of {wanted}"
            raise DataError([f"{here}: {dataset.name} {told}; bring that file back"])
        needed -= wanted


def _check_sources(dataset: h5py.Dataset, depth: int) -> None:
    here = dataset.file.filename
    if depth > _DEEPEST:
        raise DataError([f"{here}: sources of {dataset.name} lead in a circle; write the file again"])
    mapped = 0
    for source in dataset.virtual_sources():
        if "%" in source.file_name.replace("%%", "") + source.dset_name.replace("%%", ""):
            told = f"has sources named by a pattern ({source.file_name}), of which some may be missing"
            raise DataError([f"{here}: {dataset.name} {told}; write the file again with one name for each"])
        mapped += source.vspace.get_select_npoints()
        path = None if source.file_name == "." else _beside(dataset.file, source.file_name, f"part of {dataset.name}")
        with nullcontext(dataset.file) if path is None else open_hdf5(path) as file:
            held = find_member(file, source.dset_name)
            if not isinstance(held, h5py.Dataset) or not _holds(held, source):
                told = f"part of {dataset.name} is {source.dset_name} of {path or here}"
                shape = getattr(held, "shape", None)
                what = "which is missing there" if held is None else f"which has the shape {shape}, less than is taken"
                raise DataError([f"{here}: {told}, {what}; bring that file back as it was"])
            check_storage(held, depth + 1)
            check_written(held)
    if mapped < dataset.size:
        told = f"only {mapped} of {dataset.size} numbers have a source"
        raise DataError([f"{here}: {dataset.name}: {told}; the others would be zeros: write the file again"])


def _holds(held: h5py.Dataset, source: VDSmap) -> bool:
    """Whether a source has as many numbers as are taken from it, where they are taken."""
    space = source.src_space
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS:
        return bool(held.size >= source.vspace.get_select_npoints())
    last = space.get_select_bounds()[1]
    return len(last) == len(held.shape) and all(end < side for end, side in zip(last, held.shape, strict=True))


def check_written(dataset: h5py.Dataset) -> None:
    """Refuse a dataset of which some was never written, so that it would be read as zeros.

    Raises:
        DataError: with the numbers that it says to hold.
    """
    if dataset.is_virtual or dataset.external or not dataset.size or _has_fill(dataset):
        return
    if dataset.chunks is None:
        is_written = dataset.id.get_storage_size() > 0
    else:
        n_chunks = math.prod(-(-side // chunk) for side, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        is_written = dataset.id.get_num_chunks() == n_chunks
    if not is_written:
        told = f"says to hold {' x '.join(map(str, dataset.shape))} numbers, but not all of them were ever written"
        raise DataError([f"{dataset.file.filename}: {dataset.name} {told}; write the snapshot again"])


def _has_fill(dataset: h5py.Dataset) -> bool:
    """Whether the author chose what stands where nothing was written."""
    is_chosen = dataset.id.get_create_plist().fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
    return bool(is_chosen and np.any(dataset.fillvalue))


def holds_numbers(node: Member, name: str) -> bool:
    """Whether an attribute holds integers or floats, and not more than a header has; looks at its type alone."""
    attribute = node.attrs.get_id(name)
    is_empty = attribute.shape is None
    return not is_empty and attribute.dtype.kind in "iuf" and math.prod(attribute.shape) <= _MOST_NUMBERS


def is_text(node: Member, name: str) -> bool:
    """Whether an attribute is a text, of fixed length or not."""
    attribute = node.attrs.get_id(name)
    return attribute.shape == () and h5py.check_string_dtype(attribute.dtype) is not None


def has_stored_length(node: Member, name: str) -> bool:
    """Whether the length of an attribute is stored apart from its type, so that HDF5 believes a damaged one."""
    dtype = node.attrs.get_id(name).dtype
    return bool(dtype.hasobject)


def find_text(node: Member, name: str) -> str | None:
    """Text of fixed length in an attribute, as it can be printed; None if there is none of that name."""
    if name not in node.attrs or not is_text(node, name) or has_stored_length(node, name):
        return None
    if node.attrs.get_id(name).dtype.itemsize > _MOST_NUMBERS:
        return None
    text = bytes(node.attrs[name]).decode(errors="replace")
    return "".join(character for character in text if character.isprintable())


def holds_bytes(path: Path, text: bytes) -> bool:
    """Whether some bytes stand anywhere in a file, read without HDF5."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text) >= 0
