"""What distinguishes the suites on the same gravity runs: the density of their gas, profiles around haloes.

References:
    White 2001, A&A 367, 27 (haloes as spheres of 200 times the critical density).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from benchmarks.simulator.fields import FloatArray, Universe
from benchmarks.simulator.measurement import FIDUCIAL, FIRST_SEED, Measure, Result, Setting
from torch import Tensor

from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.simulate.feedback import HydroParticles, Species
from fieldlevel.simulate.projecting import make_maps
from fieldlevel.simulate.variants import Variant
from fieldlevel.suites import mock_suites

CMD = Layout()

GRAVITY = "gravity alone"
"""What the suites are compared with: dark matter and gas of the run before a baryon model."""
LOG_DENSITY = np.linspace(7.5, 15.0, 76)
"""Edges of the bins of log10 of the surface density of the gas."""
QUANTILES = (0.01, 0.5, 0.99)
MASS_BINS = {"12": (1e12, 1e13), "13": (1e13, np.inf)}
"""Of haloes, M200 [Msun/h]."""
RADII = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Edges of the bins of the profiles, in r200."""
OVERDENSITY = 200.0
"""Of a sphere of r200 over the critical density."""
_SEARCHED_MPC_H = np.geomspace(0.03, 2.5, 120)
_WATERSHED_SHARE = 0.2
"""Of the lowest M200 that the watershed must give a halo for it to be looked at."""


def contrast(setting: Setting) -> Result:
    """Pixels of gas maps, and gas and total matter around haloes, of the suites and of gravity alone."""
    logs: dict[str, list[FloatArray]] = {}
    masses: dict[str, dict[str, list[Result]]] = {mass_bin: {} for mass_bin in MASS_BINS}
    seeds = range(FIRST_SEED, FIRST_SEED + setting.sizes.n_contrast_seeds)
    for seed in seeds:
        universe = Universe(setting.sizes.letter, FIDUCIAL, seed, setting.device)
        haloes = _haloes(universe)
        for name in (GRAVITY, *mock_suites()):
            kinds = _gravity_alone(universe) if name == GRAVITY else universe.particles(name)
            logs.setdefault(name, []).append(_gas_pixels(universe, kinds))
            for halo in haloes:
                masses[halo.mass_bin].setdefault(name, []).append(_shell_masses(universe, kinds, halo))
    pdf = {name: _pdf(np.concatenate(each)) for name, each in logs.items()}
    profiles = {mass_bin: _ratios(found) for mass_bin, found in masses.items() if found}
    return {
        "n_seeds": len(seeds),
        "edges": LOG_DENSITY,
        "pdf": pdf,
        "radii": RADII,
        "profiles": profiles,
        "mass_bins": {name: [low, None if np.isinf(high) else high] for name, (low, high) in MASS_BINS.items()},
    }


def _gravity_alone(universe: Universe) -> HydroParticles:
    (dark_mass, gas_mass), (dark_velocity, velocity) = universe.run.particles.mass, universe.run.velocities
    return {
        "Mcdm": Species(universe.run.dark_matter, dark_mass, dark_velocity),
        "Mgas": Species(universe.run.gas, gas_mass, velocity),
    }


def _gas_pixels(universe: Universe, kinds: HydroParticles) -> FloatArray:
    """log10 of the gas in the pixels of 15 maps [(Msun/h)/(Mpc/h)^2]."""
    spec, Omega_m = universe.spec, universe.cosmology.Omega_m
    maps = make_maps(spec, CMD, Omega_m, kinds, "Mgas", Variant(spec.set_name), universe.seed)
    return maps.double().log10_().flatten().cpu().numpy()


def _pdf(logs: FloatArray) -> Result:
    counts, _ = np.histogram(logs.clip(LOG_DENSITY[0], LOG_DENSITY[-1]), LOG_DENSITY)
    width = LOG_DENSITY[1] - LOG_DENSITY[0]
    return {
        "mean": logs.mean(),
        "std": logs.std(),
        "quantiles": np.quantile(logs, QUANTILES),
        "histogram": counts / (len(logs) * width),
    }


@dataclass(frozen=True)
class _Halo:
    """Centre (3,) on the CPU and r200 in cells, and the bin of its mass."""

    centre: Tensor
    r200: float
    mass_bin: str


def _haloes(universe: Universe) -> list[_Halo]:
    """Those of the bins, from the most massive on, whose centre is in no halo before them."""
    found, run = universe.run.haloes, universe.run
    mean_mass = CRITICAL_DENSITY * universe.cosmology.Omega_m * CMD.box_size_mpc_h**3 / len(run.gas)
    lowest = min(low for low, _ in MASS_BINS.values())
    mass, centres = (found.mass * mean_mass).cpu(), found.centre.cpu()
    order = mass.argsort(descending=True)
    haloes: list[_Halo] = []
    for centre in centres[order[mass[order] > _WATERSHED_SHARE * lowest]]:
        if not any(_distance(centre, halo.centre, found.n_mesh) < halo.r200 for halo in haloes):
            haloes += _measured(universe, centre)
    return haloes


def _distance(centre: Tensor, other: Tensor, n_mesh: int) -> float:
    return float(_from_centre(other[None], centre, n_mesh))


def _from_centre(position: Tensor, centre: Tensor, n_mesh: int) -> Tensor:
    """Distances (n,) from a point in a periodic box, cells."""
    offset = position - centre
    return torch.linalg.vector_norm(offset.sub_(offset.div(n_mesh).round_().mul_(n_mesh)), dim=1)


def _measured(universe: Universe, centre: Tensor) -> list[_Halo]:
    """The halo around a centre, if its mass is in a bin: the largest sphere that is dense enough."""
    cell, Omega_m = universe.run.cell_mpc_h, universe.cosmology.Omega_m
    edges = np.concatenate([[0.0], _SEARCHED_MPC_H]) / cell
    in_shells = _masses_in(universe, _gravity_alone(universe), centre, edges)
    mean_mass = CRITICAL_DENSITY * Omega_m * CMD.box_size_mpc_h**3 / len(universe.run.gas)
    inside = np.sum(list(in_shells.values()), axis=0).cumsum() * mean_mass
    dense = inside / (4 / 3 * np.pi * _SEARCHED_MPC_H**3) > OVERDENSITY * CRITICAL_DENSITY
    if not dense.any():
        return []
    largest = int(np.flatnonzero(dense)[-1])
    mass, radius = float(inside[largest]), float(_SEARCHED_MPC_H[largest])
    return [_Halo(centre, radius / cell, name) for name, (low, high) in MASS_BINS.items() if low <= mass < high]


def _masses_in(universe: Universe, kinds: HydroParticles, centre: Tensor, edges: FloatArray) -> dict[str, FloatArray]:
    """Mass of each kind between radii [cells], in units of the mean mass per lattice point."""
    bounds = torch.tensor(edges, dtype=torch.float32, device=universe.run.gas.device)
    found = {}
    for name, kind in kinds.items():
        distance = _from_centre(kind.position, centre.to(kind.position.device), universe.run.particles.n_mesh)
        place = torch.bucketize(distance[distance < bounds[-1]], bounds, right=True) - 1
        counts = torch.bincount(place, minlength=len(edges) - 1).double().cpu().numpy()
        found[name] = counts * kind.mass
    return found


def _shell_masses(universe: Universe, kinds: HydroParticles, halo: _Halo) -> Result:
    """Gas and total matter in the bins of a halo's profile."""
    found = _masses_in(universe, kinds, halo.centre, np.array(RADII) * halo.r200)
    return {"gas": found["Mgas"], "total": sum(found.values())}


def _ratios(masses: Mapping[str, Sequence[Result]]) -> Result:
    """Mass of all haloes of a bin over that of gravity alone, by suite and matter."""
    totals = {
        name: {matter: np.sum([halo[matter] for halo in haloes], axis=0) for matter in ("gas", "total")}
        for name, haloes in masses.items()
    }
    alone = totals.pop(GRAVITY)
    suites = {
        name: {matter: each[matter] / np.maximum(alone[matter], 1e-30) for matter in each}
        for name, each in totals.items()
    }
    return {"n_haloes": len(masses[GRAVITY]), "suites": suites}


MEASURES: dict[str, Measure] = {"contrast": contrast}
