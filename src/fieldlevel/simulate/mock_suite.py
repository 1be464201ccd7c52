"""Mock suites in CMD format: a set of simulations, spread over processes and devices, resumable.

Labels and seeds come from `sets`, the maps of one simulation from `simulation`; `mapmaking.production` makes and stores
them. One gravity run feeds all suites that lack a simulation and, in a process, all simulations after one another that
differ in their feedback alone, as those of 1P and EX. The result depends neither on the shards nor on the workers nor
on the suites that are made together, but for the round-off of the devices.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (sets), arXiv:2109.10915 (file format).
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fieldlevel.crews import current_crew
from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.layout_files import differences
from fieldlevel.errors import UserError, shown
from fieldlevel.extras import refuse_without
from fieldlevel.mapmaking.contents import Plan, plan_name
from fieldlevel.mapmaking.ledger import Ledger
from fieldlevel.mapmaking.production import Maps, produce_maps
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.numerics.memory import check_fits
from fieldlevel.progress import Listener, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.simulate import simulation
from fieldlevel.simulate.feedback import HydroParticles
from fieldlevel.simulate.sets import Row, check_suite, describe_labels, layout_of_spec, pinned, rows_of_set
from fieldlevel.simulate.simulate_spec import SIMULATED_FIELDS, SimulateSpec
from fieldlevel.simulate.snapshot_writer import SNAPSHOT_NAME, write_snapshot
from fieldlevel.simulate.variants import OF_VARIANTS, Variant, check_variants, most_neighbours, variants_of
from fieldlevel.spec_io import in_plain_types, refuse_values
from fieldlevel.suites import (
    MOCK_ORIGIN,
    SuiteFacts,
    facts_of,
    is_known,
    is_nbody,
    layout_of,
    mock_suites,
    nbody_twin,
    register_suite,
)
from fieldlevel.workers import choose_devices

_WHOLE = Shard()
MANY = 100
"""Simulations for which it is worth while to start processes that share a GPU."""
FEWEST_PARTICLES = 8
"""A side."""
_MOST_PARTICLES, _MOST_CELLS = 4096, 16384
_BYTES = 4
_BESIDE = ("suites", "twin", *OF_VARIANTS)
"""Settings that say what is made beside some maps, not what these follow from."""
_LATER = ("n_seeds", "n_values")
"""Settings that records of before they were there lack; left out where nobody gave them."""


@dataclass(frozen=True)
class Filled:
    """What became of a folder.

    Attributes:
        made: plans that were worked on.
        there: plans that were finished before.
        missing: numbers of the simulations that are missing in some plan, those of other shards.
    """

    made: tuple[Plan, ...]
    there: tuple[Plan, ...]
    missing: tuple[int, ...]


def simulate_suite(
    spec: SimulateSpec,
    directory: Path | str,
    device: str = "auto",
    workers: int = 1,
    listener: Listener = ignore,
    shard: Shard = _WHOLE,
    *,
    keep_snapshots: bool = False,
    verbose: bool = False,
) -> Path:
    """Simulate suites on shared gravity runs, and their gravity-only twin, into a folder of CMD files.

    What a killed run has made is continued; a suite that is added to a folder makes its own maps alone.

    Args:
        spec: the suites, their set, fields and resolution.
        directory: where the files go; several shards may work in it at once.
        device: `"auto"` (every CUDA device, the CPU where there is none), `"cuda"` (every one), `"cuda:1"`, `"cpu"`.
        workers: processes on the CPU, one thread each, or on each GPU, for 100 simulations and more: two fill each
            other's gaps. A script that asks for several needs the guard `if __name__ == "__main__":`.
        listener: hears of every simulation.
        shard: which part of the simulations to run; the files get their names when the last part is done.
        keep_snapshots: also write the particles of each simulation, `snapshots/<suite>/<set>_<n>/`.
        verbose: whether to show the progress, too.

    Returns:
        The folder.

    Raises:
        UserError: a spec that cannot be run, the folder holds one of the suites made with another one, another process
            works on the same shard, or particles that are to be kept were not kept before.

    Example:
        >>> import tempfile, numpy as np
        >>> toy = SimulateSpec(n_simulations=1, n_particles=16, n_mesh=16, n_pixels=16)
        >>> folder = simulate_suite(toy, tempfile.mkdtemp(), device="cpu")
        >>> np.load(folder / "Maps_Mtot_MockTNG_LH_z=0.00.npy").shape
        (15, 16, 16)
    """
    with telling(listener, verbose) as told:
        fill_folder(spec, directory, device, workers, told, shard, keep_snapshots=keep_snapshots)
    return Path(directory)


def fill_folder(
    spec: SimulateSpec,
    directory: Path | str,
    device: str = "auto",
    workers: int = 1,
    listener: Listener = ignore,
    shard: Shard = _WHOLE,
    *,
    keep_snapshots: bool = False,
) -> Filled:
    """`simulate_suite`, telling what was there and what is missing; arguments and errors are the same."""
    devices = choose_devices(device, workers)
    spec, rows = _checked(spec)
    plans = _plans_of(spec, rows)
    if devices[0].type == "cpu" and current_crew() is None:
        _check_memory(spec)
    if devices[0].type == "cuda" and workers > 1 and len(shard.of(plans[0].n_simulations)) >= MANY * len(devices):
        devices = devices * workers
    kept = Path(directory) / "snapshots" if keep_snapshots else None
    if kept is not None:
        refuse_without("h5py")
        _refuse_unkept(spec, plans, Path(directory), kept)
    make = partial(_simulate, spec, tuple(map(facts_of, spec.suites)), rows, kept)
    there = tuple(plan for plan in plans if Ledger(plan, Path(directory)).is_finished())
    made = tuple(plan for plan in plans if plan not in there)
    try:
        missing = produce_maps(plans, Path(directory), make, devices, shard, _task(made or plans), listener)
    finally:
        simulation.forget_run()
    return Filled(made, there, tuple(missing))


def _task(plans: Sequence[Plan]) -> str:
    """What is made, for the progress; a gravity-only twin is named where it is made alone."""
    suites = dict.fromkeys(plan.suite for plan in plans)
    return f"simulate {', '.join([each for each in suites if not is_nbody(each)] or suites)}"


def plan_suites(spec: SimulateSpec) -> tuple[Plan, ...]:
    """What the folder of a spec is to hold: a plan for every suite, and one for the twin, in every set.

    Each is known by what its own maps follow from, whatever is made beside them, so a suite can be added later.

    Beside the maps of a suite that was registered from outside goes a file that says what they are, as processes that
    know nothing of it read them too; the maps of the package's own suites need none.

    Raises:
        UserError: a spec that cannot be run, among them one with a table that cannot be used, more simulations than
            there are, or suites that share no universes.
    """
    return _plans_of(*_checked(spec))


def _checked(spec: SimulateSpec) -> tuple[SimulateSpec, tuple[Mapping[str, Row], ...]]:
    """The spec in plain types and its simulations, unless it cannot be run."""
    spec = in_plain_types(SimulateSpec, spec)
    _check_spec(spec)
    return spec, _rows_of_suites(spec)


def _plans_of(spec: SimulateSpec, rows: Sequence[Mapping[str, Row]]) -> tuple[Plan, ...]:
    known = pinned(spec)
    plain = {suite: _plain_plan(spec, known, suite, rows) for suite in simulation.simulated_suites(spec)}
    return tuple(_plan_of(plain[suite], variant) for suite, variant in _wanted(spec).values())


def _wanted(spec: SimulateSpec) -> dict[str, tuple[str, Variant]]:
    """Every suite, and the twin, with all that is made of its particles, by the name of their plan."""
    return {
        plan_name(suite, variant.set_name): (suite, variant)
        for suite in simulation.simulated_suites(spec)
        for variant in variants_of(spec, is_twin=is_nbody(suite))
    }


def _rows_of_suites(spec: SimulateSpec) -> tuple[Mapping[str, Row], ...]:
    """Label and seed of every simulation in each suite.

    Raises:
        UserError: a simulation is not the same universe in all of them.
    """
    sets = {suite: rows_of_set(spec, suite) for suite in spec.suites}
    if len(set(map(len, sets.values()))) > 1:
        counts = ", ".join(f"{len(each)} of {suite}" for suite, each in sets.items())
        raise UserError(f"set {spec.set_name}: has {counts}; suites of one run share its rows, simulate these apart")
    rows = tuple(dict(zip(sets, each, strict=True)) for each in zip(*sets.values(), strict=True))
    for number, row in enumerate(rows):
        first = row[spec.suites[0]]
        for suite, other in row.items():
            if (other.parameters[:2], other.seed) != (first.parameters[:2], first.seed):
                raise UserError(
                    f"set {spec.set_name}: row {number} is {_universe(first)} in {spec.suites[0]}, but "
                    f"{_universe(other)} in {suite}; suites of one run share it, simulate these apart"
                )
    return rows


def _universe(row: Row) -> str:
    return f"Omega_m = {row.parameters[0]:g}, sigma_8 = {row.parameters[1]:g}, seed {row.seed}"


def _plain_plan(spec: SimulateSpec, known: SimulateSpec, suite: str, rows: Sequence[Mapping[str, Row]]) -> Plan:
    """Of the maps of all particles, with their layout; `known` is the spec as it is recorded."""
    whose = next(each for each in spec.suites if suite in (each, nbody_twin(each)))
    given, layout = layout_of_spec(spec, whose).names, layout_of(suite, spec.set_name)
    columns = [given.index(name) for name in layout.names]
    record = {
        "origin": MOCK_ORIGIN,
        "simulator": simulation.SIMULATOR_VERSION,
        "spec": _spec_of(known, suite),
        "labels": describe_labels(spec, suite) if suite == whose else f"rows 0 to {len(rows) - 1} of the mock suites",
        "columns": list(layout.names),
    }
    return Plan(
        keys=simulation.map_keys(spec, suite),
        set_name=spec.set_name,
        parameters=tuple(tuple(row[whose].parameters[column] for column in columns) for row in rows),
        n_simulations=len(rows),
        maps_each=layout.n_maps,
        n_pixels=spec.n_pixels,
        record=record,
        layout=layout,
    )


def _plan_of(plain: Plan, variant: Variant) -> Plan:
    """Of what else is made of the same particles; the layout is left out where everybody knows it."""
    files = SuiteFiles(Path(), plain.suite, set_name=variant.set_name)
    layout = plain.layout if plain.layout is not None and differences(files, plain.layout) else None
    return replace(plain, set_name=variant.set_name, record={**plain.record, **variant.record}, layout=layout)


def _spec_of(spec: SimulateSpec, suite: str) -> dict[str, Any]:
    """What the maps of a suite, or of the twin, follow from; the spec is pinned."""
    left_out = _BESIDE if suite in spec.suites else (*_BESIDE, "fields")
    given = {name: value for name, value in asdict(spec).items() if value is not None or name not in _LATER}
    own = {name: value for name, value in given.items() if name not in left_out}
    return {"suite": suite} | own | ({"fields": list(spec.fields)} if suite in spec.suites else {})


def _simulate(
    spec: SimulateSpec,
    facts: Sequence[SuiteFacts],
    rows: Sequence[Mapping[str, Row]],
    kept: Path | None,
    number: int,
    device: torch.device,
    wanted: Sequence[str],
) -> Mapping[str, Maps]:
    """One simulation for the plans of these names, perhaps in a process that has not heard of the suites yet."""
    for each in facts:
        if not is_known(each.name):
            register_suite(each)
    pairs = [_wanted(spec)[name] for name in wanted]
    with simulation.shared_gravity() if _has_company(rows, number) else nullcontext():
        if kept is None:
            return simulation.simulate_maps(spec, rows[number], pairs, device)
        keep = partial(_keep, spec, rows[number], kept, number)
        return simulation.simulate_maps(spec, rows[number], pairs, device, keep)


def _has_company(rows: Sequence[Mapping[str, Row]], number: int) -> bool:
    """Whether another simulation of the set differs from this one in its feedback alone."""
    firsts = [next(iter(row.values())) for row in rows]
    universes = [(row.parameters[:2], row.seed) for row in firsts]
    return universes.count(universes[number]) > 1


def _keep(
    spec: SimulateSpec, rows: Mapping[str, Row], kept: Path, number: int, suite: str, kinds: HydroParticles
) -> None:
    whose = rows.get(suite, next(iter(rows.values())))
    write_snapshot(_snapshot(kept, suite, spec, number), suite, kinds, spec, whose.parameters)


def _snapshot(kept: Path, suite: str, spec: SimulateSpec, number: int) -> Path:
    return kept / suite / f"{spec.set_name}_{number}" / SNAPSHOT_NAME


def _refuse_unkept(spec: SimulateSpec, plans: Sequence[Plan], directory: Path, kept: Path) -> None:
    unkept = {
        number
        for plan in plans
        for number in sorted(set(range(plan.n_simulations)) - set(Ledger(plan, directory).missing()))
        if not _snapshot(kept, plan.suite, spec, number).exists()
    }
    if unkept:
        raise UserError(
            f"{kept.parent}: holds maps of {len(unkept)} simulations whose particles were not kept; simulate into "
            "another folder, or without --keep-snapshots"
        )


def _check_spec(spec: SimulateSpec) -> None:
    _check_suites(spec)
    is_power_of_two = spec.n_pixels & (spec.n_pixels - 1) == 0
    known, fields = ", ".join(SIMULATED_FIELDS), spec.fields
    allowed = {
        "fields": (len(fields) == len(set(fields) & set(SIMULATED_FIELDS)) > 0, f"{known}, each once"),
        "n_particles": (
            FEWEST_PARTICLES <= spec.n_particles <= _MOST_PARTICLES and spec.n_particles % 2 == 0,
            f"even numbers from {FEWEST_PARTICLES} to {_MOST_PARTICLES}",
        ),
        "n_mesh": (
            spec.n_particles <= spec.n_mesh <= _MOST_CELLS and spec.n_mesh % 2 == 0,
            f"even numbers from n_particles, {spec.n_particles}, to {_MOST_CELLS}",
        ),
        "step_error": (1e-4 <= spec.step_error <= 1, "0.0001 to 1"),
        "a_start": (0.005 <= spec.a_start < 1, "0.005 to 1"),
        "n_pixels": (
            16 <= spec.n_pixels <= _MOST_CELLS and is_power_of_two,
            f"16, 32, 64, 128, 256, ... to {_MOST_CELLS}",
        ),
        "n_neighbours": (
            1 <= spec.n_neighbours <= most_neighbours(spec),
            f"numbers from 1 to {most_neighbours(spec)}, an eighth of the particles of a kind",
        ),
    }
    refuse_values(spec, allowed)
    check_variants(spec)


def _check_suites(spec: SimulateSpec) -> None:
    if not spec.suites:
        raise UserError(f"suites: none is named; allowed are {', '.join(mock_suites())}")
    if len(set(spec.suites)) < len(spec.suites):
        raise UserError(f"suites: {' '.join(map(shown, spec.suites))}: name each once")
    for suite in spec.suites:
        check_suite(suite)
        layout_of_spec(spec, suite)
        simulation.baryon_model(suite)


def _check_memory(spec: SimulateSpec) -> None:
    """Refuse sizes for which the memory of the machine cannot do, by what is surely in it at a time.

    These are place, velocity and acceleration of two kinds of particles and three meshes of the force; later two of
    the neighbour search, as fine as the pixels, beside them.
    """
    particles = 2 * 9 * spec.n_particles**3
    needed = _BYTES * (particles + max(3 * spec.n_mesh**3, 2 * spec.n_pixels**3))
    sizes = f"n_particles = {spec.n_particles}, n_mesh = {spec.n_mesh}, n_pixels = {spec.n_pixels}:"
    check_fits(needed, sizes, "ask for smaller sizes")
