"""From the particles of a simulation to the maps of a set.

Lengths of particles are in cells of the force mesh, those of discs in sides of the box. The discs of dark matter and
gas reach to the n-th neighbour among the particles that make the map, estimated on a mesh as fine as its pixels; stars
are points.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.mapmaking.fields import FIELDS
from fieldlevel.mapmaking.one_slab import numbers_in_slabs, project_one_slab
from fieldlevel.mapmaking.slabs import Discs, Slabs, project_slabs
from fieldlevel.mapmaking.thinning import Thinning, check_enough, on_sublattice
from fieldlevel.numerics.neighbour_counts import mesh_neighbour_distance
from fieldlevel.numerics.random import uniform
from fieldlevel.simulate.feedback import HydroParticles, Species
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.tracers import MOST, places, tracers
from fieldlevel.simulate.variants import Variant

_POINTS = "Mstar"
_KINDS = ("Mcdm", "Mgas", "Mstar")
_FRACTION_STREAM, _NEIGHBOUR_STREAM = 50, 53
"""Random streams of `fieldlevel.numerics.random`, of the fractions one for each kind."""


def make_maps(
    spec: SimulateSpec,
    layout: Layout,
    Omega_m: float,
    kinds: HydroParticles,
    field: str,
    variant: Variant,
    seed: int,
) -> Tensor:
    """Maps of one set and field of a simulation.

    Args:
        spec: resolution.
        layout: box and slabs.
        Omega_m: of the simulation.
        kinds: its particles.
        field: one of the kinds, or Mtot for all of them.
        variant: the set.
        seed: of the simulation, from which all that is random in a variant comes.

    Returns:
        (n_maps, n_pixels, n_pixels) surface densities in (Msun/h)/(Mpc/h)^2. The mass of each kind is that of all its
        particles: over the slabs of an axis, or where each map has a part of its own in every map.

    Raises:
        UserError: a part of so few particles that they have no n-th neighbour.
    """
    particle_mass = CRITICAL_DENSITY * Omega_m * layout.box_size_mpc_h**3 / spec.n_particles**3
    shown = kinds if field == "Mtot" else {field: kinds[field]}
    make = _drawn_maps if variant.is_drawn_by_map else _equal_maps
    return make(spec, layout, particle_mass, shown, variant, seed)


def _slabs(layout: Layout) -> Slabs:
    return Slabs(layout.n_slabs, layout.slab_thickness_mpc_h / layout.box_size_mpc_h)


def _equal_maps(
    spec: SimulateSpec, layout: Layout, particle_mass: float, shown: HydroParticles, variant: Variant, seed: int
) -> Tensor:
    """All maps from the same part of the particles."""
    discs = []
    for name, species in shown.items():
        position, factor = _part(name, species, variant, spec, seed)
        discs.append(_discs(name, position, species.mass * factor * particle_mass, spec))
    return project_slabs(discs, spec.n_pixels, layout.box_size_mpc_h, _slabs(layout))


def _part(name: str, species: Species, variant: Variant, spec: SimulateSpec, seed: int) -> tuple[Tensor, float]:
    """Positions of the kept particles in cells, and how many times as much each stands for."""
    if variant.is_plain or (variant.kinds and name not in variant.kinds):
        return species.position, 1.0
    if variant.fraction is None:
        kept = on_sublattice(places(species, spec.n_particles), spec.n_particles, variant.every)
    else:
        kept = Thinning(variant.fraction, seed).kept(species.number, _kind(name))
    return _kept(name, species.position, kept, len(species.position), spec.n_neighbours)


def _kept(name: str, position: Tensor, kept: Tensor, n: int, n_neighbours: int) -> tuple[Tensor, float]:
    """Some particles and the mass of each in terms of those of the simulation, of which there are n."""
    part = position[kept]
    if name != _POINTS and n > n_neighbours:
        check_enough(len(part), _kind(name), n_neighbours, "a part of the particles")
    return part, n / max(len(part), 1)


def _kind(name: str) -> str:
    return FIELDS[name].kinds[0]


def _discs(name: str, position: Tensor, mass: float, spec: SimulateSpec, n_neighbours: int | None = None) -> Discs:
    """Particles with their neighbour radius, estimated on a mesh as fine as the pixels; stars are points."""
    n_neighbours = n_neighbours or spec.n_neighbours
    position = position / spec.n_mesh
    masses = torch.full_like(position[:, 0], mass)
    if name == _POINTS or len(position) <= n_neighbours:
        return Discs(position, None, masses)
    radius = mesh_neighbour_distance(position * spec.n_pixels, spec.n_pixels, n_neighbours) / spec.n_pixels
    return Discs(position, radius, masses)


def _drawn_maps(
    spec: SimulateSpec, layout: Layout, particle_mass: float, shown: HydroParticles, variant: Variant, seed: int
) -> Tensor:
    """Each map from a random part of the particles, which have the mass of all in its slab.

    The i-th slabs along the three axes share a part, so five searches for neighbours, in the whole box, serve fifteen
    maps. A kind of which no particle of a slab is kept is shown whole there.
    """
    slabs, box, total = _slabs(layout), layout.box_size_mpc_h, torch.zeros(())
    for name, species in shown.items():
        numbers = numbers_in_slabs(species.position / spec.n_mesh, slabs).tolist()
        maps: dict[int, Tensor] = {}
        for number, discs in enumerate(_drawn_discs(name, species, spec, variant, seed, slabs.count)):
            for axis in range(layout.n_axes):
                place, slab = slabs.count * axis + number, (axis, number, spec.n_pixels, box, slabs)
                image = project_one_slab(discs, *slab)
                if numbers[place] and not image.any():
                    image = project_one_slab(_discs(name, species.position, 1.0, spec), *slab)
                mean = numbers[place] * species.mass * particle_mass / box**2
                maps[place] = image * (mean / image.mean(dtype=torch.float64).clamp(min=1e-30)).to(image.dtype)
        total = torch.stack([maps[place] for place in sorted(maps)]).add_(total.to(species.position.device))
    return total


def _drawn_discs(
    name: str, species: Species, spec: SimulateSpec, variant: Variant, seed: int, n_draws: int
) -> Iterator[Discs]:
    """The particles of a kind for each draw in turn, of unit mass."""
    position, number, n = species.position, species.number, len(species.position)
    high = variant.fractions[1] if variant.fractions is not None else 1.0
    if high > 1 and name != _POINTS:
        position, number = tracers(species, spec.n_particles, spec.n_mesh)
    for draw in range(n_draws):
        part, n_neighbours = species.position, spec.n_neighbours
        if variant.fractions is not None:
            fraction = fraction_of_draw(variant.fractions, seed, draw, name)
            kept = _drawn_part(fraction, seed, draw, _kind(name), number, n)
            part, _ = _kept(name, position[: len(kept)], kept, n, n_neighbours)
        if variant.neighbours is not None:
            n_neighbours = neighbours_of_draw(variant.neighbours, seed, draw)
        yield _discs(name, part, 1.0, spec, n_neighbours)


def _drawn_part(fraction: float, seed: int, draw: int, kind: str, number: Tensor, n: int) -> Tensor:
    """Which particles make a map: a fraction up to one of the simulation's own, beyond one all of these and tracers."""
    if fraction <= 1 or len(number) == n:
        return Thinning(fraction, seed, draw + 1).kept(number[:n], kind)
    added = Thinning((fraction - 1) / (MOST - 1), seed, draw + 1).kept(number[n:], kind)
    return torch.cat([torch.ones_like(number[:n], dtype=torch.bool), added])


def fraction_of_draw(fractions: tuple[float, float], seed: int, draw: int, name: str) -> float:
    """Fraction of a kind in the maps of one slab number, log-uniform, the same in every suite of a row.

    Args:
        fractions: the smallest and the largest.
        seed: of the simulation.
        draw: number of the slab.
        name: CMD field of the kind.

    Example:
        >>> [round(fraction_of_draw((0.05, 1.0), 1, draw, "Mcdm"), 2) for draw in range(2)]
        [0.46, 0.09]
    """
    low, high = fractions
    return low * math.pow(high / low, _lot(seed, _FRACTION_STREAM + _KINDS.index(name), draw))


def neighbours_of_draw(neighbours: tuple[int, int], seed: int, draw: int) -> int:
    """Neighbour that the discs of one draw reach to, log-uniform and rounded; arguments as of `fraction_of_draw`."""
    low, high = neighbours
    return round(low * math.pow(high / low, _lot(seed, _NEIGHBOUR_STREAM, draw)))


def _lot(seed: int, stream: int, draw: int) -> float:
    return float(uniform(torch.tensor(draw), seed, stream))
