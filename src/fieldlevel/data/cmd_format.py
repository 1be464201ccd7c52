"""Files of the CAMELS Multifield Dataset (CMD): their names, the header of a map file, the table of parameters.

`Maps_<field>_<suite>_<set>_z=0.00.npy` holds float32 maps of shape (n_maps, N, N), those of a simulation together;
`params_<set>_<suite>.txt` holds one row a simulation, columns in the order of the parameters of its `Layout`.

References:
    Villaescusa-Navarro et al. 2022, arXiv:2109.10915 (CMD).
"""

import ast
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldlevel.errors import DataError, UserError, reason
from fieldlevel.files import check_regular, naming, read_bytes
from fieldlevel.layout import Layout
from fieldlevel.suites import NBODY_PREFIX, SET_NAMES, facts_of, hydro_twin, is_nbody, known_suites
from fieldlevel.wording import N_NAMED, name_some

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

PIXEL_DTYPE = np.dtype("<f4")
MAPS_NAME = "Maps_<field>_<suite>_<set>_z=0.00.npy"
PARAMETERS_NAME = "params_<set>_<suite>.txt"
LAYOUT_NAME = "layout_<set>_<suite>.json"
LAYOUT_FILE = re.compile(r"layout_.*\.json")

FIELD_NAMES = ("Mtot", "Mcdm", "Mgas", "Mstar", "HI", "Z", "T", "P", "ne", "B", "MgFe", "Vgas", "Vcdm")
"""Of CMD; fields of the user's own may have other names."""

_WORD = r"[^\W_][\w.+-]*"
_MAPS_PATTERN = re.compile(rf"Maps_(?P<field>[^\W_]+)_(?P<suite>{_WORD})_(?P<set_name>[^\W_]+)_z=0\.00\.npy")
_PARAMETERS_PATTERN = re.compile(rf"params_(?P<set_name>[^\W_]+)_(?P<suite>{_WORD})\.txt")
_USUAL = Layout()
_BLOCK_BYTES = 4 * 2**20
_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
_LONGEST_HEADER = 10_000
_PLAIN_TYPE = re.compile(r"[<>|=]?[?a-zA-Z]\d{0,4}(\[\w*\])?")
_MOST_AXES, _MOST_PIXELS = 32, 2**60
_MOST_SHOWN = 40
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class SuiteFiles:
    """The two files of one field of one suite.

    Attributes:
        directory: folder that holds them.
        suite: e.g. `"IllustrisTNG"` or `"Nbody_MockSIMBA"`.
        field: e.g. `"Mtot"`.
        set_name: e.g. `"LH"`.
    """

    directory: Path
    suite: str
    field: str = "Mtot"
    set_name: str = "LH"

    @property
    def maps_path(self) -> Path:
        """Path of the map file."""
        return self.directory / f"Maps_{self.field}_{self.suite}_{self.set_name}_z=0.00.npy"

    @property
    def parameters_path(self) -> Path:
        """Path of the parameter file.

        A gravity-only suite without its own shares that of its hydrodynamic twin, or takes `params_<set>_Nbody.txt`.
        """
        own = self.own_parameters_path
        if not is_nbody(self.suite):
            return own
        shared = [replace(self, suite=name).own_parameters_path for name in (hydro_twin(self.suite), NBODY_PREFIX[:-1])]
        return next((path for path in (own, *shared) if path.exists()), own)

    @property
    def layout_path(self) -> Path:
        """Path of the file that says what the maps are, whether it is there or not."""
        return self.directory / f"layout_{self.set_name}_{self.suite}.json"

    @property
    def own_parameters_path(self) -> Path:
        """Path of a parameter file that no other suite shares, whether it is there or not."""
        return self.directory / f"params_{self.set_name}_{self.suite}.txt"


def files_of(path: Path) -> SuiteFiles | None:
    """The suite that a map file's name tells; None where it is another name.

    Example:
        >>> files_of(Path("cmd/Maps_Mtot_Nbody_SIMBA_LH_z=0.00.npy")).suite
        'Nbody_SIMBA'
    """
    match = _MAPS_PATTERN.fullmatch(path.name)
    return SuiteFiles(path.parent, **match.groupdict()) if match else None


class MapHeader(NamedTuple):
    """What the header of a `.npy` file promises."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[np.generic]
    offset: int
    """Bytes before the first pixel."""


def list_suites(directory: str | Path) -> list[SuiteFiles]:
    """Find the map files of a folder by their names.

    Args:
        directory: folder to look in, not below.

    Returns:
        One entry a map file, in natural order of suite, set and field (SB2 before SB10).

    Raises:
        DataError: no such folder, or no map file in it.
    """
    folder = Path(directory)
    matches = [_MAPS_PATTERN.fullmatch(name) for name in list_names(folder)]
    found = [SuiteFiles(folder, **match.groupdict()) for match in matches if match]
    if not found:
        raise DataError([f"{folder}: no map files here; looked for {MAPS_NAME} with {PARAMETERS_NAME}"])
    return sorted(found, key=lambda files: _natural(f"{files.suite} {files.set_name} {files.field}"))


def list_names(folder: Path) -> list[str]:
    """Names of everything in a folder, in alphabetical order.

    Raises:
        DataError: no such folder, or one that cannot be read.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        told = "no such folder"
    except (OSError, ValueError) as error:  # the latter of names that hold a zero byte
        told = f"cannot be read ({reason(error)})"
    raise DataError([f"{folder}: {told}; name the folder that holds the map files"]) from None


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def list_parameter_files(directory: Path) -> list[Path]:
    """Parameter files of a folder, found by their names, in alphabetical order."""
    return [directory / name for name in list_names(directory) if _PARAMETERS_PATTERN.fullmatch(name)]


def misspelt(files: SuiteFiles, suites: Iterable[str]) -> dict[str, str]:
    """Names that differ from known ones in upper and lower case alone, with the known ones.

    Args:
        files: whose field, suite and set are looked at.
        suites: names of suites that are known.

    Example:
        >>> misspelt(SuiteFiles(Path(), "Nbody_simba", "mtot", "sb28"), ["SIMBA"])
        {'mtot': 'Mtot', 'Nbody_simba': 'Nbody_SIMBA', 'sb28': 'SB28'}
    """
    known_suites = [name for suite in suites for name in (suite, NBODY_PREFIX + suite)]
    sobol = re.sub(r"(?i)^sb(?=\d+$)", "SB", files.set_name)
    pairs = ((files.field, FIELD_NAMES), (files.suite, known_suites), (files.set_name, (sobol, *SET_NAMES)))
    known = {given: {name.lower(): name for name in names}.get(given.lower(), given) for given, names in pairs}
    return {given: name for given, name in known.items() if given != name}


def read_header(path: Path) -> MapHeader:
    """Read the header of a `.npy` file; nothing in it is believed that no array can have.

    Raises:
        OSError: the file cannot be opened, or is a folder.
        ValueError: not a `.npy` file of version 1, 2 or 3, or a damaged one.
        UserError: a pipe, a device or a socket.
    """
    if not path.is_dir():
        check_regular(path, "give an .npy file of maps")
    with naming(path), path.open("rb") as file:
        text = _header_text(file)
        offset = file.tell()
    try:
        known = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise ValueError("damaged header") from None
    if not isinstance(known, dict) or set(known) != {"descr", "fortran_order", "shape"}:
        raise ValueError("damaged header: not descr, fortran_order and shape")
    if not isinstance(known["fortran_order"], bool):
        raise ValueError("damaged header: fortran_order is neither True nor False")
    return MapHeader(_shape(known["shape"]), known["fortran_order"], _plain_type(known["descr"]), offset)


def _header_text(file: BinaryIO) -> str:
    """The header as text; a number of Python 2 in it loses its L."""
    magic = file.read(len(_MAGIC) + 2)
    if not magic.startswith(_MAGIC) or len(magic) < len(_MAGIC) + 2:
        raise ValueError("it does not begin as one")
    version = (magic[-2], magic[-1])
    if version not in _LENGTH_BYTES:
        raise ValueError(f"version {version[0]}.{version[1]} of the format")
    length = int.from_bytes(file.read(_LENGTH_BYTES[version]), "little")
    content = file.read(min(length, _LONGEST_HEADER + 1))
    if length > _LONGEST_HEADER or len(content) < length:
        raise ValueError(f"damaged header: {length} bytes long, {len(content)} of them there at most")
    text = content.decode("utf-8" if version == (3, 0) else "latin-1", errors="replace").strip()
    return re.sub(r"(?<=\d)L(?=[,)])", "", text)


def _shape(given: object) -> tuple[int, ...]:
    if not isinstance(given, tuple) or not all(type(n) is int and n >= 0 for n in given):
        raise ValueError("damaged header: shape is not a tuple of numbers from 0")
    if len(given) > _MOST_AXES or max(math.prod(given), *given, 0) > _MOST_PIXELS:
        raise ValueError("damaged header: shape of more pixels than any file holds")
    return given


def _plain_type(given: object) -> np.dtype[np.generic]:
    if not isinstance(given, str) or not _PLAIN_TYPE.fullmatch(given):
        raise ValueError("not an array of numbers")
    try:
        return np.dtype(given)
    except (TypeError, ValueError):
        raise ValueError("damaged header: no such type of numbers") from None


def read_maps(path: Path, header: MapHeader, first: int, count: int) -> Float32Array:
    """Read consecutive maps into memory of their own, so that no page of the file stays mapped.

    Args:
        path: map file.
        header: its header.
        first: number of the first map.
        count: how many.

    Returns:
        Maps, shape (count, N, N).

    Raises:
        DataError: the file is shorter than its header says.
    """
    n_pixels = math.prod(header.shape[1:])
    start = header.offset + first * n_pixels * PIXEL_DTYPE.itemsize
    pixels = np.fromfile(path, PIXEL_DTYPE, count * n_pixels, offset=start)
    if pixels.size != count * n_pixels:
        raise DataError([f"{path}: truncated, it ends before map {first + count}; fetch the file again"])
    return pixels.reshape(count, *header.shape[1:])


def map_to_memory(path: Path, header: MapHeader) -> npt.NDArray[Any]:
    """The array of a `.npy` file, mapped read-only; NumPy would read the header again, and warn of old ones.

    Args:
        path: the file, as long as its header promises.
        header: its header.
    """
    if 0 in header.shape:
        return np.empty(header.shape, header.dtype)
    order: Literal["F", "C"] = "F" if header.fortran_order else "C"
    return np.memmap(path, header.dtype, "r", header.offset, header.shape, order)


def stream_maps(path: Path, header: MapHeader) -> Iterator[tuple[int, Float32Array]]:
    """Read a map file of any size in blocks of at most 4 MiB (or one map).

    Yields:
        Number of the first map of the block, and the block, shape (n, N, N).
    """
    for first, count in cut_into_blocks(header):
        yield first, read_maps(path, header, first, count)


def cut_into_blocks(header: MapHeader) -> Iterator[tuple[int, int]]:
    """Number of the first map and number of maps of every block that a file is read in."""
    n_maps = header.shape[0]
    step = max(1, _BLOCK_BYTES // (PIXEL_DTYPE.itemsize * max(1, math.prod(header.shape[1:]))))
    for first in range(0, n_maps, step):
        yield first, min(step, n_maps - first)


def read_parameters(path: Path, layout: Layout = _USUAL) -> Float64Array:
    """Read the parameter table; text after `#` is a comment.

    Args:
        path: of the table.
        layout: whose parameters are the columns.

    Returns:
        Parameters, shape (n_simulations, P).

    Raises:
        DataError: file missing, empty or no file at all, a word that is not a number, a row of another number of
            columns.
    """
    try:
        content = read_bytes(path, f"every map file needs {PARAMETERS_NAME}")
    except UserError as error:
        raise DataError([str(error)]) from None
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    rows = [words for line in lines if (words := line.partition("#")[0].split())]
    if not rows:
        raise DataError([f"{path}: no rows; one row a simulation is expected: {name_columns(layout)}"])
    for number, words in enumerate(rows):
        if defect := _row_defect(number, words, layout):
            raise DataError([f"{path}: {defect}"])
    return np.array([[float(word) for word in words] for words in rows])


def name_columns(layout: Layout) -> str:
    """Names of the columns of a table; of very many the first ten.

    Example:
        >>> name_columns(Layout())
        'Omega_m sigma_8 A_SN1 A_AGN1 A_SN2 A_AGN2'
    """
    return " ".join(layout.names) if layout.n_parameters <= N_NAMED else name_some(layout.names)


def _row_defect(number: int, words: list[str], layout: Layout) -> str | None:
    if len(words) != layout.n_parameters:
        return f"row {number} has {len(words)} columns; {_columns_wanted(words, layout)}"
    wrong = next((word for word in words if not is_number(word)), None)
    remedy = "put # in front of a line of names" if wrong in layout.names else "mend the row"
    return wrong and f"row {number} holds {shorten(wrong)}, which is not a number; {remedy}"


def _columns_wanted(words: list[str], layout: Layout) -> str:
    names = name_columns(layout)
    if "," in "".join(words):
        return f"put blanks between {names}, not commas"
    if not is_number(words[0]) and len(words) >= layout.n_parameters + 2:
        return f"a table of CAMELS with a name in front and a seed at the end: keep {names} alone"
    if layout.names != _USUAL.names:
        return f"its layout has {layout.n_parameters}: {names}; give these, or mend the layout"
    divided = ", ".join(f"{each.name} by {describe_units(each.name)}" for each in known_suites() if each.feedback_units)
    return (
        f"sets with other than six columns are not supported without a file {LAYOUT_NAME} that names them; else give "
        f"{names}, the feedback in units of its fiducial value (in sets SB and tables of 28 columns divide that of "
        f"{divided})"
    )


def describe_units(suite: str) -> str:
    """Fiducial values of the feedback columns of a suite's tables of physical numbers.

    Example:
        >>> describe_units("IllustrisTNG")
        '3.6, 1, 7.4, 20'
    """
    return ", ".join(f"{unit:g}" for unit in facts_of(suite).feedback_units)


def is_number(word: str) -> bool:
    """Whether a word of a table is a number as tables have them: no underscores, no digits of other scripts."""
    return _NUMBER.fullmatch(word) is not None


def shorten(word: str) -> str:
    """A word of a file, quoted, its beginning only where it is long.

    Example:
        >>> shorten("zero"), len(shorten(50 * "z"))
        ("'zero'", 45)
    """
    return repr(word if len(word) <= _MOST_SHOWN else f"{word[:_MOST_SHOWN]}...")
