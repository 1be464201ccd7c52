"""Files of the CAMELS Multifield Dataset (CMD): their names, the header of a map file, the table of parameters.

`Maps_<field>_<suite>_<set>_z=0.00.npy` holds float32 maps of shape (n_maps, N, N), 15 to a simulation;
`params_<set>_<suite>.txt` holds one row a simulation, columns in the order of `fieldlevel.parameters.PARAMETERS`.

References:
    Villaescusa-Navarro et al. 2022, arXiv:2109.10915 (CMD).
"""

import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldlevel.errors import DataError
from fieldlevel.parameters import NBODY_PREFIX, PARAMETER_NAMES

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

PIXEL_DTYPE = np.dtype("<f4")
MAPS_NAME = "Maps_<field>_<suite>_<set>_z=0.00.npy"
PARAMETERS_NAME = "params_<set>_<suite>.txt"

_MAPS_PATTERN = re.compile(r"Maps_(?P<field>[^_]+)_(?P<suite>.+)_(?P<set_name>[^_]+)_z=0\.00\.npy")
_PARAMETERS_PATTERN = re.compile(r"params_(?P<set_name>[^_]+)_(?P<suite>.+)\.txt")
_BLOCK_BYTES = 32 * 2**20


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
        """Path of the parameter file; a gravity-only suite without its own shares that of its hydrodynamic twin."""
        own = self.own_parameters_path
        twin = replace(self, suite=self.suite.removeprefix(NBODY_PREFIX)).own_parameters_path
        return own if own.exists() else twin if twin.exists() else own

    @property
    def own_parameters_path(self) -> Path:
        """Path of a parameter file that no other suite shares, whether it is there or not."""
        return self.directory / f"params_{self.set_name}_{self.suite}.txt"


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
    if not folder.is_dir():
        raise DataError([f"{folder}: no such folder; name the folder that holds the map files"])
    matches = [_MAPS_PATTERN.fullmatch(path.name) for path in folder.iterdir()]
    found = [SuiteFiles(folder, **match.groupdict()) for match in matches if match]
    if not found:
        raise DataError([f"{folder}: no map files here; looked for {MAPS_NAME} with {PARAMETERS_NAME}"])
    return sorted(found, key=lambda files: _natural(f"{files.suite} {files.set_name} {files.field}"))


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def list_parameter_files(directory: Path) -> list[Path]:
    """Parameter files of a folder, found by their names, in alphabetical order; none if there is no such folder."""
    return sorted(path for path in directory.glob("params_*.txt") if _PARAMETERS_PATTERN.fullmatch(path.name))


def read_header(path: Path) -> MapHeader:
    """Read the header of a `.npy` file.

    Raises:
        OSError: the file cannot be opened.
        ValueError: not a `.npy` file of version 1 or 2.
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            read = np.lib.format.read_array_header_1_0
        elif version == (2, 0):
            read = np.lib.format.read_array_header_2_0
        else:
            raise ValueError(f"version {version[0]}.{version[1]} of the format")
        try:
            shape, fortran_order, dtype = read(file)
        except tokenize.TokenError as error:  # of NumPy's reader of old headers
            raise ValueError(f"damaged header: {error.args[0]}") from None
        return MapHeader(shape, fortran_order, dtype, file.tell())


def read_maps(path: Path, header: MapHeader, first: int, count: int) -> Float32Array:
    """Read consecutive maps into memory of their own, so that no page of the file stays mapped.

    Args:
        path: map file.
        header: its header.
        first: number of the first map.
        count: how many.

    Returns:
        Maps, shape (count, N, N).
    """
    n_pixels = int(np.prod(header.shape[1:]))
    start = header.offset + first * n_pixels * PIXEL_DTYPE.itemsize
    return np.fromfile(path, PIXEL_DTYPE, count * n_pixels, offset=start).reshape(count, *header.shape[1:])


def stream_maps(path: Path, header: MapHeader) -> Iterator[tuple[int, Float32Array]]:
    """Read a map file of any size in blocks of at most 32 MiB (or one map).

    Yields:
        Number of the first map of the block, and the block, shape (n, N, N).
    """
    n_maps = header.shape[0]
    step = max(1, _BLOCK_BYTES // (PIXEL_DTYPE.itemsize * int(np.prod(header.shape[1:]))))
    for first in range(0, n_maps, step):
        yield first, read_maps(path, header, first, min(step, n_maps - first))


def read_parameters(path: Path) -> Float64Array:
    """Read the parameter table; text after `#` is a comment.

    Returns:
        Parameters, shape (n_simulations, 6).

    Raises:
        DataError: file missing or empty, a word that is not a number, a row that has not six columns.
    """
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise DataError(
            [f"{path}: cannot be read ({error.strerror}); every map file needs {PARAMETERS_NAME}"]
        ) from None
    rows = [words for line in lines if (words := line.partition("#")[0].split())]
    if not rows:
        raise DataError([f"{path}: no rows; one row a simulation is expected: {' '.join(PARAMETER_NAMES)}"])
    if defects := [defect for number, words in enumerate(rows) if (defect := _row_defect(path, number, words))]:
        raise DataError(defects[:1])
    return np.array(rows, dtype=np.float64)


def _row_defect(path: Path, number: int, words: list[str]) -> str | None:
    if len(words) != len(PARAMETER_NAMES):
        return (
            f"{path}: row {number} has {len(words)} columns; sets with other than six columns are not supported, "
            f"give {' '.join(PARAMETER_NAMES)}"
        )
    wrong = next((word for word in words if not _is_number(word)), None)
    return wrong and f"{path}: row {number} holds {wrong!r}, which is not a number; mend the row"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
