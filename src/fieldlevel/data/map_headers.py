"""Is the header of a map file sound, and is behind it what it promises?"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from fieldlevel.data.cmd_format import MAPS_NAME, SuiteFiles
from fieldlevel.data.npy_files import PIXEL_DTYPE, MapHeader, read_header
from fieldlevel.data.pixels import MAY_VANISH
from fieldlevel.errors import DataError, UserError
from fieldlevel.layout import Layout

_SMALLEST_MAP = 16
_SMALLEST_HOLE = 2**20


def sound_header(path: Path) -> MapHeader:
    """Header of one map file.

    Raises:
        DataError: the first defect that shows without reading a pixel, in the words of `check_suite`.
    """
    header, defects = inspect_header(path)
    if header is None:
        raise DataError(defects[:1])
    return header


def inspect_header(path: Path) -> tuple[MapHeader | None, list[str]]:
    """Header of a map file, None where it cannot be used, and every defect of it."""
    try:
        header = read_header(path)
    except UserError as error:
        return None, [str(error)]
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
    if header.shape[:1] == (0,):
        yield f"array of shape {header.shape}, which holds no maps; fetch the file again"
    elif len(header.shape) != 3:
        yield f"array of shape {header.shape}; save the maps with shape (number of maps, N, N)"
    elif not _is_square_of_two_power(header.shape[1:]):
        yield f"maps of {header.shape[1]} x {header.shape[2]} pixels; give N x N with N = 16, 32, 64, ..."


def resolution_defect(files: SuiteFiles, header: MapHeader, layout: Layout) -> str | None:
    """Name maps of another size than their layout says, where it says any."""
    n_pixels = header.shape[-1]
    if layout.n_pixels in (0, n_pixels):
        return None
    told = f"maps of {n_pixels} x {n_pixels} pixels, where {files.layout_path.name} says {layout.n_pixels}"
    return f"{files.maps_path}: {told}; mend it, or fetch the file again"


def _is_square_of_two_power(shape: tuple[int, ...]) -> bool:
    n = shape[0]
    return shape == (n, n) and n >= _SMALLEST_MAP and n & (n - 1) == 0


def _size_defects(path: Path, header: MapHeader) -> list[str]:
    promised = header.offset + PIXEL_DTYPE.itemsize * math.prod(header.shape)
    size = path.stat().st_size
    if size == promised:
        return []
    what = "truncated" if size < promised else "too long"
    return [f"{path}: {what}, {size} bytes where its header promises {promised}; fetch the file again"]


def hole_defect(files: SuiteFiles, header: MapHeader) -> str | None:
    """Name a stretch of a file that was never written, of which every pixel reads as zero."""
    start, end = _first_hole(files.maps_path, header.offset)
    if files.field in MAY_VANISH or end - start < _SMALLEST_HOLE:
        return None
    bytes_each = PIXEL_DTYPE.itemsize * math.prod(header.shape[1:])
    first, last = ((place - header.offset) // bytes_each for place in (start, end - 1))
    return (
        f"{files.maps_path}: pixels that are zero in maps {first} to {last}: never written, as after a download that "
        "broke off; fetch the file again"
    )


def _first_hole(path: Path, offset: int) -> tuple[int, int]:
    """Where the first hole of a file begins and ends; both its end where it has none, or the system cannot tell."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            start = os.lseek(file.fileno(), offset, os.SEEK_HOLE)
        except (OSError, AttributeError):
            return size, size
        try:
            return start, os.lseek(file.fileno(), start, os.SEEK_DATA) if start < size else size
        except OSError:  # no data behind it
            return start, size
