"""Fit the constants of a baryon model to the suppression of the power spectrum in CAMELS, and validate them.

Least squares over latin-hypercube rows, seeds of the fiducial point and the ends of each parameter's range; every
constant is a value and its exponents in the six parameters. The validation uses other rows and other seeds. The tables
are described in suppression/README.md.

    python benchmarks/calibrate_feedback.py --suite MockTNG --out constants.json
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from measuring import run
from scipy.optimize import least_squares
from suppression_tables import read_error, read_suppression

from fieldlevel.files import write_text
from fieldlevel.layout import Layout
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.device import select_device
from fieldlevel.numerics.mesh import paint_species
from fieldlevel.numerics.spectra import power_spectrum_3d
from fieldlevel.simulate.feedback import Feedback, GravityRun, HydroParticles, Scaling
from fieldlevel.simulate.mock_simba import SIMBAConstants
from fieldlevel.simulate.mock_tng import TNGConstants
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.simulation import baryon_model, gravity_run, nbody_run
from fieldlevel.study.scales import SIMULATION_SCALES

CMD = Layout()

CONSTANTS = {"MockTNG": TNGConstants, "MockSIMBA": SIMBAConstants}
EXPONENTS = ("Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2")
FREE: dict[str, dict[str, tuple[str, ...]]] = {
    "MockTNG": {
        "beta": ("value", *EXPONENTS),
        "scale": ("value", "Omega_m", "sigma_8", "A_SN1", "A_SN2", "A_AGN2"),
        "gamma": ("value", "A_SN2"),
        "heat_spread": ("value", "Omega_m", "A_SN1", "A_SN2"),
        "star_fraction": ("value", *EXPONENTS),
        "star_spread": ("value", "A_SN2"),
        "kappa": ("value", "Omega_m", "A_SN2"),
    },
    "MockSIMBA": {
        "jet_fraction": ("value", *EXPONENTS),
        "jet_mass": ("value", *EXPONENTS),
        "jet_reach": ("value", *EXPONENTS),
        "wind_fraction": ("value", "Omega_m", "A_SN1"),
        "wind_reach": ("value", "A_SN2"),
        "star_fraction": ("value", "Omega_m", "A_SN1", "A_SN2"),
        "core": ("value", *EXPONENTS),
        "relaxation": ("value", "Omega_m"),
    },
}
WIDTHS = {"value": 0.4, "exponent": 0.4}
"""Of the prior: natural logarithm of a value, an exponent."""
TOLERANCE = 0.02
"""Wanted difference in S; with the error of the tables it weighs the residuals."""


@dataclass(frozen=True)
class Arguments:
    """Fit one model."""

    suite: Literal["MockTNG", "MockSIMBA"] = "MockTNG"
    scale: Literal["laptop", "letter", "fine"] = "letter"
    n_rows: int = 40
    """Latin-hypercube rows to fit."""
    n_validation: int = 20
    """Other rows to validate on."""
    n_seeds: int = 6
    """Seeds of the fiducial point, in the fit and in the validation."""
    seconds: float = 120.0
    """No new iteration starts after this."""
    device: str = "auto"
    out: Path = Path("constants.json")


@dataclass
class Sample:
    """One simulated point with its target."""

    case: str
    run: GravityRun
    feedback: Feedback
    nbody_power: np.ndarray
    target: np.ndarray
    weight: float


def power(kinds: Sequence[torch.Tensor], masses: Sequence[float], n_mesh: int, k_h_mpc: np.ndarray) -> np.ndarray:
    """P(k) interpolated in ln k; any units, ratios matter."""
    k, P = power_spectrum_3d(paint_species(kinds, n_mesh, masses))
    k_shells = k.cpu().numpy() * 2 * np.pi / CMD.box_size_mpc_h
    return np.asarray(np.interp(np.log(k_h_mpc), np.log(k_shells), P.cpu().numpy()))


def simulate(
    spec: SimulateSpec,
    k: np.ndarray,
    device: torch.device,
    case: str,
    theta: np.ndarray,
    target: np.ndarray,
    seed: int,
    weight: float,
) -> Sample:
    """Both gravity runs of one point."""
    cosmology = Cosmology(float(theta[0]), float(theta[1]))
    feedback = Feedback(*(float(A) for A in theta[2:]))
    twin = nbody_run(spec, cosmology, seed, device)
    P = power(twin.kinds, twin.mass, spec.n_mesh, k)
    return Sample(case, gravity_run(spec, cosmology, seed, device), feedback, P, target, weight)


def suppression(suite: str, sample: Sample, constants: Any, k: np.ndarray) -> np.ndarray:
    """S(k) of one sample."""
    model: Callable[..., HydroParticles] = baryon_model(suite)
    kinds = model(sample.run, sample.feedback, constants).values()
    n_mesh = sample.run.particles.n_mesh
    P = power([kind.position for kind in kinds], [kind.mass for kind in kinds], n_mesh, k)
    return np.asarray(P / sample.nbody_power)


class Unknowns:
    """The free numbers of a set of constants as one vector: logarithms of values, exponents as they are."""

    def __init__(self, suite: str) -> None:
        self.start = CONSTANTS[suite]()
        self.names = [(constant, part) for constant, parts in FREE[suite].items() for part in parts]

    def vector(self) -> np.ndarray:
        """The constants of the model as they stand."""
        numbers = [getattr(getattr(self.start, constant), part) for constant, part in self.names]
        return np.array([np.log(x) if part == "value" else x for x, (_, part) in zip(numbers, self.names, strict=True)])

    def constants(self, vector: np.ndarray) -> Any:
        """Constants with the free numbers replaced."""
        changed: dict[str, Scaling] = {}
        for x, (constant, part) in zip(vector, self.names, strict=True):
            scaling = changed.get(constant, getattr(self.start, constant))
            changed[constant] = replace(scaling, **{part: float(np.exp(x) if part == "value" else x)})
        return replace(self.start, **changed)


def fit(suite: str, samples: list[Sample], k: np.ndarray, error: np.ndarray, seconds: float) -> Any:
    """Constants of least squares, held near their start by a weak prior."""
    unknowns = Unknowns(suite)
    start, width = (
        unknowns.vector(),
        np.array([WIDTHS["value" if part == "value" else "exponent"] for _, part in unknowns.names]),
    )
    spread = np.hypot(TOLERANCE, 0.5 * error)
    began = time.perf_counter()
    best: dict[str, Any] = {"cost": np.inf, "x": start}

    def residuals(x: np.ndarray) -> np.ndarray:
        parts = [s.weight * (suppression(suite, s, unknowns.constants(x), k) - s.target) / spread for s in samples]
        r = np.concatenate([*parts, (x - start) / width])
        if (cost := float(r @ r)) < best["cost"]:
            best.update(cost=cost, x=x.copy())
            print(f"  {time.perf_counter() - began:6.0f} s  cost {cost:.1f}", flush=True)
        return r

    def jacobian(x: np.ndarray) -> np.ndarray:
        if time.perf_counter() - began > seconds:
            raise TimeoutError
        here, step = residuals(x), 0.1
        return np.stack([(residuals(x + step * unit) - here) / step for unit in np.eye(len(x))], axis=1)

    try:
        least_squares(residuals, start, jac=jacobian, method="trf", x_scale=width, ftol=3e-3)
    except TimeoutError:
        print("  out of time: the best so far")
    return unknowns.constants(best["x"])


def report(suite: str, title: str, samples: list[Sample], constants: Any, k: np.ndarray) -> None:
    """Print the rms difference of S by case and over all."""
    differences: dict[str, list[np.ndarray]] = {}
    for sample in samples:
        differences.setdefault(sample.case, []).append(suppression(suite, sample, constants, k) - sample.target)
    print(f"{title}: rms of S - table over 0.5 <= k <= 20 h/Mpc")
    for case, rows in differences.items():
        if not case.startswith("LH") or len(differences) < 3:
            mean = np.mean(rows, axis=0)
            print(f"  {case:14s} {np.sqrt(np.mean(mean**2)):.4f}  {np.round(mean, 3)}")
    everything = np.array([row for rows in differences.values() for row in rows])
    print(f"  all, each simulation: {np.sqrt(np.mean(everything**2)):.4f}; mean difference {everything.mean():+.4f}")


def main() -> None:
    """Simulate, fit, validate, write."""
    arguments = tyro.cli(Arguments)
    suite, spec = arguments.suite, SIMULATION_SCALES[arguments.scale]()
    device = select_device(arguments.device)
    k, cases = read_suppression(suite)
    error = read_error(suite, len(k))
    (fiducial,) = cases["fiducial"]

    point = partial(simulate, spec, k, device)

    def rows(first: int, count: int) -> list[Sample]:
        numbers = [first + 1000 // count * i for i in range(count)]
        return [point(f"LH_{n}", *cases[f"LH_{n}"][0], 7000 + n, 1.0) for n in numbers]

    def fiducials(first_seed: int) -> list[Sample]:
        n, weight = arguments.n_seeds, (arguments.n_rows / 3 / arguments.n_seeds) ** 0.5
        return [point("fiducial", *fiducial, first_seed + i, weight) for i in range(n)]

    began = time.perf_counter()
    ends = {
        f"1P {name} {'low' if end == 0 else 'high'}": cases[f"1P_{name}"][end] for name in EXPONENTS for end in (0, -1)
    }
    training = [*rows(1, arguments.n_rows), *fiducials(100)]
    training += [point(case, *end, seed, 1.0) for case, end in ends.items() for seed in (400, 401)]
    print(f"{suite}: {len(training)} samples in {time.perf_counter() - began:.0f} s", flush=True)
    constants = fit(suite, training, k, error, arguments.seconds)
    report(suite, "fitted", training, constants, k)
    del training
    report(suite, "validation rows and seeds", [*rows(12, arguments.n_validation), *fiducials(200)], constants, k)
    for name in EXPONENTS:
        chosen = [(case, end) for case, end in ends.items() if name in case]
        both = [point(case, *end, seed, 1.0) for case, end in chosen for seed in (300, 301, 302)]
        report(suite, f"1P {name}", both, constants, k)
    write_text(arguments.out, json.dumps(asdict(constants), indent=1) + "\n")
    for field in fields(constants):
        print(f"    {field.name}: Scaling = {getattr(constants, field.name)}")


if __name__ == "__main__":
    run(main)
