"""Seconds a simulation, where they go, and how far the gravity is from what the memory and the FFTs allow."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from statistics import median

import torch
from benchmarks.simulator.fields import preset_steps, start
from benchmarks.simulator.maps import maps_of_row, of_suite
from benchmarks.simulator.measurement import FIDUCIAL, FIRST_SEED, Measure, Result, Setting
from torch import Tensor

from fieldlevel.layout import Layout
from fieldlevel.mapmaking.slabs import Discs, project_slabs
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.mesh import fourier, inverse_fourier
from fieldlevel.numerics.neighbour_counts import mesh_neighbour_distance
from fieldlevel.simulate.feedback import Feedback, GravityRun, HydroParticles
from fieldlevel.simulate.nbody import Particles, force_kernel, take_steps, time_steps
from fieldlevel.simulate.sets import Row, rows_of_set
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.simulation import baryon_model
from fieldlevel.suites import mock_suites

CMD = Layout()

_COPIED_BYTES = {"cuda": 2**31, "cpu": 2**26}
_PARTICLE_BYTES = 2 * 3 * 4
"""Position and velocity, float32."""


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


def speed_letter(setting: Setting) -> Result:
    """Seconds a simulation of the letter preset, from label to 15 + 15 maps, for several cosmologies; stages, floor."""
    spec = setting.sizes.letter
    rows = [*_corner_rows(), _average_row(spec)]
    repeats = setting.sizes.repeats
    return {"rows": [_time_row(setting, spec, row, repeats) for row in rows]} | _anatomy(setting, spec, repeats)


def speed_fine(setting: Setting) -> Result:
    """The same of the fine preset at the fiducial point."""
    spec, repeats = setting.sizes.fine, max(setting.sizes.repeats // 2, 1)
    return {"rows": [_time_row(setting, spec, _corner_rows()[1], repeats)]} | _anatomy(setting, spec, repeats)


def _corner_rows() -> list[Row]:
    points = ((0.1, 0.6), (0.3, 0.8), (0.5, 1.0))
    return [Row((*point, 1.0, 1.0, 1.0, 1.0), FIRST_SEED) for point in points]


def _average_row(spec: SimulateSpec) -> Row:
    """The latin-hypercube row whose number of steps is nearest to the mean."""
    rows = rows_of_set(replace(spec, set_name="LH", n_simulations=None), "MockTNG")
    n_steps = torch.tensor([float(preset_steps(spec, Cosmology(*row.parameters[:2]))) for row in rows])
    return rows[int((n_steps - n_steps.mean()).abs().argmin())]


def _time_row(setting: Setting, spec: SimulateSpec, row: Row, repeats: int) -> Result:
    device = setting.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = {
        suite: seconds_of(partial(maps_of_row, of_suite(spec, suite), row, device), device, repeats)
        for suite in mock_suites()
    }
    Omega_m, sigma_8 = row.parameters[:2]
    return {
        "Omega_m": Omega_m,
        "sigma_8": sigma_8,
        "n_steps": preset_steps(spec, Cosmology(Omega_m, sigma_8)),
        "seconds": seconds,
        "peak_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
    }


def _anatomy(setting: Setting, spec: SimulateSpec, repeats: int) -> Result:
    """Stages of one fiducial simulation, and its steps against their floor."""
    device, n_steps = setting.device, preset_steps(spec, FIDUCIAL)
    steps = list(time_steps(FIDUCIAL.Omega_m, spec.a_start, n_steps))
    kernel = force_kernel(spec.n_mesh, spec.n_particles, device)
    stages, ends = {}, {}
    for name, with_gas in (("hydro", True), ("twin", False)):
        begin = partial(start, spec, FIDUCIAL, FIRST_SEED, device, with_gas=with_gas)
        move = partial(take_steps, begin(), steps, kernel)
        stages[f"initial conditions, {name}"] = seconds_of(begin, device, repeats)
        stages[f"gravity, {name}"] = seconds_of(move, device, repeats)
        ends[name] = move()
    per_step = {name: stages[f"gravity, {name}"] / n_steps for name in ends}
    return {
        "n_steps": n_steps,
        "stages": stages | _later_stages(device, spec, ends, repeats),
        "floor": _floor(setting, spec, per_step),
    }


def _later_stages(
    device: torch.device, spec: SimulateSpec, ends: dict[str, Particles], repeats: int
) -> dict[str, float]:
    """Feedback, neighbours and projection, the last two of the first suite and its twin."""
    displace = {suite: partial(_displace, suite, ends["hydro"]) for suite in mock_suites()}
    stages = {f"feedback, {suite}": seconds_of(work, device, repeats) for suite, work in displace.items()}
    kinds = displace["MockTNG"]()
    diffuse = [kinds["Mcdm"].position, kinds["Mgas"].position, ends["twin"].position]
    discs = _search(spec, diffuse)
    stages["neighbours, hydro and twin"] = seconds_of(partial(_search, spec, diffuse), device, repeats)
    stages["projection, hydro and twin"] = seconds_of(partial(_project, spec, discs), device, repeats)
    return stages


def _displace(suite: str, particles: Particles) -> HydroParticles:
    return baryon_model(suite)(GravityRun(particles, FIDUCIAL, FIRST_SEED, CMD.box_size_mpc_h), Feedback())


def _search(spec: SimulateSpec, positions: list[Tensor]) -> list[Discs]:
    pixels = [position * (spec.n_pixels / spec.n_mesh) for position in positions]
    radii = [mesh_neighbour_distance(each, spec.n_pixels, spec.n_neighbours) for each in pixels]
    return [
        Discs(each / spec.n_pixels, radius / spec.n_pixels, torch.ones_like(radius))
        for each, radius in zip(pixels, radii, strict=True)
    ]


def _project(spec: SimulateSpec, discs: list[Discs]) -> list[Tensor]:
    return [project_slabs(part, spec.n_pixels, CMD.box_size_mpc_h) for part in (discs[:2], discs[2:])]


def _floor(setting: Setting, spec: SimulateSpec, per_step: dict[str, float]) -> Result:
    """A step can take no less than a forward and a backward FFT and one read and write of every particle."""
    device, repeats = setting.device, 2 * setting.sizes.repeats
    field = torch.randn((spec.n_mesh,) * 3, device=device)
    fft_pair = seconds_of(partial(_transform, field), device, repeats)
    source = torch.empty(_COPIED_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    bandwidth = 2 * source.numel() / seconds_of(partial(target.copy_, source), device, repeats)
    particles = {"hydro": 2 * spec.n_particles**3, "twin": spec.n_particles**3}
    floor = {name: fft_pair + 2 * _PARTICLE_BYTES * n / bandwidth for name, n in particles.items()}
    return {
        "fft_pair": fft_pair,
        "bandwidth": bandwidth,
        "step": per_step,
        "floor": floor,
        "fraction": {name: floor[name] / per_step[name] for name in floor},
    }


def _transform(field: Tensor) -> Tensor:
    return inverse_fourier(fourier(field))


def speed_cpu(setting: Setting) -> Result:
    """Seconds a simulation of the laptop preset on the CPU: a process of one thread, of two, two processes."""
    spec, row = setting.sizes.laptop, _corner_rows()[1]
    return {
        "n_steps": preset_steps(spec, FIDUCIAL),
        "one_thread": {suite: _with_threads(1, of_suite(spec, suite), row) for suite in mock_suites()},
        "two_threads": {suite: _with_threads(2, of_suite(spec, suite), row) for suite in mock_suites()},
        "two_processes": {suite: _with_two_processes(of_suite(spec, suite), row) for suite in mock_suites()},
        "n_particles": spec.n_particles,
    }


def _with_threads(n: int, spec: SimulateSpec, row: Row) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    seconds = seconds_of(partial(_simulate_on_cpu, spec, row), torch.device("cpu"), repeats=3)
    torch.set_num_threads(before)
    return seconds


def _with_two_processes(spec: SimulateSpec, row: Row, n_each: int = 3) -> float:
    """Seconds a simulation, start and warm-up of the processes left out."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, torch.set_num_threads, (1,)) as pool:
        list(pool.map(_simulate_on_cpu, [spec] * 2, [row] * 2))
        began = time.perf_counter()
        list(pool.map(_simulate_on_cpu, [spec] * 2 * n_each, [row] * 2 * n_each))
        return (time.perf_counter() - began) / (2 * n_each)


def _simulate_on_cpu(spec: SimulateSpec, row: Row) -> None:
    maps_of_row(spec, row, torch.device("cpu"))


MEASURES: dict[str, Measure] = {"speed_letter": speed_letter, "speed_fine": speed_fine, "speed_cpu": speed_cpu}
