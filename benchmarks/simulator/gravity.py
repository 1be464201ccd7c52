"""Gravity: against HMcode in large boxes, and its convergence with steps, mesh and particles in the box of the suites.

References:
    Mead et al. 2021, arXiv:2009.01858 (HMcode2020); Lewis, Challinor & Lasenby 2000, ApJ 538, 473 (CAMB).
"""

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from benchmarks.simulator.fields import (
    FloatArray,
    comparison,
    evolve_on_one_mesh,
    matter,
    preset_steps,
    sharpened,
    spectrum,
    start,
    today,
)
from benchmarks.simulator.measurement import FIDUCIAL, FIRST_SEED, Measure, Result, Setting, SkippedError

from fieldlevel.numerics.cosmology import N_S, OMEGA_B, Cosmology, Growth, linear_power
from fieldlevel.numerics.mesh import inverse_fourier
from fieldlevel.simulate.initial import linear_density
from fieldlevel.simulate.nbody import COARSE_UNTIL, Particles, evolve, force_kernel, take_steps, time_steps
from fieldlevel.simulate.simulate_spec import SimulateSpec

OMEGAS = (0.1, 0.3, 0.5)
LARGE_BOXES_MPC_H = (200.0, 100.0)
CORNERS = (FIDUCIAL, *(Cosmology(*corner) for corner in product((0.1, 0.5), (0.6, 1.0))))
"""Centre and corners of the prior."""
MESH_FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0)
_REDUCED_HUBBLE, _N_EFF = 0.6711, 3.046


def hmcode(_setting: Setting) -> Result:
    """P(k) today of HMcode2020 from CAMB, normalised to sigma_8 = 0.8."""
    k = np.geomspace(0.03, 15, 200)
    return {"k": k, "P": {f"{Omega_m:g}": _hmcode_power(k, Omega_m, FIDUCIAL.sigma_8) for Omega_m in OMEGAS}}


def _hmcode_power(k: FloatArray, Omega_m: float, sigma_8: float) -> FloatArray:
    try:
        import camb  # noqa: PLC0415 (optional, and needed here alone)
    except ModuleNotFoundError:
        raise SkippedError("CAMB is missing (pip install camb)") from None
    h2 = _REDUCED_HUBBLE**2
    model = camb.CAMBparams(WantCls=False)
    model.set_cosmology(
        H0=100 * _REDUCED_HUBBLE,
        ombh2=OMEGA_B * h2,
        omch2=(Omega_m - OMEGA_B) * h2,
        mnu=0.0,
        nnu=_N_EFF,
        num_massive_neutrinos=0,
    )
    model.InitPower.set_params(ns=N_S, As=2e-9)
    model.set_matter_power(redshifts=[0.0], kmax=40.0)
    model.NonLinearModel.set_params(halofit_version="mead2020")
    sigma_8_of_guess = float(camb.get_results(model).get_sigma8_0())
    model.InitPower.set_params(ns=N_S, As=2e-9 * (sigma_8 / sigma_8_of_guess) ** 2)
    table = camb.get_matter_power_interpolator(model, nonlinear=True, hubble_units=True, k_hunit=True, kmax=40.0)
    return np.asarray(table.P(0.0, k))


def large_box(setting: Setting) -> Result:
    """P(k) in boxes large enough for HMcode, up to half the particles' Nyquist frequency."""
    curves = []
    for Omega_m, box in product(OMEGAS, LARGE_BOXES_MPC_H):
        runs = [
            _large_box_power(setting, Cosmology(Omega_m, FIDUCIAL.sigma_8), FIRST_SEED + i, box)
            for i in range(setting.sizes.n_large_box_seeds)
        ]
        k, P = runs[0][0], np.array([P for _, P in runs])
        curves.append({"Omega_m": Omega_m, "box": box, "k": k, "P": P.mean(0), "error": _error_of_mean(P)})
    sizes = setting.sizes
    return {
        "curves": curves,
        "n_particles": sizes.letter.n_particles,
        "n_mesh": sizes.letter.n_mesh,
        "n_steps": sizes.n_large_box_steps,
        "n_seeds": sizes.n_large_box_seeds,
    }


def _error_of_mean(P: FloatArray) -> float | None:
    """From seed to seed, relative, median over the shells."""
    return float(np.median(P.std(0, ddof=1) / P.mean(0))) / len(P) ** 0.5 if len(P) > 1 else None


def _large_box_power(setting: Setting, cosmology: Cosmology, seed: int, box: float) -> tuple[FloatArray, FloatArray]:
    """P(k) without the scatter that comes from this seed's linear modes.

    Where a shell's linear modes exceed their expectation by a share e, its power does by about r^2 e, with r the
    correlation of the evolved field with the linear one.
    """
    spec, device = setting.sizes.letter, setting.device
    run = today(spec, cosmology, seed, device, n_steps=setting.sizes.n_large_box_steps, box_size_mpc_h=box)
    evolved = sharpened(matter(run, spec.n_mesh))
    linear = 1 + inverse_fourier(linear_density(cosmology, seed, spec.n_mesh, box, device))
    shells = slice(spec.n_particles // 4)
    k, P, P_cross, P_linear = (
        values[shells]
        for values in (
            *spectrum(evolved, box_size_mpc_h=box),
            spectrum(evolved, linear, box_size_mpc_h=box)[1],
            spectrum(linear, box_size_mpc_h=box)[1],
        )
    )
    excess = P_linear / linear_power(k, cosmology) - 1
    return k, P / (1 + P_cross**2 / (P * P_linear) * excess)


def steps(setting: Setting) -> Result:
    """P(k) at the steps of each preset over P(k) at four times as many."""
    sizes = setting.sizes
    cases = [("letter", sizes.letter, cosmology, 1) for cosmology in CORNERS]
    cases += [("half", sizes.half, FIDUCIAL, 2), ("laptop", sizes.laptop, FIDUCIAL, 2)]
    return {"cases": [_step_case(setting, *case) for case in cases]}


def _step_case(setting: Setting, scale: str, spec: SimulateSpec, cosmology: Cosmology, n_seeds: int) -> Result:
    n_steps = preset_steps(spec, cosmology)
    ratios = []
    for seed in range(FIRST_SEED, FIRST_SEED + n_seeds):
        few, many = (
            matter(today(spec, cosmology, seed, setting.device, n_steps=n), spec.n_mesh) for n in (n_steps, 4 * n_steps)
        )
        k, ratio, _ = comparison(few, many)
        ratios.append(ratio)
    worst = np.abs(np.array(ratios) - 1).max(0)
    return {
        "scale": scale,
        "Omega_m": cosmology.Omega_m,
        "sigma_8": cosmology.sigma_8,
        "n_steps": n_steps,
        "n_seeds": n_seeds,
        "k": k,
        "ratio": np.mean(ratios, axis=0),
        "worst_to_10": _largest(worst[k <= 10]),
        "worst_10_to_20": _largest(worst[(k > 10) & (k <= 20)]) if k[-1] >= 20 else None,
    }


def _largest(values: FloatArray) -> float | None:
    return float(values.max()) if values.size else None


def mesh(setting: Setting) -> Result:
    """P(k) on ever finer force meshes, each all the way, over that on the finest, the steps the same."""
    spec, n_grid = setting.sizes.letter, 2 * setting.sizes.letter.n_particles
    runs = {factor: matter(_on_mesh_of(setting, factor), n_grid) for factor in MESH_FACTORS}
    finest = runs[MESH_FACTORS[-1]]
    compared = {factor: comparison(run, finest) for factor, run in runs.items()}
    return {
        "k": compared[1.0][0],
        "n_steps": preset_steps(spec, FIDUCIAL),
        "ratio": {f"{factor:g}": ratio for factor, (_, ratio, _) in compared.items()},
    }


def _on_mesh_of(setting: Setting, factor: float) -> Particles:
    spec = setting.sizes.letter
    n_mesh = round(factor * spec.n_particles)
    return today(spec, FIDUCIAL, FIRST_SEED, setting.device, n_mesh=n_mesh, one_mesh=True)


def coarse(setting: Setting) -> Result:
    """P(k) with a coarser mesh at first over that with the fine one all the way, in four times as many steps."""
    sizes = setting.sizes
    cases = [("letter", sizes.letter, FIDUCIAL), *(("half", sizes.half, cosmology) for cosmology in CORNERS)]
    return {"until": COARSE_UNTIL, "cases": [_coarse_case(setting, *case) for case in cases]}


def _coarse_case(setting: Setting, scale: str, spec: SimulateSpec, cosmology: Cosmology) -> Result:
    n_steps = 4 * preset_steps(spec, cosmology)
    as_simulated, fine = (
        matter(today(spec, cosmology, FIRST_SEED, setting.device, n_steps=n_steps, one_mesh=one_mesh), spec.n_mesh)
        for one_mesh in (False, True)
    )
    k, ratio, r = comparison(as_simulated, fine)
    return {
        "scale": scale,
        "Omega_m": cosmology.Omega_m,
        "sigma_8": cosmology.sigma_8,
        "n_steps": n_steps,
        "k": k,
        "ratio": ratio,
        "r": r,
        "worst_to_20": _largest(np.abs(ratio - 1)[k <= 20]),
    }


def particles(setting: Setting) -> Result:
    """The smaller presets against letter, the same modes where both have them."""
    sizes, n_grid = setting.sizes, setting.sizes.letter.n_mesh
    letter = matter(today(sizes.letter, FIDUCIAL, FIRST_SEED, setting.device), n_grid)
    curves = {}
    for name, spec in (("half", sizes.half), ("laptop", sizes.laptop)):
        k, ratio, r = comparison(matter(today(spec, FIDUCIAL, FIRST_SEED, setting.device), n_grid), letter)
        curves[name] = {"n_particles": spec.n_particles, "k": k, "ratio": ratio, "r": r}
    return {"n_particles": sizes.letter.n_particles, "curves": curves}


def growth(setting: Setting) -> Result:
    """Growth of linear modes in 3 Gpc/h from a = 0.1 over 1/D, up to a quarter of the particles' Nyquist frequency."""
    n_particles = setting.sizes.letter.n_particles
    cases = {"1.5": (1.5, evolve_on_one_mesh), "2": (2.0, evolve_on_one_mesh), "as simulated": (2.0, evolve)}
    errors = {name: _growth_error(setting, round(factor * n_particles), move) for name, (factor, move) in cases.items()}
    return {"errors": errors, "n_particles": n_particles, "until": COARSE_UNTIL}


def _growth_error(setting: Setting, n_mesh: int, move: Callable[[Particles, float, float, int], Particles]) -> Result:
    spec, a_start, n_grid = setting.sizes.letter, 0.1, 2 * setting.sizes.letter.n_particles
    expected, kept = 1 / float(Growth(FIDUCIAL.Omega_m).D(a_start)), spec.n_particles // 8
    begun = start(spec, FIDUCIAL, FIRST_SEED, setting.device, n_mesh=n_mesh, a_start=a_start, box_size_mpc_h=3000.0)
    early, late = (matter(each, n_grid) for each in (begun, move(begun, FIDUCIAL.Omega_m, a_start, 10)))
    grown = spectrum(early, late)[1][:kept] / spectrum(early)[1][:kept] / expected - 1
    return {"largest_modes": np.abs(grown[:4]).max(), "to_quarter": np.abs(grown).max()}


def conservation(setting: Setting) -> Result:
    """Momentum today, and how far the particles are from where they began after going there and back."""
    spec = setting.sizes.letter
    momentum = {}
    for name, with_gas in (("one kind", False), ("two kinds", True)):
        run = today(spec, FIDUCIAL, FIRST_SEED, setting.device, with_gas=with_gas)
        momentum[name] = _momentum(run)
    begun = start(spec, FIDUCIAL, FIRST_SEED, setting.device)
    forward = list(time_steps(FIDUCIAL.Omega_m, spec.a_start, preset_steps(spec, FIDUCIAL)))
    kernel = force_kernel(spec.n_mesh, spec.n_particles, setting.device)
    there = take_steps(begun, forward, kernel)
    back = take_steps(there, [step.reversed() for step in reversed(forward)], kernel)
    spacing = spec.n_mesh / spec.n_particles
    travelled, missed = (
        (each.position - begun.position).norm(dim=1).double().cpu().numpy() / spacing for each in (there, back)
    )
    return {
        "momentum": momentum,
        "n_steps": len(forward),
        "travelled_rms": np.sqrt(np.mean(travelled**2)),
        "missed_median": np.median(missed),
        "missed_99": np.percentile(missed, 99),
    }


def _momentum(run: Particles) -> float:
    """Largest component of the mean velocity over the rms velocity, weighted with the masses."""
    kinds = run.velocity.double().chunk(len(run.mass))
    mean = sum((mass * v.mean(0) for v, mass in zip(kinds, run.mass, strict=True)), start=torch.zeros_like(kinds[0][0]))
    square = sum(mass * float(v.square().mean()) for v, mass in zip(kinds, run.mass, strict=True))
    return float(mean.abs().max()) / square**0.5


def kinds(setting: Setting) -> Result:
    """Dark matter and gas as two kinds of particles over all matter as one, total matter of both."""
    spec = setting.sizes.letter
    compared = []
    for seed in (FIRST_SEED, FIRST_SEED + 1):
        two, one = (
            matter(today(spec, FIDUCIAL, seed, setting.device, with_gas=with_gas), spec.n_mesh)
            for with_gas in (True, False)
        )
        compared.append(comparison(two, one))
    k = compared[0][0]
    ratio, r = (np.mean([each[i] for each in compared], axis=0) for i in (1, 2))
    return {"k": k, "ratio": ratio, "r": r}


MEASURES: dict[str, Measure] = {
    "hmcode": hmcode,
    "steps": steps,
    "large_box": large_box,
    "mesh": mesh,
    "coarse": coarse,
    "particles": particles,
    "growth": growth,
    "conservation": conservation,
    "kinds": kinds,
}
