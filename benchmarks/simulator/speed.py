"""Seconds a simulation, where they go, and how far the gravity is from what the memory and the FFTs allow."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from statistics import median

import numpy as np
import torch
from benchmarks.simulator.fields import preset_steps, start
from benchmarks.simulator.maps import (
    fiducial_feedback,
    hypercube_maps,
    maps_of_row,
    of_suites,
    peak_gib,
    same_row,
    start_peak,
)
from benchmarks.simulator.measurement import FIDUCIAL, FIRST_SEED, Measure, Result, Setting
from torch import Tensor

from fieldlevel.layout import Layout
from fieldlevel.mapmaking.slabs import Discs, project_slabs
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.mesh import fourier, inverse_fourier
from fieldlevel.numerics.neighbour_counts import mesh_neighbour_distance
from fieldlevel.simulate.feedback import Feedback, GravityRun, HydroParticles
from fieldlevel.simulate.nbody import COARSE_UNTIL, Particles, evolve, force_kernel, step_edges, take_steps, time_steps
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.simulation import baryon_model
from fieldlevel.suites import mock_suites

CMD = Layout()

_CORNERS = (Cosmology(0.1, 0.6), FIDUCIAL, Cosmology(0.5, 1.0))
_COPIED_BYTES = {"cuda": 2**31, "cpu": 2**26}


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median of the repeats after one warm-up, the device idle before and after each."""
    taken = []
    for _ in range(repeats + 1):
        _wait(device)
        began = time.perf_counter()
        work()
        _wait(device)
        taken.append(time.perf_counter() - began)
    return median(taken[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def speed_rows(setting: Setting) -> Result:
    """Seconds a row of all suites and the twin, over rows of the latin hypercube."""
    made = hypercube_maps(setting)
    return {
        "n_suites": len(mock_suites()),
        "n_rows": len(made.seconds),
        "n_steps": np.mean(made.n_steps),
        "median": np.median(made.seconds),
        "mean": np.mean(made.seconds),
        "percentile_90": np.percentile(made.seconds, 90),
        "slowest": np.max(made.seconds),
        "peak_gib": made.peak_gib,
    }


def speed_letter(setting: Setting) -> Result:
    """Seconds a row of the letter preset at the centre and corners of the prior; stages and floors."""
    return _speed(setting, setting.sizes.letter)


def speed_half(setting: Setting) -> Result:
    """The same of the half preset."""
    return _speed(setting, setting.sizes.half)


def _speed(setting: Setting, spec: SimulateSpec) -> Result:
    floors = _Floors(setting, spec)
    rows = [_time_row(setting, of_suites(spec), cosmology) for cosmology in _CORNERS]
    return {"rows": rows, "n_steps": preset_steps(spec, FIDUCIAL)} | _anatomy(setting, spec, floors)


def _time_row(setting: Setting, spec: SimulateSpec, cosmology: Cosmology) -> Result:
    device, row = setting.device, fiducial_feedback(cosmology, FIRST_SEED)
    start_peak(device)
    alone = of_suites(spec, spec.suites[0])
    seconds = {
        name: seconds_of(partial(maps_of_row, each, same_row(each, row), device), device, setting.sizes.repeats)
        for name, each in (("one suite", alone), ("all suites", spec))
    }
    return {
        "Omega_m": cosmology.Omega_m,
        "sigma_8": cosmology.sigma_8,
        "n_steps": preset_steps(spec, cosmology),
        "seconds": seconds,
        "peak_gib": peak_gib(device),
    }


class _Floors:
    """Least seconds by what must be computed and moved: FFTs as they are measured, bytes at the bandwidth of a copy."""

    def __init__(self, setting: Setting, spec: SimulateSpec) -> None:
        self.device, self.repeats, self.spec = setting.device, 2 * setting.sizes.repeats, spec
        source = torch.empty(_COPIED_BYTES[self.device.type], dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        self.bandwidth = 2 * source.numel() / seconds_of(partial(target.copy_, source), self.device, self.repeats)
        self.fft_pair = cache(self._fft_pair)

    def _fft_pair(self, n_mesh: int) -> float:
        field = torch.randn((n_mesh,) * 3, device=self.device)
        return seconds_of(partial(_transform, field), self.device, self.repeats)

    def traffic(self, n_particles: int, numbers: int) -> float:
        """Seconds for so many float32 numbers of each particle."""
        return 4 * numbers * n_particles / self.bandwidth

    def step(self, n_mesh: int, n_kinds: int) -> float:
        """One time step: an FFT pair, one read and one write of position and velocity."""
        return self.fft_pair(n_mesh) + self.traffic(n_kinds * self.spec.n_particles**3, 12)


def _anatomy(setting: Setting, spec: SimulateSpec, floors: _Floors) -> Result:
    """Stages of one fiducial row and steps on both meshes, each beside its floor."""
    stages: dict[str, Result] = {}
    steps: dict[str, Result] = {}
    ends = {}
    for kinds, n_kinds in (("hydro", 2), ("twin", 1)):
        begin = partial(start, spec, FIDUCIAL, FIRST_SEED, setting.device, with_gas=n_kinds > 1)
        n_fields = 8 + 6 * n_kinds
        floor = n_fields / 2 * floors.fft_pair(spec.n_particles) + floors.traffic(n_kinds * spec.n_particles**3, 6)
        _add(stages, f"initial conditions, {kinds}", begin, floor, setting)
        ends[kinds] = _time_gravity(stages, steps, begin(), kinds, setting, spec, floors)
    _add_later(stages, ends["hydro"], ends["twin"], setting, spec, floors)
    return {"stages": stages, "steps": steps, "bandwidth": floors.bandwidth}


def _add(
    stages: dict[str, Result], name: str, work: Callable[[], object], floor: float | None, setting: Setting
) -> float:
    seconds = seconds_of(work, setting.device, setting.sizes.repeats)
    stages[name] = {"seconds": seconds, "floor": floor}
    return seconds


def _time_gravity(
    stages: dict[str, Result],
    steps: dict[str, Result],
    begun: Particles,
    kinds: str,
    setting: Setting,
    spec: SimulateSpec,
    floors: _Floors,
) -> Particles:
    """All steps as they are made, and those on each of the two meshes by themselves."""
    n_steps, n_kinds = preset_steps(spec, FIDUCIAL), len(begun.mass)
    coarse, n_coarse = mesh_of_start(spec, n_steps)
    listed = list(time_steps(FIDUCIAL.Omega_m, spec.a_start, n_steps))
    floor = 0.0
    for n_mesh, some in ((coarse, listed[:n_coarse]), (spec.n_mesh, listed[n_coarse:])):
        if some:
            kernel = force_kernel(n_mesh, spec.n_particles, setting.device)
            move = partial(take_steps, begun.on_mesh(n_mesh), some, kernel)
            seconds = seconds_of(move, setting.device, setting.sizes.repeats) / len(some)
            begun = move()
            least = floors.step(n_mesh, n_kinds)
            floor += len(some) * least
            steps[f"{kinds}, mesh {n_mesh}³"] = {
                "n_steps": len(some), "seconds": seconds, "fft_pair": floors.fft_pair(n_mesh), "floor": least
            }  # fmt: skip
    begin = start(spec, FIDUCIAL, FIRST_SEED, setting.device, with_gas=n_kinds > 1)
    _add(stages, f"gravity, {kinds}", partial(evolve, begin, FIDUCIAL.Omega_m, spec.a_start, n_steps), floor, setting)
    return begun.on_mesh(spec.n_mesh)


def mesh_of_start(spec: SimulateSpec, n_steps: int) -> tuple[int, int]:
    """Cells a side of the mesh that `evolve` begins with, and the number of steps on it."""
    if spec.n_mesh < 2 * spec.n_particles:
        return spec.n_mesh, 0
    return 3 * spec.n_particles // 2, int((step_edges(spec.a_start, n_steps)[1:] <= COARSE_UNTIL).sum())


def _add_later(
    stages: dict[str, Result],
    hydro: Particles,
    twin: Particles,
    setting: Setting,
    spec: SimulateSpec,
    floors: _Floors,
) -> None:
    """What follows on gravity; neighbours, projection and copy are those of the first suite and of the twin."""
    n, n_mesh, pair = spec.n_particles**3, spec.n_mesh, floors.fft_pair
    run = _run(hydro)
    shared = 2 * pair(n_mesh) + floors.traffic(2 * n, 6)
    _add(stages, "densities, haloes, pressure, shared", lambda: _shared(_run(hydro)), shared, setting)
    _shared(run)
    for suite in mock_suites():
        _add(stages, f"feedback, {suite}", partial(_feedback, suite, run), floors.traffic(2 * n, 6), setting)
    kinds = _feedback(mock_suites()[0], run)
    parts = {"a suite": [kinds["Mcdm"].position, kinds["Mgas"].position], "twin": [twin.position]}
    for name, diffuse in parts.items():
        n_diffuse = sum(map(len, diffuse))
        least = len(diffuse) * pair(spec.n_pixels) + floors.traffic(n_diffuse, 4)
        _add(stages, f"neighbours, {name}", partial(_search, spec, diffuse), least, setting)
        discs = _search(spec, diffuse)
        project = partial(project_slabs, discs, spec.n_pixels, CMD.box_size_mpc_h)
        _add(stages, f"projection, {name}", project, floors.traffic(n_diffuse, 4), setting)
    maps = project()
    _add(stages, "copy of 15 maps to the host", lambda: maps.cpu().numpy(), None, setting)


def _run(particles: Particles) -> GravityRun:
    """Nothing derived yet."""
    return GravityRun(particles, FIDUCIAL, FIRST_SEED, CMD.box_size_mpc_h)


def _shared(run: GravityRun) -> tuple[object, ...]:
    return run.haloes, run.pressure_displacement


def _feedback(suite: str, run: GravityRun) -> HydroParticles:
    return baryon_model(suite)(run, Feedback())


def _search(spec: SimulateSpec, positions: list[Tensor]) -> list[Discs]:
    pixels = [position * (spec.n_pixels / spec.n_mesh) for position in positions]
    radii = [mesh_neighbour_distance(each, spec.n_pixels, spec.n_neighbours) for each in pixels]
    return [
        Discs(each / spec.n_pixels, radius / spec.n_pixels, torch.ones_like(radius))
        for each, radius in zip(pixels, radii, strict=True)
    ]


def _transform(field: Tensor) -> Tensor:
    return inverse_fourier(fourier(field))


def speed_cpu(setting: Setting) -> Result:
    """Seconds a row of the laptop preset on the CPU: a process of one thread, of two, two processes."""
    everything = of_suites(setting.sizes.laptop)
    specs = {
        "one suite and the twin": of_suites(everything, everything.suites[0]),
        "all suites and the twin": everything,
    }
    return {
        "n_steps": preset_steps(everything, FIDUCIAL),
        "n_suites": len(everything.suites),
        "one_thread": {name: _with_threads(1, spec) for name, spec in specs.items()},
        "two_threads": {name: _with_threads(2, spec) for name, spec in specs.items()},
        "two_processes": {name: _with_two_processes(spec) for name, spec in specs.items()},
        "n_particles": everything.n_particles,
    }


def _with_threads(n: int, spec: SimulateSpec) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    seconds = seconds_of(partial(_simulate_on_cpu, spec), torch.device("cpu"), repeats=3)
    torch.set_num_threads(before)
    return seconds


def _with_two_processes(spec: SimulateSpec, n_each: int = 3) -> float:
    """Seconds a row, start and warm-up of the processes left out."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, torch.set_num_threads, (1,)) as pool:
        list(pool.map(_simulate_on_cpu, [spec] * 2))
        began = time.perf_counter()
        list(pool.map(_simulate_on_cpu, [spec] * 2 * n_each))
        return (time.perf_counter() - began) / (2 * n_each)


def _simulate_on_cpu(spec: SimulateSpec) -> None:
    maps_of_row(spec, same_row(spec, fiducial_feedback(FIDUCIAL, FIRST_SEED)), torch.device("cpu"))


MEASURES: dict[str, Measure] = {"speed_rows": speed_rows, "speed_letter": speed_letter, "speed_half": speed_half}
CPU_MEASURES: dict[str, Measure] = {"speed_cpu": speed_cpu}
