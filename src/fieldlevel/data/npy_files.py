"""Map files: what the header of a `.npy` file promises, and maps read in blocks."""

import ast
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldlevel.errors import DataError
from fieldlevel.files import check_regular, naming

Float32Array = npt.NDArray[np.float32]

PIXEL_DTYPE = np.dtype("<f4")
_BLOCK_BYTES = 4 * 2**20
_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
_LONGEST_HEADER = 10_000
_PLAIN_TYPE = re.compile(r"[<>|=]?[?a-zA-Z]\d{0,4}(\[\w*\])?")
_MOST_AXES, _MOST_PIXELS = 32, 2**60


class MapHeader(NamedTuple):
    """What the header of a `.npy` file promises."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[np.generic]
    offset: int
    """Bytes before the first pixel."""


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
