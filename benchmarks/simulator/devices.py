"""The same simulation on the CPU and on the GPU, and twice on the same device."""

import numpy as np
import torch
from benchmarks.simulator.fields import Universe, comparison, hydro_matter
from benchmarks.simulator.maps import MapStack, fiducial_feedback, maps_of_row, of_suites, same_row
from benchmarks.simulator.measurement import FIDUCIAL, FIRST_SEED, Measure, Result, Setting, SkippedError

from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.suites import MOCK_TWIN, mock_suites

_CPU = torch.device("cpu")


def devices(setting: Setting) -> Result:
    """P(k), correlation and maps of the laptop preset on both devices; pixels of two runs on this one."""
    if setting.device.type != "cuda" and not setting.quick:
        raise SkippedError("there is no CUDA device to compare with")
    spec = of_suites(setting.sizes.laptop)
    on_cpu, on_gpu = (Universe(spec, FIDUCIAL, FIRST_SEED, device) for device in (_CPU, setting.device))
    powers = {MOCK_TWIN: _compared(on_cpu.twin, on_gpu.twin)}
    powers |= {suite: _compared(_hydro(on_cpu, suite), _hydro(on_gpu, suite)) for suite in mock_suites()}
    cpu, gpu = (_maps(spec, device) for device in (_CPU, setting.device))
    return {
        "n_particles": spec.n_particles,
        "suites": {name: powers[name] | _map_differences(cpu[name], gpu[name]) for name in powers},
        "twice": {name: _repeated(setting, getattr(setting.sizes, name)) for name in ("laptop", "letter")},
    }


def _hydro(universe: Universe, suite: str) -> torch.Tensor:
    return hydro_matter(universe.particles(suite), universe.spec.n_mesh)


def _compared(cpu: torch.Tensor, gpu: torch.Tensor) -> Result:
    k, ratio, r = comparison(gpu.cpu(), cpu)
    return {"k": k, "ratio": ratio, "r": r}


def _maps(spec: SimulateSpec, device: torch.device) -> dict[str, MapStack]:
    """Total matter of each suite and of the twin, (15, N, N)."""
    rows = same_row(spec, fiducial_feedback(FIDUCIAL, FIRST_SEED))
    return {suite: maps for (suite, _), maps in maps_of_row(spec, rows, device).items()}


def _map_differences(cpu: MapStack, gpu: MapStack) -> Result:
    difference = np.log10(gpu / cpu)
    return {"map_dex": np.sqrt(np.mean(difference**2)), "map_dex_median": np.median(np.abs(difference))}


def _repeated(setting: Setting, spec: SimulateSpec) -> Result:
    """Pixels of all maps of a row, and how many differ when it is made again on this device."""
    first, second = (_maps(of_suites(spec), setting.device) for _ in range(2))
    unequal = {suite: int((first[suite] != second[suite]).sum()) for suite in first}
    return {"n_pixels": sum(maps.size for maps in first.values()), "unequal": unequal}


MEASURES: dict[str, Measure] = {"devices": devices}
