"""What is simulated for the experiment on the number of particles, where a letter simulates its own suites.

The gravity of a small hypercube of its own, some percent of that of the letter: thinned as it is, and with fewer and
with more particles a side. The maps to train on with random numbers of particles come from the simulations of the
letter itself and take no more than their projection; the gravity-only twin needs none.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fieldlevel.mapmaking.ledger import Ledger
from fieldlevel.numerics.device import memory_of
from fieldlevel.simulate.designs import USUAL_ROWS
from fieldlevel.simulate.mock_suite import FEWEST_PARTICLES, plan_suites
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.variants import OF_VARIANTS, least_part
from fieldlevel.study.letter_plan import simulations
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.suites import base_set

KEPT = (1 / 2, 1 / 4, 1 / 8)
"""Random parts of the particles that test maps are made of."""
TRAINING_RANGE = (0.05, 1.0)
"""Of the random parts that maps to train on are made of."""
LATTICE_STEP = 2
TEST_SET = "LHtest"
"""The small hypercube, unless that is the letter's own set."""

_SHARES = {"thinned": (8, 40), "finer": (48, 20)}
"""One of so many simulations of the letter, and at most so many."""
_FEWEST = 4
_NUMBERS_EACH = {"cpu": 90, "cuda": 64}
"""Of 4 bytes for each particle of a kind, where a simulation is at its fullest, on a mesh no finer than its lattice: as
the discs of both kinds are painted there are 31 of the gravity run and of a suite (12 are places and velocities of the
run), 20 of the discs and 8 of their copies, and some for images and what the allocator holds. Without fused kernels
painting takes 57 beside the 31 (measured with 2 x 192^3 particles)."""


def numerics_simulations(spec: LetterSpec) -> list[SimulateSpec]:
    """All mock suites that a letter simulates with this experiment, in the order in which it should.

    The first are those of the letter itself, with maps to train on; then follow those to test on, without twins: of
    a hypercube of its own with its thinned sets, of half the particles a side, and some of twice as many, also thinned
    back.

    Args:
        spec: of the letter; nothing but its own simulations where it leaves the experiment out.
    """
    simulate = simulations(spec)
    if not spec.numerics:
        return [simulate]
    least, n_small = least_part(simulate), n_rows(spec, "thinned")
    training = simulate.thin_training or (max(TRAINING_RANGE[0], least), TRAINING_RANGE[1])
    small = _small(simulate, n_small)
    coarser = _with_particles(small, simulate.n_particles // 4 * 2, n_small)
    finer = _with_particles(small, simulate.n_particles * 2, n_rows(spec, "finer"))
    return [
        replace(simulate, thin_training=training),
        replace(
            small,
            thin=tuple(part for part in KEPT if part >= least),
            thin_kinds=max(KEPT) >= least,
            thin_lattice=(LATTICE_STEP,) if least <= LATTICE_STEP**-3 else (),
        ),
        *([coarser] if coarser.n_particles >= FEWEST_PARTICLES and least_part(coarser) <= 1 else []),
        replace(finer, thin=(1 / 8,)),
    ]


def apart(simulate: SimulateSpec) -> list[SimulateSpec]:
    """The same, but for maps to train on of the gravity-only twin: no network of a letter is trained on those.

    Args:
        simulate: the simulations of a letter.

    Returns:
        What to simulate into one folder, one after the other: where there are maps to train on the suites with these
        and then the twin, whose gravity is a run of its own in any case; else all at once.
    """
    plain = replace(simulate, thin_training=None, smooth_training=None)
    return [simulate] if plain == simulate or not simulate.twin else [replace(simulate, twin=False), plain]


def memory_needed(simulate: SimulateSpec, kind_of_device: str) -> int:
    """Bytes that one simulation of a mesh no finer than its lattice takes, an estimate.

    Args:
        simulate: what is simulated.
        kind_of_device: `"cpu"` or `"cuda"`.

    Example:
        >>> finer = SimulateSpec(n_particles=512, n_mesh=512)
        >>> round(memory_needed(finer, "cuda") / 1e9), round(memory_needed(finer, "cpu") / 1e9)
        (34, 48)
    """
    return 4 * _NUMBERS_EACH[kind_of_device] * simulate.n_particles**3


def lack_of_memory(simulate: SimulateSpec, directory: Path, devices: Sequence[torch.device]) -> str:
    """Why the devices cannot simulate what is not there, so that it is left out and not tried for nothing.

    Args:
        simulate: some of `numerics_simulations`.
        directory: where the maps are to be.
        devices: one for each process.

    Returns:
        Words; none where they can, or everything is there.
    """
    kind, least = devices[0].type, min(map(memory_of, devices))
    n_at_once = 1 if kind == "cuda" else min(len(devices), simulate.n_simulations or USUAL_ROWS)
    needed = n_at_once * memory_needed(simulate, kind)
    if needed <= least or all(Ledger(plan, directory).is_finished() for plan in plan_suites(simulate)):
        return ""
    each = f"{n_at_once} simulations at once take" if n_at_once > 1 else "a simulation takes"
    told = f"{each} some {needed / 1e9:.2g} GB of memory with 2 x {simulate.n_particles}^3 particles"
    return f"{told}, {'a GPU' if kind == 'cuda' else 'this machine'} here has {least / 1e9:.2g} GB"


def _small(simulate: SimulateSpec, n_simulations: int) -> SimulateSpec:
    """The hypercube to test on, with nothing that was asked of the simulations of the letter besides."""
    usual = SimulateSpec()
    return replace(
        simulate,
        set_name=TEST_SET if base_set(simulate.set_name) != TEST_SET else f"{TEST_SET}2",
        n_simulations=n_simulations,
        n_hypercube=n_simulations,
        parameters=None,
        twin=False,
        **{name: getattr(usual, name) for name in OF_VARIANTS},
    )


def n_rows(spec: LetterSpec, which: str) -> int:
    """Simulations of the small hypercube that are `thinned`, or done again with `finer` particles.

    Example:
        >>> from fieldlevel.study.scales import laptop_scale
        >>> n_rows(laptop_scale(), "thinned"), n_rows(laptop_scale(), "finer")
        (15, 4)
    """
    every, most = _SHARES[which]
    return min(max((spec.simulate.n_simulations or USUAL_ROWS) // every, _FEWEST), most)


def _with_particles(simulate: SimulateSpec, n_particles: int, n_simulations: int) -> SimulateSpec:
    """The first rows again with another number of particles; the mesh has no fewer cells than there are of them."""
    return replace(
        simulate,
        set_name=f"{simulate.set_name}n{n_particles}",
        n_simulations=n_simulations,
        n_particles=n_particles,
        n_mesh=max(simulate.n_mesh, n_particles),
    )
