"""Is a CMD-format folder sound? Every defect in plain words: the file, what is wrong, where, what to do."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fieldlevel.errors import DataError
from fieldlevel.maps.cmd_format import (
    MAPS_NAME,
    PIXEL_DTYPE,
    Float64Array,
    MapHeader,
    SuiteFiles,
    list_parameter_files,
    list_suites,
    read_header,
    read_parameters,
)
from fieldlevel.maps.labels import mass_defects, parameter_defects
from fieldlevel.maps.pixels import pixel_defects, survey_pixels
from fieldlevel.parameters import MAPS_PER_SIMULATION
from fieldlevel.progress import Listener, ignore

_SMALLEST_MAP = 16

_Stamp = tuple[Path, int, int]
_verdicts: dict[tuple[_Stamp, _Stamp], list[str]] = {}


class _Tables(NamedTuple):
    """Header and labels, None where they cannot be used, and every defect that shows without reading a pixel."""

    header: MapHeader | None
    theta: Float64Array | None
    defects: list[str]


def check_directory(directory: str | Path, listener: Listener = ignore) -> list[str]:
    """Find every defect of a folder of CMD files.

    Args:
        directory: folder of map and parameter files.
        listener: told about maps read.

    Returns:
        One line a defect; an empty list for a sound folder.

    Example:
        >>> check_directory("no-such-folder")
        ['no-such-folder: no such folder; name the folder that holds the map files']
    """
    folder = Path(directory)
    try:
        suites = list_suites(folder)
    except DataError as error:
        return [*error.defects, *orphan_defects(folder, [])]
    defects = [defect for files in suites for defect in check_suite(files, listener)]
    return list(dict.fromkeys([*defects, *orphan_defects(folder, suites)]))


def orphan_defects(directory: Path, suites: Sequence[SuiteFiles]) -> list[str]:
    """Name the files of a folder that nobody will read: labels without maps, maps under another name.

    Args:
        directory: folder to look in.
        suites: every map file of it.

    Returns:
        One line a file.
    """
    used = {files.parameters_path for files in suites}
    orphans = [path for path in list_parameter_files(directory) if path not in used]
    known = {files.maps_path for files in suites}
    strangers = sorted(path for path in directory.glob("Maps_*") if path not in known)
    return [
        *(f"{path}: labels without maps; add {MAPS_NAME} or take the file away" for path in orphans),
        *(f"{path}: not a name that is read; rename it to {MAPS_NAME} or take it away" for path in strangers),
    ]


def check_suite(files: SuiteFiles, listener: Listener = ignore) -> list[str]:
    """Find every defect of one map file and its parameter file, reading the maps in a stream.

    A verdict is remembered while this process lives and both files keep their size and time of change.

    Args:
        files: the suite to check.
        listener: told about maps read.

    Returns:
        One line a defect; an empty list for a sound suite.
    """
    try:
        key = _stamp(files.maps_path), _stamp(files.parameters_path)
    except OSError:
        return list(_all_defects(files, listener))
    if key not in _verdicts:
        _verdicts[key] = list(_all_defects(files, listener))
    return list(_verdicts[key])


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return path.absolute(), status.st_size, status.st_mtime_ns


def _all_defects(files: SuiteFiles, listener: Listener) -> Iterator[str]:
    header, theta, defects = _inspect_tables(files)
    yield from defects
    if header is None:
        return
    survey = survey_pixels(files.maps_path, header, listener)
    yield from pixel_defects(files, survey)
    if theta is not None and header.shape[0] == MAPS_PER_SIMULATION * len(theta):
        yield from mass_defects(files, theta, survey.mean)


def check_tables(files: SuiteFiles) -> list[str]:
    """Find the defects that show without reading a pixel: header, size, number of maps, parameters.

    Args:
        files: the suite to check.

    Returns:
        One line a defect, in the words of `check_suite`.
    """
    return _inspect_tables(files).defects


def _inspect_tables(files: SuiteFiles) -> _Tables:
    header, defects = _inspect_header(files.maps_path)
    try:
        theta = read_parameters(files.parameters_path)
    except DataError as error:
        return _Tables(header, None, [*defects, *error.defects])
    if header is not None:
        defects += _count_defects(files, header.shape[0], len(theta))
    return _Tables(header, theta, [*defects, *parameter_defects(files, theta)])


def _inspect_header(path: Path) -> tuple[MapHeader | None, list[str]]:
    try:
        header = read_header(path)
    except OSError as error:
        return None, [f"{path}: cannot be read ({error.strerror}); every parameter file needs its {MAPS_NAME}"]
    except ValueError as error:
        return None, [f"{path}: not a .npy file ({error}); fetch it again or save it with numpy.save"]
    defects = [f"{path}: {defect}" for defect in _layout_defects(header)] or _size_defects(path, header)
    return (None if defects else header), defects


def _layout_defects(header: MapHeader) -> Iterator[str]:
    if header.dtype != PIXEL_DTYPE:
        name = "Python objects" if header.dtype.hasobject else header.dtype.str
        yield f"pixels are {name}; save the maps as little-endian float32 (<f4)"
    if header.fortran_order:
        yield "stored in Fortran order; save numpy.ascontiguousarray of the maps"
    if len(header.shape) != 3:
        yield f"array of shape {header.shape}; save the maps with shape (number of maps, N, N)"
    elif not _is_square_of_two_power(header.shape[1:]):
        yield f"maps of {header.shape[1]} x {header.shape[2]} pixels; give N x N with N = 16, 32, 64, ..."


def _is_square_of_two_power(shape: tuple[int, ...]) -> bool:
    n = shape[0]
    return shape == (n, n) and n >= _SMALLEST_MAP and n & (n - 1) == 0


def _size_defects(path: Path, header: MapHeader) -> list[str]:
    promised = header.offset + PIXEL_DTYPE.itemsize * int(np.prod(header.shape))
    size = path.stat().st_size
    if size == promised:
        return []
    what = "truncated" if size < promised else "too long"
    return [f"{path}: {what}, {size} bytes where its header promises {promised}; fetch the file again"]


def _count_defects(files: SuiteFiles, n_maps: int, n_simulations: int) -> list[str]:
    expected = MAPS_PER_SIMULATION * n_simulations
    if n_maps == expected:
        return []
    what = "not a multiple of" if n_maps % n_simulations else f"not {MAPS_PER_SIMULATION} for each of"
    return [
        f"{files.maps_path}: {n_maps} maps, {what} the {n_simulations} simulations of {files.parameters_path.name}, "
        f"which need {expected}; fetch the file again or give the labels that belong to it"
    ]
