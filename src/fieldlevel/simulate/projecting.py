"""From the particles of a simulation to the maps of a set.

Lengths of particles are in cells of the force mesh, those of discs in sides of the box. The discs of dark matter and
gas reach to the n-th neighbour, estimated on a mesh as fine as the pixels; stars are points.
"""

import torch
from torch import Tensor

from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.mapmaking.slabs import Discs, Slabs, project_slabs
from fieldlevel.numerics.neighbour_counts import mesh_neighbour_distance
from fieldlevel.simulate.feedback import HydroParticles, Species
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.variants import Variant


def make_maps(
    spec: SimulateSpec, layout: Layout, Omega_m: float, kinds: HydroParticles, field: str, variant: Variant, seed: int
) -> Tensor:
    """Maps of one kind of particle, or of all for Mtot.

    Args:
        spec: resolution.
        layout: box and slabs.
        Omega_m: of the simulation.
        kinds: its particles.
        field: `"Mtot"`, or the kind of particle.
        variant: what is made of them.
        seed: of the simulation.

    Returns:
        (n_maps, n_pixels, n_pixels) float32 in (Msun/h)/(Mpc/h)^2.
    """
    box = layout.box_size_mpc_h
    particle_mass = CRITICAL_DENSITY * Omega_m * box**3 / spec.n_particles**3
    shown = kinds if field == "Mtot" else {field: kinds[field]}
    discs = [_discs(name, species, particle_mass, spec) for name, species in shown.items()]
    return project_slabs(discs, spec.n_pixels, box, Slabs(layout.n_slabs, layout.slab_thickness_mpc_h / box))


def _discs(field: str, species: Species, particle_mass: float, spec: SimulateSpec) -> Discs:
    """Particles with their neighbour radius, estimated on a mesh as fine as the pixels; stars are points."""
    position = species.position / spec.n_mesh
    mass = torch.full_like(position[:, 0], species.mass * particle_mass)
    if field == "Mstar" or len(position) <= spec.n_neighbours:
        return Discs(position, None, mass)
    radius = mesh_neighbour_distance(position * spec.n_pixels, spec.n_pixels, spec.n_neighbours) / spec.n_pixels
    return Discs(position, radius, mass)
