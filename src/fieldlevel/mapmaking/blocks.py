"""Map files of their final size, in which every simulation has its block.

They are opened so that no link is followed.
"""

import os
from io import BytesIO
from pathlib import Path

import numpy as np

from fieldlevel.data.npy_files import PIXEL_DTYPE, Float32Array
from fieldlevel.files import naming, open_own
from fieldlevel.mapmaking.contents import Plan


def npy_header(plan: Plan) -> bytes:
    """Header of a map file of a plan."""
    shape = (plan.n_simulations * plan.maps_each, plan.n_pixels, plan.n_pixels)
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": PIXEL_DTYPE.str, "fortran_order": False, "shape": shape})
    return header.getvalue()


def block_bytes(plan: Plan) -> int:
    """Bytes of the maps of one simulation in one file."""
    return plan.maps_each * plan.n_pixels**2 * PIXEL_DTYPE.itemsize


def create_maps(path: Path, plan: Plan) -> None:
    """A map file of the final size, without blocks on disk where the file system allows it."""
    path.unlink(missing_ok=True)
    header = npy_header(plan)
    with naming(path), os.fdopen(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(header)
        file.truncate(len(header) + plan.n_simulations * block_bytes(plan))


def read_start(path: Path, n_bytes: int) -> bytes:
    """The first bytes of a file that is no link."""
    with naming(path), os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        return file.read(n_bytes)


def write_block(path: Path, plan: Plan, number: int, maps: Float32Array) -> None:
    """Put the maps of a simulation in their place and wait until they are on disk."""
    block = np.ascontiguousarray(maps, PIXEL_DTYPE).reshape(plan.maps_each, plan.n_pixels, plan.n_pixels)
    with naming(path), os.fdopen(open_own(path, os.O_WRONLY), "wb") as file:
        file.seek(len(npy_header(plan)) + number * block_bytes(plan))
        file.write(block.data)
        file.flush()
        os.fsync(file.fileno())
