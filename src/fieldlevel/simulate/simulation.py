"""One simulation: a label and a seed -> particles -> baryons -> surface-density maps.

The hydrodynamic run starts from two lattices, dark matter and gas, and ends with a baryon model; its gravity-only twin
starts from one lattice with the same modes. Both are projected with the letter's discs.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360, section 2.
"""

from collections.abc import Callable, Mapping
from importlib import import_module

import torch
from torch import Tensor

from fieldlevel.data.npy_files import Float32Array
from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.mapmaking.contents import SuiteField
from fieldlevel.mapmaking.slabs import Discs, Slabs, project_slabs
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.neighbour_counts import mesh_neighbour_distance
from fieldlevel.own_code import told
from fieldlevel.simulate.feedback import Feedback, GravityRun, HydroParticles, Species
from fieldlevel.simulate.nbody import Particles, evolve, initial_particles, steps_needed
from fieldlevel.simulate.sets import Row, layout_of_spec
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.suites import facts_of, nbody_twin

SIMULATOR_VERSION = "2"
"""Raised whenever the same spec gives other maps, so that old ones are not taken for new ones."""

BaryonModel = Callable[[GravityRun, Feedback], HydroParticles]


def baryon_model(suite: str) -> BaryonModel:
    """What makes the baryons of a mock suite, as `suites.SuiteFacts.model` names it.

    Raises:
        UserError: the suite has none, or it cannot be imported.
    """
    named = facts_of(suite).model
    module, _, function = named.partition(":")
    with told(f"suite {suite}: no baryon model {named!r}", "register one, module:function"):
        model: BaryonModel = getattr(import_module(module), function)
    return model


def map_keys(spec: SimulateSpec) -> tuple[SuiteField, ...]:
    """Suite and field of all the maps that a simulation makes.

    Example:
        >>> map_keys(SimulateSpec(fields=("Mtot", "Mgas")))
        (('MockTNG', 'Mtot'), ('MockTNG', 'Mgas'), ('Nbody_MockTNG', 'Mtot'))
    """
    return (*((spec.suite, field) for field in spec.fields), (nbody_twin(spec.suite), "Mtot"))


def simulate_maps(spec: SimulateSpec, row: Row, device: torch.device) -> dict[SuiteField, Float32Array]:
    """One simulation from its label to its maps.

    Args:
        spec: the suite, its fields and its resolution.
        row: label and seed.
        device: where to compute; the result agrees between devices to float32 round-off amplified by gravity.

    Returns:
        For each of `map_keys`, (n_maps, n_pixels, n_pixels) float32 in (Msun/h)/(Mpc/h)^2.
    """
    return maps_of_particles(spec, row, simulate_particles(spec, row, device))


def simulate_particles(spec: SimulateSpec, row: Row, device: torch.device) -> dict[str, HydroParticles]:
    """One simulation from its label to its particles today: those of the suite and of its gravity-only twin."""
    Omega_m, sigma_8, A_SN1, A_AGN1, A_SN2, A_AGN2 = row.parameters
    cosmology, feedback = Cosmology(Omega_m, sigma_8), Feedback(A_SN1, A_AGN1, A_SN2, A_AGN2)
    kinds = baryon_model(spec.suite)(gravity_run(spec, cosmology, row.seed, device), feedback)
    twin = nbody_run(spec, cosmology, row.seed, device)
    return {spec.suite: kinds, nbody_twin(spec.suite): {"Mcdm": Species(twin.position, 1.0, twin.velocity)}}


def maps_of_particles(
    spec: SimulateSpec, row: Row, particles: Mapping[str, HydroParticles]
) -> dict[SuiteField, Float32Array]:
    """Maps of the particles of `simulate_particles`, as `simulate_maps` gives them."""
    Omega_m, layout = row.parameters[0], layout_of_spec(spec)
    return {
        (suite, field): _map_of(spec, layout, Omega_m, particles[suite], field).cpu().numpy()
        for suite, field in map_keys(spec)
    }


def gravity_run(spec: SimulateSpec, cosmology: Cosmology, seed: int, device: torch.device) -> GravityRun:
    """Dark matter and gas under gravity alone today, what a baryon model starts from."""
    particles = _gravity(spec, cosmology, seed, device, with_gas=True)
    return GravityRun(particles, cosmology, seed, layout_of_spec(spec).box_size_mpc_h)


def nbody_run(spec: SimulateSpec, cosmology: Cosmology, seed: int, device: torch.device) -> Particles:
    """All matter as one kind under gravity alone today: the twin."""
    return _gravity(spec, cosmology, seed, device, with_gas=False)


def _gravity(spec: SimulateSpec, cosmology: Cosmology, seed: int, device: torch.device, *, with_gas: bool) -> Particles:
    box_size_mpc_h = layout_of_spec(spec).box_size_mpc_h
    start = initial_particles(
        cosmology,
        seed,
        n_particles=spec.n_particles,
        n_mesh=spec.n_mesh,
        a_start=spec.a_start,
        box_size_mpc_h=box_size_mpc_h,
        device=device,
        with_gas=with_gas,
    )
    n_steps = steps_needed(cosmology, box_size_mpc_h / spec.n_particles, spec.step_error)
    return evolve(start, cosmology.Omega_m, spec.a_start, n_steps)


def _map_of(spec: SimulateSpec, layout: Layout, Omega_m: float, kinds: HydroParticles, field: str) -> Tensor:
    """Maps (n_maps, n_pixels, n_pixels) of one kind of particle, or of all for Mtot."""
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
