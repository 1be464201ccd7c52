"""How long `fieldlevel check` takes on a suite of CMD size, beside what reading and hashing its maps takes at least.

    python benchmarks/check_speed.py

Makes a suite of random maps in a temporary folder (3.9 GB by default), checks it with the command, which remembers
nothing, and reads and hashes the same file in one thread: medians after a warm-up, the file in the cache of the system.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measuring import arguments_of, median_seconds, print_cpu, run, write_numbers

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.layout import CRITICAL_DENSITY, Layout

CMD = Layout()


@dataclass(frozen=True)
class Arguments:
    """Time the check of a folder."""

    n_simulations: int = 1000
    """Of the suite, 15 maps each."""
    n_pixels: int = 256
    """Pixels a side."""
    json: Path | None = None
    """Write the numbers here too."""


def make_suite(folder: Path, n_simulations: int, n_pixels: int) -> Path:
    """A sound suite of lognormal maps without correlations; returns its map file."""
    rng = np.random.default_rng(0)
    strata = np.array([rng.permutation(n_simulations) for _ in CMD.lows]).T
    theta = CMD.lows + (strata + 0.5) / n_simulations * (CMD.highs - CMD.lows)
    files = SuiteFiles(folder, "Mine")
    np.savetxt(files.own_parameters_path, theta, fmt="%.6f")
    shape = (CMD.n_maps * n_simulations, n_pixels, n_pixels)
    maps = np.lib.format.open_memmap(files.maps_path, "w+", np.float32, shape)
    for number, row in enumerate(theta):
        block = np.exp(row[1] * rng.standard_normal((CMD.n_maps, *shape[1:]), dtype=np.float32))
        mean = CRITICAL_DENSITY * CMD.slab_thickness_mpc_h * row[0]
        maps[CMD.n_maps * number :][: CMD.n_maps] = block * (mean / block.mean())
    maps.flush()
    return files.maps_path


def check(folder: Path) -> None:
    """Check the folder in a new process that finds nothing remembered."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "fieldlevel", "check", str(folder)]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"XDG_CACHE_HOME": cache})


def read_and_hash(path: Path) -> None:
    """The least that a digest of every pixel costs one thread."""
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def main() -> None:
    """Time and print."""
    arguments, device = arguments_of(Arguments), torch.device("cpu")
    print_cpu(os.cpu_count() or 1, "numpy", "fieldlevel")
    with tempfile.TemporaryDirectory() as folder:
        path = make_suite(Path(folder), arguments.n_simulations, arguments.n_pixels)
        numbers = {
            "bytes": path.stat().st_size,
            "check_seconds": median_seconds(lambda: check(Path(folder)), device),
            "read_and_hash_seconds": median_seconds(lambda: read_and_hash(path), device),
        }
    print(
        f"{numbers['bytes'] / 1e9:.2f} GB: check {numbers['check_seconds']:.2f} s, "
        f"reading and SHA-256 in one thread {numbers['read_and_hash_seconds']:.2f} s"
    )
    write_numbers(arguments.json, numbers)


if __name__ == "__main__":
    run(main)
