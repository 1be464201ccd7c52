r"""Power spectra of maps beside those of Pylians: agreement of every shell, seconds for all maps of a suite.

The maps are lognormal fields with the logarithmic mean and scatter of total-mass maps, or those of a file in the format
of the CAMELS Multifield Dataset. `Pk_plane` of Pylians transforms in float32, `power_spectrum_2d` in float64, which is
what differs most where a shell has few modes, in the corners. A block of maps is worked through again and again until
`--n-maps` are done; both start from the densities, so that the overdensity which Pylians wants is in its time.

    pip install "Cython<3" numpy pyfftw h5py hdf5plugin && pip install --no-build-isolation Pylians
    python benchmarks/spectra_peers.py --n-maps 15000 --n-threads 2

The process is confined to `--n-threads` cores (Linux); with more than one, Pylians has as many processes, though by
itself it uses one for all but the transform, and fieldlevel as many threads.

References:
    Villaescusa-Navarro 2018, ascl:1811.008 (Pylians); Villaescusa-Navarro et al. 2021, arXiv:2109.10915 (the dataset).
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import Pk_library  # type: ignore[import-not-found]
import tyro
from measuring import confine, print_cpu, run

from fieldlevel import power_spectrum_2d
from fieldlevel.layout import Layout

CMD = Layout()

LOG_MEAN, LOG_STD = 11.1, 0.49
"""Of log10 of the pixels of real total-mass maps."""

Array = npt.NDArray[np.floating]
Spectra = tuple[Array, Array]


@dataclass(frozen=True)
class Arguments:
    """Compare power spectra of maps with Pylians."""

    n_maps: int = 15_000
    n_in_block: int = 500
    n_pixels: int = 256
    n_threads: int = 1
    repeats: int = 3
    maps: Path | None = None
    """A .npy file in CMD format whose first maps are the block; lognormal fields when omitted."""
    seed: int = 1


def lognormal_maps(n_maps: int, n_pixels: int, seed: int) -> Array:
    """Maps whose logarithm is a Gaussian field with P(k) ~ 1 / k^2, float32."""
    k = np.hypot(np.fft.fftfreq(n_pixels, 1 / n_pixels)[:, None], np.arange(n_pixels // 2 + 1))
    noise = np.random.default_rng(seed).standard_normal((n_maps, n_pixels, n_pixels), dtype=np.float32)
    field = np.stack([np.fft.irfft2(np.fft.rfft2(each) / np.maximum(k, 1)) for each in noise])
    return np.asarray(10 ** (LOG_MEAN + LOG_STD * field / field.std()), dtype=np.float32)


def read_maps(path: Path, n_maps: int) -> Array:
    """Return the first maps of a file."""
    return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[:n_maps], dtype=np.float32)


def pylians_spectra(maps: Array) -> Spectra:
    """Every shell of `Pk_plane` without correction for a mass assignment."""
    planes = [Pk_library.Pk_plane(each / each.mean() - 1, CMD.box_size_mpc_h, "None", 1, False) for each in maps]
    return planes[0].k, np.stack([plane.Pk for plane in planes])


def fieldlevel_spectra(maps: Array) -> Spectra:
    """Every shell of `power_spectrum_2d`."""
    return power_spectrum_2d(maps, CMD.box_size_mpc_h, corners=True)


def blocks(maps: Array, n_maps: int) -> Iterator[Array]:
    """Repeat the block until there are `n_maps` maps."""
    for first in range(0, n_maps, len(maps)):
        yield maps[: n_maps - first]


def run_pylians(maps: Array, arguments: Arguments) -> None:
    """All maps by Pylians, a share of each block in each process."""
    if arguments.n_threads == 1:
        for block in blocks(maps, arguments.n_maps):
            pylians_spectra(block)
        return
    with multiprocessing.get_context("fork").Pool(arguments.n_threads) as pool:
        for block in blocks(maps, arguments.n_maps):
            pool.map(pylians_spectra, np.array_split(block, min(arguments.n_threads, len(block))), chunksize=1)


def run_fieldlevel(maps: Array, arguments: Arguments) -> None:
    """All maps by fieldlevel."""
    for block in blocks(maps, arguments.n_maps):
        fieldlevel_spectra(block)


def median_seconds(run: Callable[[Array, Arguments], None], maps: Array, arguments: Arguments) -> float:
    """Median over the repeats."""
    seconds = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        run(maps, arguments)
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def print_agreement(maps: Array) -> None:
    """Largest differences over all maps, up to the Nyquist wavenumber and beyond."""
    (k, power), (k_peer, power_peer) = fieldlevel_spectra(maps), pylians_spectra(maps)
    difference = np.abs(power / power_peer - 1).max(0)
    nyquist = maps.shape[-1] // 2
    print(
        f"{len(maps)} maps, {len(k)} shells: largest relative difference of k {np.abs(k / k_peer - 1).max():.1e}, of P "
        f"{difference[:nyquist].max():.1e} up to the Nyquist wavenumber, {difference[nyquist:].max():.1e} beyond"
    )


def main() -> None:
    """Print the machine, the agreement and the seconds."""
    arguments = tyro.cli(Arguments)
    confine(arguments.n_threads)
    print_cpu(arguments.n_threads, "fieldlevel", "torch", "numpy", "Pylians")
    print(arguments)
    n_block = min(arguments.n_in_block, arguments.n_maps)
    if arguments.maps is None:
        maps = lognormal_maps(n_block, arguments.n_pixels, arguments.seed)
    else:
        maps = read_maps(arguments.maps, n_block)
    peer = median_seconds(run_pylians, maps, arguments)  # before torch has threads, which a fork would not copy
    print_agreement(maps)
    own = median_seconds(run_fieldlevel, maps, arguments)
    for name, seconds in (("Pylians", peer), ("fieldlevel", own)):
        per_map = 1e3 * seconds / arguments.n_maps
        print(f"{name:<11} {seconds:7.2f} s for {arguments.n_maps} maps, {per_map:.3f} ms a map")
    print(f"fieldlevel is {peer / own:.1f} times faster")


if __name__ == "__main__":
    run(main)
