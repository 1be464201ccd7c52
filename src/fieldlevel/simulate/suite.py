"""Mock suites in CMD format: rows of a latin hypercube -> simulations -> maps, resumable.

A simulation is gravity, a baryon model, discs, maps; the gravity-only twin is the same run without the baryon model.
Labels and seeds are the rows of the real CAMELS tables, so mock and real suites share their labels.

Work in progress lies in a hidden folder `.<suite>_<set>.partial`: map files of their final size and a ledger of
finished simulations. A killed run continues with the simulations that the ledger lacks. When all are done the files are
renamed into place, so a map file with its final name is complete.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (tables of the latin hypercubes), arXiv:2109.10915 (file format).
"""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fieldlevel import __version__
from fieldlevel.config import SimulateSpec, digest, to_json
from fieldlevel.errors import UserError
from fieldlevel.files import write_text
from fieldlevel.maps.cmd_format import SuiteFiles
from fieldlevel.maps.project import Discs, project_slabs
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.device import select_device
from fieldlevel.numerics.neighbours import mesh_neighbour_distance
from fieldlevel.parameters import (
    BOX_SIZE_MPC_H,
    CRITICAL_DENSITY,
    MAPS_PER_SIMULATION,
    PARAMETER_NAMES,
    nbody_twin,
)
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.simulate.feedback import BARYON_MODELS, Feedback, HydroParticles, Species
from fieldlevel.simulate.nbody import Particles, evolve, initial_particles

FIELD = "Mtot"

SIMULATOR_VERSION = "1"
"""Raised whenever the same spec gives other maps, so that old ones are not taken for new ones."""

_TABLES = {"MockTNG": "IllustrisTNG", "MockSIMBA": "SIMBA"}
"""Whose latin hypercube a mock suite takes its labels and seeds from."""


@dataclass(frozen=True)
class Row:
    """One simulation of a set: its label and its random seed."""

    parameters: tuple[float, ...]
    seed: int


def latin_hypercube(suite: str) -> list[Row]:
    """The 1,000 rows of the real CAMELS latin hypercube that a mock suite borrows.

    Example:
        >>> latin_hypercube("MockSIMBA")[0]
        Row(parameters=(0.1462, 0.6242, 2.87986, 0.57995, 0.91447, 0.69786), seed=5000)
    """
    path = resources.files("fieldlevel.simulate") / "data" / f"CosmoAstroSeed_{_TABLES[suite]}_L25n256_LH.txt"
    lines = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [Row(tuple(float(value) for value in line[1:7]), int(line[7])) for line in lines]


def simulate_maps(spec: SimulateSpec, row: Row, device: torch.device) -> dict[str, npt.NDArray[np.float32]]:
    """One simulation from its label to its maps.

    Args:
        spec: the suite and its resolution.
        row: label and seed.
        device: where to compute; the result agrees between devices to float32 round-off amplified by gravity.

    Returns:
        For the suite and its gravity-only twin, (15, n_pixels, n_pixels) float32 in (Msun/h)/(Mpc/h)^2.
    """
    Omega_m, sigma_8, A_SN1, A_AGN1, A_SN2, A_AGN2 = row.parameters
    cosmology, feedback = Cosmology(Omega_m, sigma_8), Feedback(A_SN1, A_AGN1, A_SN2, A_AGN2)
    particles = _gravity(spec, cosmology, row.seed, device)
    hydro = BARYON_MODELS[spec.suite](particles, cosmology, feedback, row.seed, BOX_SIZE_MPC_H)
    nbody = {"Mcdm": Species(particles.position, 1.0)}
    pairs = {spec.suite: hydro, nbody_twin(spec.suite): nbody}
    return {suite: _maps_of(spec, Omega_m, species, particles.n_mesh) for suite, species in pairs.items()}


def _gravity(spec: SimulateSpec, cosmology: Cosmology, seed: int, device: torch.device) -> Particles:
    start = initial_particles(
        cosmology,
        seed,
        n_particles=spec.n_particles,
        n_mesh=spec.n_mesh,
        a_start=spec.a_start,
        box_size_mpc_h=BOX_SIZE_MPC_H,
        device=device,
    )
    return evolve(start, cosmology.Omega_m, spec.a_start, spec.n_steps)


def _maps_of(spec: SimulateSpec, Omega_m: float, species: HydroParticles, n_mesh: int) -> npt.NDArray[np.float32]:
    particle_mass = CRITICAL_DENSITY * Omega_m * BOX_SIZE_MPC_H**3 / spec.n_particles**3
    parts = [_discs(name, kind, particle_mass, spec, n_mesh) for name, kind in species.items()]
    return project_slabs(Discs.concatenate(parts), spec.n_pixels, BOX_SIZE_MPC_H).cpu().numpy()


def _discs(field: str, species: Species, particle_mass: float, spec: SimulateSpec, n_mesh: int) -> Discs:
    """Particles with their neighbour radius, estimated on a mesh as fine as the pixels; stars are points."""
    position = species.position / n_mesh
    mass = torch.full_like(position[:, 0], species.mass * particle_mass)
    if field == "Mstar" or len(position) <= spec.n_neighbours:
        return Discs(position, torch.zeros_like(mass), mass)
    radius = mesh_neighbour_distance(position * spec.n_pixels, spec.n_pixels, spec.n_neighbours) / spec.n_pixels
    return Discs(position, radius, mass)


def simulate_suite(
    spec: SimulateSpec, directory: Path | str, device: str = "auto", workers: int = 1, listener: Listener = ignore
) -> Path:
    """Simulate a suite and its gravity-only twin into a folder of CMD files; continue where a killed run stopped.

    Args:
        spec: the suite and its resolution.
        directory: where the files go.
        device: `"auto"` (CUDA where there is one), `"cpu"`, `"cuda"`.
        workers: processes on the CPU, one thread each; the result does not depend on it.
        listener: hears of every simulation.

    Returns:
        The folder.

    Raises:
        UserError: a spec that cannot be run, or the folder holds the same suite made with another one.

    Example:
        >>> import tempfile
        >>> toy = SimulateSpec(n_simulations=1, n_particles=16, n_mesh=16, n_steps=2, n_pixels=16)
        >>> folder = simulate_suite(toy, tempfile.mkdtemp(), device="cpu")
        >>> np.load(folder / "Maps_Mtot_MockTNG_LH_z=0.00.npy").shape
        (15, 16, 16)
    """
    directory = Path(directory)
    compute_device = select_device(device)
    _check_spec(spec)
    rows = latin_hypercube(spec.suite)[: spec.n_simulations]
    ledger = _Ledger(spec, directory)
    if _is_complete(spec, directory):
        ledger.remove()
        return directory
    ledger.open()
    todo = [number for number in range(len(rows)) if not ledger.done[number]]
    task = f"simulate {spec.suite}"
    listener(Progress(task, len(rows) - len(todo), len(rows), "simulations"))
    results = _simulations(spec, [rows[number] for number in todo], compute_device, workers)
    for finished, (place, maps) in enumerate(results, start=len(rows) - len(todo) + 1):
        ledger.write(todo[place], maps)
        listener(Progress(task, finished, len(rows), "simulations"))
    ledger.close(rows)
    return directory


def _check_spec(spec: SimulateSpec) -> None:
    is_power_of_two = spec.n_pixels & (spec.n_pixels - 1) == 0
    n_rows = len(latin_hypercube(spec.suite))
    allowed = {
        "n_simulations": (1 <= spec.n_simulations <= n_rows, f"1 to {n_rows}, the rows of the table"),
        "n_particles": (spec.n_particles >= 8 and spec.n_particles % 2 == 0, "even numbers from 8"),
        "n_mesh": (spec.n_mesh >= spec.n_particles and spec.n_mesh % 2 == 0, "even numbers from n_particles"),
        "n_steps": (spec.n_steps >= 1, "numbers from 1"),
        "a_start": (0.005 <= spec.a_start < 1, "0.005 to 1"),
        "n_pixels": (spec.n_pixels >= 16 and is_power_of_two, "16, 32, 64, 128, 256, ..."),
        "n_neighbours": (spec.n_neighbours >= 1, "numbers from 1"),
    }
    for name, (is_allowed, words) in allowed.items():
        if not is_allowed:
            raise UserError(f"{name} = {getattr(spec, name)}: allowed are {words}")


def _simulations(
    spec: SimulateSpec, rows: list[Row], device: torch.device, workers: int
) -> Iterator[tuple[int, dict[str, npt.NDArray[np.float32]]]]:
    """Place in `rows` and maps of each simulation, as they finish."""
    if workers <= 1 or device.type != "cpu" or len(rows) <= 1:
        for place, row in enumerate(rows):
            yield place, simulate_maps(spec, row, device)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(rows)), context, initializer=_start_worker)
    try:
        futures = {pool.submit(simulate_maps, spec, row, device): place for place, row in enumerate(rows)}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One thread a worker; an interrupt is the parent's to handle, and no worker outlives it."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


class _Ledger:
    """The folder of work in progress: map files of final size, and which simulations they already hold."""

    def __init__(self, spec: SimulateSpec, directory: Path) -> None:
        self.spec, self.directory = spec, directory
        self.partial = directory / f".{spec.suite}_{spec.set_name}.partial"
        self.suites = (spec.suite, nbody_twin(spec.suite))

    def open(self) -> None:
        """Create the files, or take up those of a killed run with the same spec."""
        recorded = self.partial / "spec.txt"
        if recorded.exists() and recorded.read_text() != self._described():
            raise UserError(
                f"{self.partial}: unfinished simulations of another spec; remove it or choose another directory"
            )
        self.partial.mkdir(parents=True, exist_ok=True)
        if not recorded.exists():
            self._create()
            write_text(recorded, self._described())
        self.done = np.lib.format.open_memmap(self.partial / "done.npy", mode="r+")

    def _described(self) -> str:
        return f"{to_json(self.spec)}\nsimulator {SIMULATOR_VERSION}\n"

    def _create(self) -> None:
        n, side = self.spec.n_simulations, self.spec.n_pixels
        shape = (n * MAPS_PER_SIMULATION, side, side)
        for suite in self.suites:
            np.lib.format.open_memmap(self._maps_path(suite), "w+", np.float32, shape)
        np.lib.format.open_memmap(self.partial / "done.npy", "w+", np.uint8, (n,))

    def _maps_path(self, suite: str) -> Path:
        return SuiteFiles(self.partial, suite, FIELD, self.spec.set_name).maps_path

    def write(self, number: int, maps: dict[str, npt.NDArray[np.float32]]) -> None:
        """Store the maps of one simulation, then mark it as done."""
        block = slice(number * MAPS_PER_SIMULATION, (number + 1) * MAPS_PER_SIMULATION)
        for suite in self.suites:
            stored = np.lib.format.open_memmap(self._maps_path(suite), mode="r+")
            stored[block] = maps[suite]
            stored.flush()
        self.done[number] = 1
        self.done.flush()

    def close(self, rows: list[Row]) -> None:
        """Rename the finished files into place; a kill in between is continued by the next run."""
        table = "\n".join(" ".join(f"{value:.5f}" for value in row.parameters) for row in rows) + "\n"
        for suite in self.suites:
            if self._maps_path(suite).exists():
                self._maps_path(suite).replace(self.directory / self._maps_path(suite).name)
            write_text(self.directory / f"params_{self.spec.set_name}_{suite}.txt", table)
        _record_provenance(self.spec, self.directory)
        self.remove()

    def remove(self) -> None:
        """Take the folder of work in progress away, if it is there."""
        if self.partial.exists():
            for leftover in self.partial.iterdir():
                leftover.unlink()
            self.partial.rmdir()


def _record_provenance(spec: SimulateSpec, directory: Path) -> None:
    path = directory / "provenance.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[f"{spec.suite}_{spec.set_name}"] = {
        "origin": "MOCK DATA simulated by fieldlevel, not CAMELS",
        "fieldlevel": __version__,
        "torch": torch.__version__,
        "spec": asdict(spec),
        "spec_digest": digest(spec, SIMULATOR_VERSION),
        "labels": f"rows 0 to {spec.n_simulations - 1} of the CAMELS latin hypercube of {_TABLES[spec.suite]}",
        "columns": list(PARAMETER_NAMES),
    }
    write_text(path, json.dumps(known, indent=2) + "\n")


def _is_complete(spec: SimulateSpec, directory: Path) -> bool:
    """Whether the folder holds this very suite; another one under the same name is an error."""
    path = directory / "provenance.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    record = known.get(f"{spec.suite}_{spec.set_name}")
    if record is None:
        return False
    if record["spec_digest"] != digest(spec, SIMULATOR_VERSION):
        raise UserError(
            f"{directory}: holds {spec.suite} made with another spec or simulator; choose another directory"
        )
    suites = (spec.suite, nbody_twin(spec.suite))
    return all(SuiteFiles(directory, suite, FIELD, spec.set_name).maps_path.exists() for suite in suites)
