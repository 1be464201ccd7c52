"""One simulation: a label and a seed -> particles -> baryons of every suite -> surface-density maps.

The hydrodynamic run starts from two lattices, dark matter and gas. It depends on Omega_m, sigma_8 and the seed alone,
so the baryon models of all suites start from the same one. Its gravity-only twin starts from one lattice with the same
modes. All are projected with the letter's discs.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360, section 2.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from itertools import chain

import torch
from torch import Tensor

from fieldlevel.errors import UserError
from fieldlevel.mapmaking.contents import SuiteField, plan_name
from fieldlevel.mapmaking.production import Maps
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.own_code import told
from fieldlevel.simulate.feedback import Feedback, GravityRun, HydroParticles, Species
from fieldlevel.simulate.haloes import Haloes
from fieldlevel.simulate.nbody import Particles, evolve, initial_particles, steps_needed
from fieldlevel.simulate.projecting import make_maps
from fieldlevel.simulate.sets import Row, layout_of_spec
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.variants import Variant
from fieldlevel.suites import facts_of, is_nbody, layout_of, nbody_twin

SIMULATOR_VERSION = "3"
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


def simulated_suites(spec: SimulateSpec) -> tuple[str, ...]:
    """The suites that a spec asks for, and after them the gravity-only twin of their run, if it is wanted.

    Example:
        >>> simulated_suites(SimulateSpec(suites=("MockSIMBA",), twin=False))
        ('MockSIMBA',)
    """
    twins = map(nbody_twin, spec.suites) if spec.twin else ()
    return tuple(dict.fromkeys((*spec.suites, *twins)))


def map_keys(spec: SimulateSpec, suite: str) -> tuple[SuiteField, ...]:
    """Suite and field of all the maps that a simulation makes for a suite or for the twin.

    Example:
        >>> map_keys(SimulateSpec(fields=("Mtot", "Mgas")), "MockTNG")
        (('MockTNG', 'Mtot'), ('MockTNG', 'Mgas'))
    """
    return ((suite, "Mtot"),) if is_nbody(suite) else tuple((suite, field) for field in spec.fields)


def _leave(_suite: str, _kinds: HydroParticles) -> None:
    """Do nothing with the particles but make maps of them."""


def simulate_maps(
    spec: SimulateSpec,
    rows: Mapping[str, Row],
    wanted: Sequence[tuple[str, Variant]],
    device: torch.device,
    keep: Callable[[str, HydroParticles], None] = _leave,
) -> dict[str, Maps]:
    """One simulation from its labels to its maps.

    Args:
        spec: fields and resolution.
        rows: label and seed in each of the spec's suites; Omega_m, sigma_8 and the seed are the same in all.
        wanted: suites, or the twin, and what is to be made of their particles.
        device: where to compute; the result agrees between devices to float32 round-off amplified by gravity.
        keep: gets the particles of each of the suites before its maps are made.

    Returns:
        By `plan_name` of each that is wanted, maps by `map_keys`: (n_maps, n_pixels, n_pixels) float32 in
        (Msun/h)/(Mpc/h)^2.
    """
    suites, made = tuple(dict.fromkeys(suite for suite, _ in wanted)), dict[str, Maps]()
    for suite, kinds in simulate_particles(spec, rows, suites, device):
        keep(suite, kinds)
        for name, variant in wanted:
            if name == suite:
                made[plan_name(suite, variant.set_name)] = _maps_of(spec, rows, suite, kinds, variant)
        del kinds  # two suites at once would fill the memory of a GPU
    return made


def simulate_particles(
    spec: SimulateSpec, rows: Mapping[str, Row], suites: Sequence[str], device: torch.device
) -> Iterator[tuple[str, HydroParticles]]:
    """One simulation from its labels to the particles of suites today, one after the other on one gravity run.

    Args:
        spec: resolution.
        rows: label and seed in each of the spec's suites.
        suites: of these, or the gravity-only twin, for which the run is made anew with one kind of particle.
        device: where to compute.

    Yields:
        Suite and particles, those with baryons first. Whoever lets go of them before the next has one at a time.

    Raises:
        UserError: a suite without a baryon model, or with one that changes the gravity run that others start from.
    """
    first = next(iter(rows.values()))
    cosmology = Cosmology(*first.parameters[:2])
    if with_baryons := [suite for suite in suites if not is_nbody(suite)]:
        make = _remembered_run if _shares_gravity.get() else _new_run
        yield from _with_baryons(with_baryons, rows, make(spec, cosmology, first.seed, device))
    if twins := [suite for suite in suites if is_nbody(suite)]:
        matter = nbody_run(spec, cosmology, first.seed, device)
        for twin in twins:
            yield twin, {"Mcdm": Species(matter.position, 1.0, matter.velocity)}


_remembered: dict[tuple[SimulateSpec, Cosmology, int, torch.device], GravityRun] = {}
"""The last gravity run of this process that others may start from; one at most."""


_shares_gravity: ContextVar[bool] = ContextVar("shares_gravity", default=False)


@contextmanager
def shared_gravity() -> Iterator[None]:
    """Around a simulation from which another differs in its feedback alone: its gravity run is remembered."""
    token = _shares_gravity.set(True)
    try:
        yield
    finally:
        _shares_gravity.reset(token)


def forget_run() -> None:
    """Let go of the gravity run that was remembered, if any, and of its memory."""
    _remembered.clear()


def _remembered_run(spec: SimulateSpec, cosmology: Cosmology, seed: int, device: torch.device) -> GravityRun:
    origin = (spec, cosmology, seed, device)
    if origin not in _remembered:
        _remembered[origin] = _new_run(*origin)
    return _remembered[origin]


def _new_run(spec: SimulateSpec, cosmology: Cosmology, seed: int, device: torch.device) -> GravityRun:
    """One run at a time: what was remembered goes first."""
    forget_run()
    return gravity_run(spec, cosmology, seed, device)


def _with_baryons(
    suites: Sequence[str], rows: Mapping[str, Row], run: GravityRun
) -> Iterator[tuple[str, HydroParticles]]:
    for suite in suites:
        yield suite, _move_baryons(suite, rows[suite], run)


def _move_baryons(suite: str, row: Row, run: GravityRun) -> HydroParticles:
    """Particles of a suite, whose model must leave the run as it is for the others."""
    before = _versions(run)
    kinds = baryon_model(suite)(run, Feedback(*row.parameters[2:]))
    after = _versions(run)
    if any(after[name] != version for name, version in before.items()):
        named = facts_of(suite).model
        raise UserError(f"suite {suite}: {named} changes the gravity run in place; have it work on copies")
    return kinds


def _versions(run: GravityRun) -> dict[str, int]:
    """How often each tensor of the run, and of what was derived from it, has been changed in place."""
    derived = [vars(each) for each in vars(run).values() if isinstance(each, Particles | Haloes)]
    found = chain(vars(run).items(), *(values.items() for values in derived))
    return {name: each._version for name, each in found if isinstance(each, Tensor)}


def _maps_of(spec: SimulateSpec, rows: Mapping[str, Row], suite: str, kinds: HydroParticles, variant: Variant) -> Maps:
    row, layout = next(iter(rows.values())), layout_of(suite, spec.set_name)
    return {
        key: make_maps(spec, layout, row.parameters[0], kinds, key[1], variant, row.seed).cpu().numpy()
        for key in map_keys(spec, suite)
    }


def gravity_run(spec: SimulateSpec, cosmology: Cosmology, seed: int, device: torch.device) -> GravityRun:
    """Dark matter and gas under gravity alone today, what a baryon model starts from."""
    particles = _gravity(spec, cosmology, seed, device, with_gas=True)
    return GravityRun(particles, cosmology, seed, layout_of_spec(spec, spec.suites[0]).box_size_mpc_h)


def nbody_run(spec: SimulateSpec, cosmology: Cosmology, seed: int, device: torch.device) -> Particles:
    """All matter as one kind under gravity alone today: the twin."""
    return _gravity(spec, cosmology, seed, device, with_gas=False)


def _gravity(spec: SimulateSpec, cosmology: Cosmology, seed: int, device: torch.device, *, with_gas: bool) -> Particles:
    box_size_mpc_h = layout_of_spec(spec, spec.suites[0]).box_size_mpc_h
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
