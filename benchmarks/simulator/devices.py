"""The same simulation on the CPU and on the GPU."""

import numpy as np
import torch
from benchmarks.simulator.fields import FloatArray, comparison, hydro_matter, matter
from benchmarks.simulator.maps import maps_of_row, of_suite
from benchmarks.simulator.measurement import FIDUCIAL, FIRST_SEED, Measure, Result, Setting, SkippedError

from fieldlevel.simulate.feedback import Feedback
from fieldlevel.simulate.sets import Row
from fieldlevel.simulate.simulation import baryon_model, gravity_run, nbody_run
from fieldlevel.suites import mock_suites

_CPU = torch.device("cpu")


def devices(setting: Setting) -> Result:
    """P(k), correlation and maps of the laptop preset on both devices; a second GPU run where no round-off differs."""
    if setting.device.type != "cuda" and not setting.quick:
        raise SkippedError("there is no CUDA device to compare with")
    spec = setting.sizes.laptop
    suites = {suite: _compare_suite(setting, suite) for suite in mock_suites()}
    on_both = (matter(nbody_run(spec, FIDUCIAL, FIRST_SEED, device), spec.n_mesh) for device in (_CPU, setting.device))
    k, ratio, r = _compared(*on_both)
    return {"k": k, "nbody": {"ratio": ratio, "r": r}, "suites": suites, "n_particles": spec.n_particles}


def _compare_suite(setting: Setting, suite: str) -> Result:
    spec = of_suite(setting.sizes.laptop, suite)
    row = Row((FIDUCIAL.Omega_m, FIDUCIAL.sigma_8, 1.0, 1.0, 1.0, 1.0), FIRST_SEED)
    on_both = (_hydro(setting, suite, device) for device in (_CPU, setting.device))
    k, ratio, r = _compared(*on_both)
    cpu, gpu, again = (maps_of_row(spec, row, device) for device in (_CPU, setting.device, setting.device))
    difference = {key[0]: np.log10(gpu[key] / cpu[key]) for key in cpu}
    repeated = {key[0]: np.log10(gpu[key] / again[key]) for key in cpu}
    return {
        "k": k,
        "ratio": ratio,
        "r": r,
        "map_dex": {name: np.sqrt(np.mean(x**2)) for name, x in difference.items()},
        "map_dex_median": {name: np.median(np.abs(x)) for name, x in difference.items()},
        "repeat_dex": {name: np.sqrt(np.mean(x**2)) for name, x in repeated.items()},
    }


def _hydro(setting: Setting, suite: str, device: torch.device) -> torch.Tensor:
    spec = setting.sizes.laptop
    kinds = baryon_model(suite)(gravity_run(spec, FIDUCIAL, FIRST_SEED, device), Feedback())
    return hydro_matter(kinds, spec.n_mesh)


def _compared(cpu: torch.Tensor, gpu: torch.Tensor) -> tuple[FloatArray, FloatArray, FloatArray]:
    return comparison(gpu.cpu(), cpu)


MEASURES: dict[str, Measure] = {"devices": devices}
