"""Mock suites in CMD format: a set of simulations, spread over processes and devices, resumable.

Labels and seeds come from `sets`, the maps of one simulation from `simulation`; `mapmaking.production` makes and stores
them. The result depends neither on the shards nor on the workers, but for the round-off of the devices.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (sets), arXiv:2109.10915 (file format).
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.layout_files import differences
from fieldlevel.errors import UserError
from fieldlevel.mapmaking.contents import Plan
from fieldlevel.mapmaking.ledger import Ledger
from fieldlevel.mapmaking.production import Maps, produce_maps
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.numerics.memory import check_fits
from fieldlevel.progress import Listener, ignore
from fieldlevel.simulate import simulation
from fieldlevel.simulate.sets import Row, describe_labels, layout_of_spec, pinned, rows_of_set
from fieldlevel.simulate.simulate_spec import SIMULATED_FIELDS, SimulateSpec
from fieldlevel.simulate.snapshot_writer import SNAPSHOT_NAME, write_snapshot
from fieldlevel.spec_io import in_plain_types, refuse_values
from fieldlevel.suites import MOCK_MARK, SuiteFacts, facts_of, is_known, register_suite
from fieldlevel.workers import choose_devices

_WHOLE = Shard()
MANY = 100
"""Simulations for which it is worth while to start processes that share a GPU."""
_MOST_PARTICLES, _MOST_CELLS = 4096, 16384
_SHARE_OF_A_DISC = 8
_BYTES = 4


def simulate_suite(
    spec: SimulateSpec,
    directory: Path | str,
    device: str = "auto",
    workers: int = 1,
    listener: Listener = ignore,
    shard: Shard = _WHOLE,
    *,
    keep_snapshots: bool = False,
) -> Path:
    """Simulate a suite and its gravity-only twin into a folder of CMD files; continue where a killed run stopped.

    Args:
        spec: the suite, its set, fields and resolution.
        directory: where the files go; several shards may work in it at once.
        device: `"auto"` (every CUDA device, the CPU where there is none), `"cuda"` (every one), `"cuda:1"`, `"cpu"`.
        workers: processes on the CPU, one thread each, or on each GPU, for 100 simulations and more: two fill each
            other's gaps. A script that asks for several needs the guard `if __name__ == "__main__":`.
        listener: hears of every simulation.
        shard: which part of the simulations to run; the files get their names when the last part is done.
        keep_snapshots: also write the particles of each simulation, `snapshots/<suite>/<set>_<n>/`.

    Returns:
        The folder.

    Raises:
        UserError: a spec that cannot be run, the folder holds the same suite made with another one, another process
            works on the same shard, or particles that are to be kept were not kept before.

    Example:
        >>> import tempfile, numpy as np
        >>> toy = SimulateSpec(n_simulations=1, n_particles=16, n_mesh=16, n_pixels=16)
        >>> folder = simulate_suite(toy, tempfile.mkdtemp(), device="cpu")
        >>> np.load(folder / "Maps_Mtot_MockTNG_LH_z=0.00.npy").shape
        (15, 16, 16)
    """
    devices = choose_devices(device, workers)
    spec = in_plain_types(SimulateSpec, spec)
    _check_spec(spec)
    if devices[0].type == "cpu":
        _check_memory(spec)
    rows = rows_of_set(spec)
    if devices[0].type == "cuda" and len(shard.of(len(rows))) >= MANY * len(devices):
        devices = devices * workers
    plan, kept = plan_suite(spec), Path(directory) / "snapshots" if keep_snapshots else None
    if kept is not None:
        _refuse_unkept(spec, Ledger(plan, Path(directory)), kept)
    make = partial(_simulate, spec, facts_of(spec.suite), rows, kept)
    produce_maps(plan, Path(directory), make, devices, shard, f"simulate {spec.suite}", listener)
    return Path(directory)


def plan_suite(spec: SimulateSpec) -> Plan:
    """What the folder of a suite is to hold.

    Beside the maps of a suite that was registered from outside goes a file that says what they are, as processes that
    know nothing of it read them too; the maps of the package's own suites need none.

    Raises:
        UserError: unknown suite or set, a table that cannot be used, more simulations than there are.
    """
    spec = in_plain_types(SimulateSpec, spec)
    fixed, rows, layout = pinned(spec), rows_of_set(spec), layout_of_spec(spec)
    files = SuiteFiles(Path(), spec.suite, set_name=spec.set_name)
    record = {
        "origin": f"{MOCK_MARK} simulated by fieldlevel, not CAMELS",
        "simulator": simulation.SIMULATOR_VERSION,
        "spec": asdict(fixed) | {"fields": list(fixed.fields)},
        "labels": describe_labels(spec),
        "columns": list(layout.names),
    }
    return Plan(
        keys=simulation.map_keys(spec),
        set_name=spec.set_name,
        parameters=tuple(row.parameters for row in rows),
        n_simulations=len(rows),
        maps_each=layout.n_maps,
        n_pixels=spec.n_pixels,
        record=record,
        layout=layout if differences(files, layout) else None,
    )


def _simulate(
    spec: SimulateSpec,
    facts: SuiteFacts,
    rows: Sequence[Row],
    kept: Path | None,
    number: int,
    device: torch.device,
) -> Maps:
    """One simulation, perhaps in a process that has not heard of the suite yet."""
    if not is_known(facts.name):
        register_suite(facts)
    if kept is None:
        return simulation.simulate_maps(spec, rows[number], device)
    state = simulation.simulate_particles(spec, rows[number], device)
    for suite, kinds in state.items():
        write_snapshot(_snapshot(kept, suite, spec, number), kinds, spec, rows[number].parameters)
    return simulation.maps_of_particles(spec, rows[number], state)


def _snapshot(kept: Path, suite: str, spec: SimulateSpec, number: int) -> Path:
    return kept / suite / f"{spec.set_name}_{number}" / SNAPSHOT_NAME


def _refuse_unkept(spec: SimulateSpec, ledger: Ledger, kept: Path) -> None:
    done = sorted(set(range(ledger.plan.n_simulations)) - set(ledger.missing()))
    unkept = [number for number in done if not _snapshot(kept, spec.suite, spec, number).exists()]
    if unkept:
        raise UserError(
            f"{kept.parent}: holds maps of {len(unkept)} simulations whose particles were not kept; simulate into "
            "another folder, or without --keep-snapshots"
        )


def _check_spec(spec: SimulateSpec) -> None:
    layout_of_spec(spec)
    simulation.baryon_model(spec.suite)
    is_power_of_two = spec.n_pixels & (spec.n_pixels - 1) == 0
    known, fields = ", ".join(SIMULATED_FIELDS), spec.fields
    n_most = spec.n_particles**3 // _SHARE_OF_A_DISC
    allowed = {
        "fields": (len(fields) == len(set(fields) & set(SIMULATED_FIELDS)) > 0, f"{known}, each once"),
        "n_particles": (
            8 <= spec.n_particles <= _MOST_PARTICLES and spec.n_particles % 2 == 0,
            f"even numbers from 8 to {_MOST_PARTICLES}",
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
            1 <= spec.n_neighbours <= n_most,
            f"numbers from 1 to {n_most}, an eighth of the particles of a kind",
        ),
    }
    refuse_values(spec, allowed)


def _check_memory(spec: SimulateSpec) -> None:
    """Refuse sizes for which the memory of the machine cannot do, by what is surely in it at a time.

    These are place, velocity and acceleration of two kinds of particles and three meshes of the force; later two of
    the neighbour search, as fine as the pixels, beside them.
    """
    particles = 2 * 9 * spec.n_particles**3
    needed = _BYTES * (particles + max(3 * spec.n_mesh**3, 2 * spec.n_pixels**3))
    sizes = f"n_particles = {spec.n_particles}, n_mesh = {spec.n_mesh}, n_pixels = {spec.n_pixels}:"
    check_fits(needed, sizes, "ask for smaller sizes")
