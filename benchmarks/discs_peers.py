r"""Neighbour radii and discs beside those of Pylians and SciPy: agreement of a map, seconds of the whole step.

Two clustered runs stand for gas and dark matter. `voronoi_NGP_2D` of Pylians, which made the CAMELS Multifield Dataset,
spreads a particle over tracers of a projected uniform sphere, sigma(b) ~ sqrt(1 - b^2 / R^2), and `fieldlevel` over a
uniform disc. Each is compared with the exact image of what it draws: discs by their shared areas with the pixels,
spheres as the superposition of discs of radius R sqrt(1 - u^2) with mass 3/2 (1 - u^2) du, by Gauss-Legendre
quadrature. The whole step is the distance to the 32nd neighbour and 15 maps of both kinds; the peers are one periodic
cKDTree, queried in the order of the particles, and Pylians.

    pip install "Cython<3" numpy pyfftw h5py hdf5plugin && pip install --no-build-isolation Pylians
    python benchmarks/discs_peers.py --n-particles 128 --n-threads 1

The process is confined to `--n-threads` cores (Linux); with more than one, kinds and axes are painted in as many
processes for both, though Pylians by itself uses one. All painters get the same radii. What fieldlevel compiles is
compiled before the clock starts.

References:
    Villaescusa-Navarro 2018, ascl:1811.008 (Pylians); Villaescusa-Navarro et al. 2021, arXiv:2109.10915 (the dataset).
"""

import contextlib
import io
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import MAS_library  # type: ignore[import-not-found]
import numpy as np
import torch
import tyro
from measuring import confine, print_cpu, run
from scipy.spatial import cKDTree
from torch import Tensor

from fieldlevel.layout import Layout
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.discs import paint_discs, paint_layers
from fieldlevel.numerics.discs_exact import paint_discs_exact, paint_layers_exact
from fieldlevel.numerics.neighbours import neighbour_distance
from fieldlevel.simulate.nbody import evolve, initial_particles

CMD = Layout()

K = 32
PLANES = ((1, 2), (0, 2), (0, 1))
Kind = tuple[Tensor, Tensor]
Layers = Callable[[Tensor, Tensor, Tensor, Tensor, int, int], Tensor]


@dataclass(frozen=True)
class Arguments:
    """Compare neighbour radii and discs with SciPy and Pylians."""

    n_particles: int = 128
    n_pixels: int = 256
    n_threads: int = 1
    repeats: int = 3
    n_tracers: int = 1000
    n_rings: int = 20
    n_steps: int = 20
    Omega_m: float = 0.3
    sigma_8: float = 0.8
    seed: int = 1


def simulate(arguments: Arguments, seed: int) -> Tensor:
    """Particles today, in pixels of the map, float64."""
    n_mesh = 2 * arguments.n_particles
    start = initial_particles(
        Cosmology(arguments.Omega_m, arguments.sigma_8),
        seed,
        n_particles=arguments.n_particles,
        n_mesh=n_mesh,
        a_start=0.05,
        box_size_mpc_h=CMD.box_size_mpc_h,
        device=torch.device("cpu"),
    )
    today = evolve(start, arguments.Omega_m, 0.05, arguments.n_steps).position.double()
    return today.mul(arguments.n_pixels / n_mesh).remainder(arguments.n_pixels)


def plain_tree(position: Tensor, box: int, n_threads: int) -> Tensor:
    """Distance to neighbour K by one query for 33 neighbours of every particle."""
    points = position.numpy() % box
    distance, _ = cKDTree(points, boxsize=box).query(points, k=K + 1, workers=n_threads)
    return torch.from_numpy(distance[:, K])


def paint_pylians(
    position: Tensor, radius: Tensor, mass: Tensor, n_pixels: int, n_tracers: int, n_rings: int
) -> Tensor:
    """Tracer-sampled spheres of Pylians in the place of `paint_discs`."""
    image = np.zeros((n_pixels, n_pixels))
    columns = (values.float().contiguous().numpy() for values in (position, mass, radius))
    with contextlib.redirect_stdout(io.StringIO()):
        MAS_library.voronoi_NGP_2D(image, *columns, 0.0, 0.0, float(n_pixels), n_tracers, n_rings, True)
    return torch.from_numpy(image)


def paint_spheres_exact(position: Tensor, radius: Tensor, mass: Tensor, n_pixels: int, n_nodes: int = 24) -> Tensor:
    """Projected uniform spheres as a superposition of exact discs."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    u = (nodes + 1) / 2
    shares = 0.75 * weights * (1 - u**2)
    discs = zip(np.sqrt(1 - u**2).tolist(), shares.tolist(), strict=True)
    return torch.stack([paint_discs_exact(position, radius * s, mass * w, n_pixels) for s, w in discs]).sum(0)


def pylians_layers(
    position: Tensor, radius: Tensor, mass: Tensor, layer: Tensor, n_layers: int, n_pixels: int, arguments: Arguments
) -> Tensor:
    """Pylians in the place of `paint_layers_exact`: the slabs one after the other."""
    chosen = [layer == i for i in range(n_layers)]
    sampling = (n_pixels, arguments.n_tracers, arguments.n_rings)
    return torch.stack([paint_pylians(position[some], radius[some], mass[some], *sampling) for some in chosen])


def ladder_layers(
    position: Tensor, radius: Tensor, mass: Tensor, layer: Tensor, n_layers: int, n_pixels: int
) -> Tensor:
    """The ladder of radii, in float32 as in the simulator."""
    return paint_layers(position.float(), radius.float(), mass.float(), layer.float(), n_layers, n_pixels)


def slabs_of_axis(paint: Layers, kinds: Sequence[Kind], n_pixels: int, task: tuple[int, int]) -> Tensor:
    """Five maps of one kind along one axis."""
    (position, radius), axis = kinds[task[0]], task[1]
    slab = (position[:, axis] * (CMD.n_slabs / n_pixels)).floor().clamp(max=CMD.n_slabs - 1)
    plane = position[:, PLANES[axis]]
    return paint(plane, radius, torch.ones_like(radius), slab, CMD.n_slabs, n_pixels)


def paint_all(paint: Layers, kinds: Sequence[Kind], arguments: Arguments) -> Tensor:
    """Fifteen maps of each kind."""
    tasks = [(kind, axis) for kind in range(len(kinds)) for axis in range(3)]
    work = partial(slabs_of_axis, paint, kinds, arguments.n_pixels)
    if arguments.n_threads == 1:
        return torch.cat([work(task) for task in tasks])
    with multiprocessing.get_context("fork").Pool(arguments.n_threads) as pool:
        return torch.cat([torch.from_numpy(maps) for maps in pool.map(partial(_as_array, work), tasks, chunksize=1)])


def _as_array(work: Callable[[tuple[int, int]], Tensor], task: tuple[int, int]) -> np.ndarray:
    return work(task).numpy()


def timed(run: Callable[[], Tensor], repeats: int) -> tuple[Tensor, float]:
    """Result and median seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return result, median(seconds)


def warm_up(n_pixels: int) -> None:
    """Compile both compiled parts of fieldlevel."""
    points = n_pixels * torch.rand(100, 3, dtype=torch.float64)
    paint_discs_exact(points[:, :2], neighbour_distance(points, n_pixels, K), torch.ones(100), n_pixels)


def print_agreement(name: str, image: Tensor, exact: Tensor, seconds: float, n_discs: int) -> None:
    """One line of the table of painters; dex are of pixels above a hundredth of the mean."""
    error, std = (image - exact).abs(), exact.std()
    bright = exact > 0.01 * exact.mean()
    dex = (image[bright] / exact[bright]).log10().abs()
    relative = f"{error.square().mean().sqrt() / std:8.1e} {error.max() / std:8.1e}"
    print(
        f"{name:<34} {seconds:7.3f} s {1e6 * seconds / n_discs:6.2f} us a disc  "
        f"dex rms {dex.square().mean().sqrt():.1e} max {dex.max():.1e}  over std rms, max {relative}  "
        f"mass {abs(image.sum() / exact.sum() - 1):.0e}",
        flush=True,
    )


def compare_painters(arguments: Arguments, kind: Kind) -> None:
    """One slab of one kind by all painters."""
    position, radius = kind
    inside = position[:, 2] < arguments.n_pixels / CMD.n_slabs
    plane, radius, mass = position[inside][:, :2], radius[inside], torch.ones(int(inside.sum()), dtype=torch.float64)
    discs, n, repeats = (plane, radius, mass), arguments.n_pixels, arguments.repeats
    exact, seconds = timed(lambda: paint_discs_exact(*discs, n), repeats)
    spheres = paint_spheres_exact(*discs, n)
    print(f"{len(mass)} discs, radius {radius.min():.2f} to {radius.max():.1f} pixels, median {radius.median():.2f}")
    print_agreement("fieldlevel, exact discs", exact, exact, seconds, len(mass))
    ladder, seconds = timed(lambda: paint_discs(plane.float(), radius.float(), mass.float(), n), repeats)
    print_agreement("fieldlevel, ladder of radii", ladder.double(), exact, seconds, len(mass))
    for factor in (1, 10):
        sampling = arguments.n_tracers * factor, round(arguments.n_rings * math.sqrt(factor))
        image, seconds = timed(partial(paint_pylians, *discs, n, *sampling), repeats if factor == 1 else 1)
        name = f"Pylians, {sampling[0]} tracers"
        print_agreement(f"{name}, of spheres", image, spheres, seconds, len(mass))
        if factor == 1:
            print_agreement(f"{name}, of discs", image, exact, seconds, len(mass))


def compare_steps(arguments: Arguments, positions: Sequence[Tensor]) -> list[Kind]:
    """Radii and 15 maps of both kinds, by the peers and by fieldlevel."""
    box, n_threads = arguments.n_pixels, arguments.n_threads
    searches = {
        "peers": lambda: torch.stack([plain_tree(each, box, n_threads) for each in positions]),
        "fieldlevel": lambda: torch.stack([neighbour_distance(each, box, K, n_threads) for each in positions]),
    }
    radii, search_s = zip(*(timed(search, 1) for search in searches.values()), strict=True)
    print(f"largest difference of radii: {(radii[0] / radii[1] - 1).abs().max():.1e}")
    kinds = [(position, radius) for position, radius in zip(positions, radii[0], strict=True)]
    painters: dict[str, Layers] = {
        "cKDTree + Pylians": partial(pylians_layers, arguments=arguments),
        "fieldlevel, exact": paint_layers_exact,
        "fieldlevel, ladder": ladder_layers,
    }
    total: dict[str, float] = {}
    for name, paint in painters.items():
        _, discs_s = timed(partial(paint_all, paint, kinds, arguments), 1)
        neighbours_s = search_s[name.startswith("fieldlevel")]
        total[name] = neighbours_s + discs_s
        ratio = total["cKDTree + Pylians"] / total[name]
        print(
            f"{name:<20} neighbours {neighbours_s:6.1f} s, discs {discs_s:6.1f} s, whole step {ratio:.2f} times faster"
        )
    return kinds


def main() -> None:
    """Print the machine and both tables."""
    arguments = tyro.cli(Arguments)
    confine(arguments.n_threads)
    torch.set_num_threads(1)  # the other cores are for processes and trees
    print_cpu(arguments.n_threads, "fieldlevel", "torch", "scipy", "Pylians")
    print(arguments)
    warm_up(arguments.n_pixels)
    positions = [simulate(arguments, arguments.seed + kind) for kind in range(2)]
    kinds = compare_steps(arguments, positions)
    compare_painters(arguments, kinds[0])


if __name__ == "__main__":
    run(main)
