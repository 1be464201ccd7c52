"""Maps: the disc recipe against an exact one, pixels of whole sets, pixels of hydrodynamic maps over their twin's."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from benchmarks.simulator.fields import preset_steps
from benchmarks.simulator.measurement import FIDUCIAL, FIRST_SEED, Measure, Result, Setting
from scipy.spatial import cKDTree
from torch import Tensor

from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.mapmaking.contents import SuiteField
from fieldlevel.mapmaking.slabs import Discs, project_slabs
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.discs import paint_discs
from fieldlevel.numerics.neighbour_counts import mesh_neighbour_distance
from fieldlevel.simulate.feedback import Species
from fieldlevel.simulate.sets import Row, rows_of_set
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.simulation import nbody_run, simulate_maps, simulate_particles, simulated_suites
from fieldlevel.simulate.variants import Variant
from fieldlevel.suites import MOCK_TWIN, mock_suites

CMD = Layout()

MapStack = npt.NDArray[np.float32]

PATCH_COSMOLOGY = Cosmology(Omega_m=0.2948, sigma_8=0.75925)
"""Of the one real matched patch, see `PATCH` in `benchmarks.simulator.reference`."""
QUANTILES = ((0.0, 0.5), (0.5, 0.9), (0.9, 0.99), (0.99, 0.999), (0.999, 1.0))
"""Of the pixels in the order of the N-body map, from the emptiest to the densest."""
PATCH_PIXELS = 64
"""A side of the patch, 6.25 Mpc/h."""
_GOLDEN_ANGLE = np.pi * (3 - 5**0.5)
_CHUNK = 2**22
_MEAN_RADII = 5


@dataclass(frozen=True)
class HypercubeMaps:
    """Latin-hypercube rows spread evenly, all suites and the twin of a row made together.

    Attributes:
        Omega_m: of the rows, (n,).
        n_steps: of the rows.
        maps: total matter of every suite and of the twin, (n, 15, N, N) each.
        seconds: from labels to maps in the memory of the host, a row, after a row to warm up.
        peak_gib: of the device's memory, where it is a GPU.
    """

    Omega_m: npt.NDArray[np.float64]
    n_steps: list[int]
    maps: dict[str, MapStack]
    seconds: list[float]
    peak_gib: float | None


def hypercube_maps(setting: Setting) -> HypercubeMaps:
    """Those that several measurements share; made once in a process."""
    return _hypercube_maps(setting.sizes.letter, setting.sizes.n_map_rows, str(setting.device))


@lru_cache(maxsize=1)
def _hypercube_maps(spec: SimulateSpec, n_rows: int, name: str) -> HypercubeMaps:
    spec, device = of_suites(spec), torch.device(name)
    rows = hypercube_rows(spec, n_rows)
    maps_of_row(spec, rows[0], device)
    start_peak(device)
    made, seconds = [], []
    for row in rows:
        began = time.perf_counter()
        made.append(maps_of_row(spec, row, device))
        seconds.append(time.perf_counter() - began)
    cosmologies = [Cosmology(*next(iter(row.values())).parameters[:2]) for row in rows]
    return HypercubeMaps(
        np.array([cosmology.Omega_m for cosmology in cosmologies]),
        [preset_steps(spec, cosmology) for cosmology in cosmologies],
        {suite: np.stack([maps[suite, "Mtot"] for maps in made]) for suite in simulated_suites(spec)},
        seconds,
        peak_gib(device),
    )


def hypercube_rows(spec: SimulateSpec, n_rows: int) -> list[dict[str, Row]]:
    """Rows of the latin hypercube of 1,000, spread evenly: label and seed in each suite of a spec."""
    spec = replace(spec, set_name="LH", n_simulations=None)
    sets = {suite: rows_of_set(spec, suite) for suite in spec.suites}
    every = len(sets[spec.suites[0]]) // n_rows
    return [{suite: rows[every * i] for suite, rows in sets.items()} for i in range(n_rows)]


def start_peak(device: torch.device) -> None:
    """Forget the largest memory so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gib(device: torch.device) -> float | None:
    """Largest memory of a GPU since `start_peak`."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None


def of_suites(spec: SimulateSpec, *suites: Any) -> SimulateSpec:
    """The spec of these suites; of all mock suites when omitted."""
    return replace(spec, suites=suites or mock_suites())


def same_row(spec: SimulateSpec, row: Row) -> dict[str, Row]:
    """One label in all suites of a spec."""
    return dict.fromkeys(spec.suites, row)


def fiducial_feedback(cosmology: Cosmology, seed: int) -> Row:
    """A row of fiducial feedback."""
    return Row((cosmology.Omega_m, cosmology.sigma_8, 1.0, 1.0, 1.0, 1.0), seed)


def maps_of_row(
    spec: SimulateSpec, rows: Mapping[str, Row], device: torch.device
) -> dict[SuiteField, npt.NDArray[np.float32]]:
    """Maps of the suites of a spec and of their twin, by suite and field."""
    wanted = [(suite, Variant(spec.set_name)) for suite in simulated_suites(spec)]
    made = simulate_maps(spec, rows, wanted, device)
    return {key: maps for each in made.values() for key, maps in each.items()}


def discs(setting: Setting) -> Result:
    """Neighbour radii and discs of one slab against a k-d tree and discs of very many points."""
    spec, n_pixels = setting.sizes.letter, setting.sizes.letter.n_pixels
    position = nbody_run(spec, FIDUCIAL, FIRST_SEED, setting.device).position.div(spec.n_mesh).remainder(1.0)
    inside = position[:, 0] < 1 / CMD.n_slabs
    estimate = mesh_neighbour_distance(position * n_pixels, n_pixels, spec.n_neighbours)[inside]
    exact = _exact_radius(position, inside, spec.n_neighbours) * n_pixels
    plane = position[inside][:, 1:] * n_pixels
    first, second = (_many_points(plane, exact, setting.sizes.n_points_a_disc, n_pixels, turn) for turn in (0.0, 0.5))
    mass = torch.ones_like(exact)
    ratio = (estimate / exact).log10().double().cpu().numpy()
    wide = exact.cpu().numpy() > 1
    return {
        "n_particles_in_slab": len(plane),
        "n_points_a_disc": setting.sizes.n_points_a_disc,
        "radius": {name: _spread(ratio[chosen]) for name, chosen in (("wide", wide), ("narrow", ~wide))},
        "share_narrow": 1 - wide.mean(),
        "reference_dex": _rms_dex(first, second),
        "discs_dex": _rms_dex(paint_discs(plane, exact, mass, n_pixels), first),
        "all_dex": _rms_dex(paint_discs(plane, estimate, mass, n_pixels), first),
        "all_power": _power_ratio(paint_discs(plane, estimate, mass, n_pixels), first),
    }


def _exact_radius(position: Tensor, inside: Tensor, k: int) -> Tensor:
    """Distance to the k-th neighbour of those inside the slab; box units.

    The tree holds what is nearer to the slab than several times the mean distance; beyond that only a void of less than
    a hundredth of the mean density would reach.
    """
    margin = _MEAN_RADII * (3 * (k + 1) / (4 * np.pi * len(position))) ** (1 / 3)
    away = torch.minimum((position[:, 0] - 1 / CMD.n_slabs).clamp(min=0), 1 - position[:, 0])
    points = position[inside | (away < margin)].double().cpu().numpy() % 1.0
    wanted = position[inside].double().cpu().numpy() % 1.0
    distance, _ = cKDTree(points, boxsize=1.0).query(wanted, k=[k + 1], workers=-1)
    return torch.from_numpy(distance[:, 0]).to(position)


def _many_points(plane: Tensor, radius: Tensor, n_points: int, n_pixels: int, turn: float) -> Tensor:
    """Discs as sunflowers of points, each disc turned by an angle of its own: mass in the pixels (N, N)."""
    place = torch.arange(n_points, device=plane.device)
    distance, angle = ((place + 0.5) / n_points).sqrt(), place * _GOLDEN_ANGLE
    counts = torch.zeros(n_pixels**2, dtype=torch.float64, device=plane.device)
    for i in range(0, len(plane), n := max(_CHUNK // n_points, 1)):
        own = angle + 2 * np.pi * (turn + torch.arange(i, min(i + n, len(plane)), device=plane.device)[:, None] * 0.618)
        offset = torch.stack([own.cos(), own.sin()], -1) * distance[:, None] * radius[i : i + n, None, None]
        x, y = (plane[i : i + n, None] + offset).floor().long().remainder(n_pixels).unbind(-1)
        counts += torch.bincount((x * n_pixels + y).view(-1), minlength=n_pixels**2)
    return (counts / n_points).view(n_pixels, n_pixels)


def _spread(ratio_dex: npt.NDArray[np.float64]) -> Result:
    if not ratio_dex.size:
        return {"median": None, "scatter": None}
    low, middle, high = np.percentile(ratio_dex, [16, 50, 84])
    return {"median": 10**middle - 1, "scatter": (high - low) / 2 * np.log(10)}


def _rms_dex(image: Tensor, reference: Tensor) -> float:
    """Rms of log10(image / reference) over the pixels that both fill."""
    filled = (image > 0) & (reference > 0)
    return float((image.double()[filled] / reference[filled]).log10().square().mean().sqrt())


def _power_ratio(image: Tensor, reference: Tensor) -> float:
    """Power of one map over that of the other in the upper half of its wavenumbers."""
    n = image.shape[0]
    frequency = torch.fft.fftfreq(n, device=image.device)
    high = (frequency[:, None] ** 2 + frequency[None, : n // 2 + 1] ** 2).sqrt()
    chosen = (high > 0.25) & (high < 0.5)
    power = [torch.fft.rfft2(each.double()).abs().square()[chosen].sum() for each in (image, reference)]
    return float(power[0] / power[1])


def statistics(setting: Setting) -> Result:
    """Mean, standard deviation and range of the pixels of latin-hypercube rows, and their histogram."""
    edges, made = np.linspace(9, 16, 141), hypercube_maps(setting)
    suites = {
        suite: _pixel_statistics(torch.from_numpy(maps).to(setting.device), edges) for suite, maps in made.maps.items()
    }
    expected_mean = made.Omega_m.mean() * CRITICAL_DENSITY * CMD.box_size_mpc_h / CMD.n_slabs
    return {"n_rows": len(made.Omega_m), "edges": edges, "expected_mean": expected_mean, "suites": suites}


def _pixel_statistics(maps: Tensor, edges: npt.NDArray[np.float64]) -> Result:
    logarithm, n_bins, width = maps.log10(), len(edges) - 1, edges[1] - edges[0]
    place = logarithm.sub(edges[0]).div_(width).long().clamp_(0, n_bins - 1)
    counts = torch.bincount(place.view(-1), minlength=n_bins)
    mean, log_mean = maps.mean(dtype=torch.float64), logarithm.mean(dtype=torch.float64)
    return {
        "log_mean": log_mean,
        "log_std": logarithm.double().sub_(log_mean).square_().mean().sqrt(),
        "minimum": maps.min(),
        "maximum": maps.max(),
        "mean": mean,
        "std": maps.double().sub_(mean).square_().mean().sqrt(),
        "histogram": counts.double() / (maps.numel() * width),
    }


def pixels(setting: Setting) -> Result:
    """log10(hydro / N-body) at the cosmology of the real patch: slabs, the box, and two boxes behind one another."""
    sizes, device = setting.sizes, setting.device
    letter, half = of_suites(sizes.letter), of_suites(sizes.half)
    pairs = {"letter": (letter, sizes.n_patch_pairs), "half": (half, sizes.n_half_patch_pairs)}
    suites: dict[str, Result] = {suite: {} for suite in mock_suites()}
    for name, (spec, n_pairs) in pairs.items():
        maps = _disc_maps(spec, 2 * n_pairs, device)
        _add_differences(suites, maps, {depth: f"{name} {depth}" for depth in (5, 25, 50)})
    _add_differences(suites, _point_maps(letter, 2, device), {50: "letter 50 points"})
    return {"n_pairs": sizes.n_patch_pairs, "n_half_pairs": sizes.n_half_patch_pairs, "suites": suites}


def _add_differences(suites: dict[str, Result], maps: Mapping[str, MapStack], names: Mapping[int, str]) -> None:
    """Add statistics of hydro over N-body to each suite, by the names of the depths [Mpc/h]."""
    for depth, name in names.items():
        deep = {suite: _deepened(stack, depth) for suite, stack in maps.items()}
        for suite, found in suites.items():
            found[name] = _difference(deep[suite], deep[MOCK_TWIN])


def _disc_maps(spec: SimulateSpec, n: int, device: torch.device) -> dict[str, MapStack]:
    """Maps (n, 15, N, N) of each suite and of the twin as the suites have them."""
    made = [
        maps_of_row(spec, same_row(spec, fiducial_feedback(PATCH_COSMOLOGY, FIRST_SEED + i)), device) for i in range(n)
    ]
    return {suite: np.stack([maps[suite, "Mtot"] for maps in made]) for suite in simulated_suites(spec)}


def _point_maps(spec: SimulateSpec, n: int, device: torch.device) -> dict[str, MapStack]:
    """The same without discs: cloud-in-cell on half pixels, averaged to pixels."""
    made: dict[str, list[MapStack]] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + n):
        rows = same_row(spec, fiducial_feedback(PATCH_COSMOLOGY, seed))
        for suite, kinds in simulate_particles(spec, rows, simulated_suites(spec), device):
            painted = [_without_discs(each, spec.n_mesh) for each in kinds.values()]
            made.setdefault(suite, []).append(project_slabs(painted, spec.n_pixels, CMD.box_size_mpc_h).cpu().numpy())
    return {suite: np.stack(maps) for suite, maps in made.items()}


def _without_discs(species: Species, n_mesh: int) -> Discs:
    position = species.position / n_mesh
    return Discs(position, torch.zeros_like(position[:, 0]), torch.full_like(position[:, 0], species.mass))


def _deepened(maps: MapStack, depth_mpc_h: int) -> MapStack:
    """Maps (m, N, N) projected through one slab, the five of an axis, or those of two simulations."""
    n_pixels = maps.shape[-1]
    if depth_mpc_h == 5:
        return maps.reshape(-1, n_pixels, n_pixels)
    boxes = maps.reshape(len(maps), 3, CMD.n_slabs, n_pixels, n_pixels).sum(2)
    if depth_mpc_h == 50:
        boxes = boxes[::2] + boxes[1::2]
    return boxes.reshape(-1, n_pixels, n_pixels)


def _difference(hydro: MapStack, nbody: MapStack) -> Result:
    """Statistics of log10(hydro / N-body), all pixels together; the scatter from patch to patch."""
    ratio, order = np.log10(hydro / nbody), np.argsort(nbody, axis=None)
    ranked = ratio.ravel()[order]
    side = min(PATCH_PIXELS, ratio.shape[-1])
    n = ratio.shape[-1] // side
    patches = ratio[:, : n * side, : n * side].reshape(-1, n, side, n, side).std(axis=(2, 4))
    centred = ratio - ratio.mean(axis=(1, 2), keepdims=True)
    return {
        "mean": ratio.mean(),
        "std": ratio.std(),
        "percentile_1": np.percentile(ratio, 1),
        "percentile_99": np.percentile(ratio, 99),
        "std_by_density": [ranked[int(low * ranked.size) : int(high * ranked.size)].std() for low, high in QUANTILES],
        "neighbour_correlation": (centred * np.roll(centred, 1, axis=-1)).mean() / centred.var(),
        "std_of_patches": np.percentile(patches, [5, 50, 95]),
    }


MEASURES: dict[str, Measure] = {"discs": discs, "statistics": statistics, "pixels": pixels}
