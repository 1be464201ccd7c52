r"""Fit the constants of the baryon models to the suppression of the power spectrum in CAMELS, and validate them.

Least squares over latin-hypercube rows, the mean of seeds of the fiducial point, and the responses: S at the ends of
each parameter's range less that of the fiducial point with the same seeds, so that the scatter of one box cancels.
Every constant c is a value and its exponents in the six parameters,

    d S / d exponent of A = ln A  d S / d ln c,

so one more evaluation of a model a constant and sample gives the whole Jacobian. The validation uses other rows and
other seeds. The tables are described in suppression/README.md.

    python benchmarks/calibrate_feedback.py --suites MockTNG MockSIMBA --out constants.json

Gravity runs of one cosmology and seed are made once and serve all suites. Two suites on two GPUs are two processes,
one with `--device cuda:0`, one with `--device cuda:1`.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import tyro
from measuring import run
from moved_baryons import far_share
from suppression_tables import (
    FIRST_FITTED_ROW,
    FIRST_VALIDATION_ROW,
    MOST_CALIBRATION_ROWS,
    read_error,
    read_suppression,
    spread_rows,
)

from fieldlevel.errors import UserError
from fieldlevel.files import write_text
from fieldlevel.layout import Layout
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.device import select_device
from fieldlevel.numerics.mesh import paint_species
from fieldlevel.simulate.feedback import Feedback, GravityRun, HydroParticles, Scaling
from fieldlevel.simulate.mock_astrid import AstridConstants
from fieldlevel.simulate.mock_eagle import EAGLEConstants
from fieldlevel.simulate.mock_simba import SIMBAConstants
from fieldlevel.simulate.mock_tng import TNGConstants
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.simulation import baryon_model, gravity_run, nbody_run

FloatArray = npt.NDArray[np.float64]
Suite = Literal["MockTNG", "MockSIMBA", "MockAstrid", "MockEAGLE"]
Universe = tuple[float, float, int]
"""Omega_m, sigma_8 and seed."""

BOX_SIZE_MPC_H = Layout().box_size_mpc_h
CONSTANTS = {
    "MockTNG": TNGConstants,
    "MockSIMBA": SIMBAConstants,
    "MockAstrid": AstridConstants,
    "MockEAGLE": EAGLEConstants,
}
EXPONENTS = ("Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2")
FIDUCIAL = np.array([0.3, 0.8, 1.0, 1.0, 1.0, 1.0])
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
    "MockAstrid": {
        "heat": ("value", *EXPONENTS),
        "heat_mass": ("value", *EXPONENTS),
        "atmosphere": ("value", *EXPONENTS),
        "mass_slope": ("value",),
        "tail": ("value",),
        "cooling": ("value", "Omega_m", "A_SN1", "A_SN2", "A_AGN2"),
        "star_fraction": ("value", *EXPONENTS),
        "answer": ("value", "Omega_m"),
    },
    "MockEAGLE": {
        "events": ("value", "Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2"),
        "seed_mass": ("value", "Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2"),
        "bubble": ("value", *EXPONENTS),
        "lift": ("value", *EXPONENTS),
        "wind": ("value", "Omega_m", "sigma_8", "A_SN1", "A_SN2"),
        "star_fraction": ("value", "Omega_m", "sigma_8", "A_SN1", "A_SN2"),
        "answer": ("value", "Omega_m"),
    },
}
WIDTH = 0.4
"""Of the prior on the natural logarithm of a value and on an exponent."""
TOLERANCE = 0.02
"""Wanted difference in S; with the error of the tables it weighs the residuals."""
FIDUCIAL_WEIGHT, RESPONSE_WEIGHT = 3.0, 1.5
STEP = 0.1
"""Of ln c in the Jacobian."""
LONGEST_STEP = 0.7
"""Of each free number in one step of the fit."""
SMALLEST_GAIN, MOST_FAILED = 0.02, 2
"""After so many steps that gain less than this share of the cost the Jacobian is made anew; where all steps with one
have gained no more than that, the fit ends."""
SMALLEST_RESPONSE = 0.02


@dataclass(frozen=True)
class Arguments:
    """Fit one model or several."""

    suites: Annotated[tuple[Suite, ...], tyro.conf.arg(aliases=["--suite"])] = ("MockTNG",)
    n_particles: int = 256
    """Particles a side of each kind; the mesh is twice as fine."""
    step_error: float = 0.03
    """Wanted error of P(k) from finite time steps."""
    k_max: float = 20.0
    """Largest wavenumber [h/Mpc] of fit and validation."""
    n_rows: int = 16
    """Latin-hypercube rows to fit."""
    n_validation: int = 12
    """Other rows to validate on."""
    n_seeds: int = 4
    """Seeds of the fiducial point, in the fit and, others, in the validation."""
    n_end_seeds: int = 2
    """Of them, those of the ends of each parameter's range."""
    seconds: float = 120.0
    """For the fit of a model: no new step starts after this; 0 validates the constants as they stand."""
    device: str = "auto"
    out: Path = Path("constants.json")


@dataclass(frozen=True)
class Sample:
    """One point of a suite's parameter space with a seed, and S of its table."""

    case: str
    theta: FloatArray
    target: FloatArray
    seed: int

    @property
    def universe(self) -> Universe:
        """What its gravity run depends on."""
        return float(self.theta[0]), float(self.theta[1]), self.seed


class BinnedPower:
    """P(k) of meshes at a few wavenumbers: shells of `power_spectrum_3d`, from the modes up to the largest alone."""

    def __init__(self, n_mesh: int, k_h_mpc: FloatArray, device: torch.device) -> None:
        fundamental = 2 * np.pi / BOX_SIZE_MPC_H
        self.log_k, self.last = np.log(k_h_mpc), int(k_h_mpc.max() / fundamental) + 3
        if self.last >= n_mesh // 2:
            raise UserError(f"k_max {k_h_mpc.max():g}: a mesh of {n_mesh} cells ends below; take a smaller one")
        full = torch.cat([torch.arange(self.last + 1), torch.arange(-self.last, 0)]).to(device)
        half = torch.arange(self.last + 1, device=device)
        k = (full[:, None, None].square() + full[:, None].square() + half.square()).double().sqrt()
        self.rows, self.shell = full % n_mesh, k.round().to(torch.int64).flatten()
        self.weight = torch.where(half > 0, 2.0, 1.0).double().expand_as(k).flatten()
        self.count = torch.bincount(self.shell, self.weight)
        self.log_shells = (
            (torch.bincount(self.shell, self.weight * k.flatten()) / self.count).cpu() * fundamental
        ).log()

    def __call__(self, density: torch.Tensor) -> FloatArray:
        """Interpolated in ln k; any units, ratios matter."""
        modes = torch.fft.rfftn(density)[..., : self.last + 1][self.rows][:, self.rows].flatten()
        squares = modes.real.double().square() + modes.imag.double().square()
        P = torch.bincount(self.shell, squares * self.weight) / self.count / density.double().mean().square()
        low = slice(1, self.last)
        return np.asarray(np.interp(self.log_k, self.log_shells[low].numpy(), P[low].cpu().numpy()))


class Universes:
    """Gravity runs, made when first asked for, with as little on the device as all models need again and again."""

    def __init__(self, spec: SimulateSpec, k: FloatArray, device: torch.device) -> None:
        self.spec, self.power, self.device = spec, BinnedPower(spec.n_mesh, k, device), device
        self.kept: dict[Universe, tuple[GravityRun, FloatArray]] = {}

    def suppression(self, suite: str, sample: Sample, constants: Any) -> FloatArray:
        """S(k) of one sample."""
        run, nbody_power = self._of(sample.universe)
        kinds = self._hydro(suite, run, sample, constants).values()
        mass = paint_species([kind.position for kind in kinds], self.spec.n_mesh, [kind.mass for kind in kinds])
        return np.asarray(self.power(mass) / nbody_power)

    def far_share(self, suite: str, sample: Sample, constants: Any) -> float:
        """Share of the baryons that the model moves by more than 1 Mpc: reported, not fitted."""
        run, _ = self._of(sample.universe)
        return far_share(run, self._hydro(suite, run, sample, constants))

    def seconds(self, suite: str, sample: Sample, constants: Any) -> float:
        """Wall-clock of the model alone, haloes and pressure given."""
        run, _ = self._of(sample.universe)
        self._hydro(suite, run, sample, constants)
        began = time.perf_counter()
        self._hydro(suite, run, sample, constants)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - began

    def forget(self, universes: Iterable[Universe]) -> None:
        """Free the memory of these."""
        for universe in universes:
            self.kept.pop(universe, None)

    def prepare(self, universe: Universe) -> None:
        """Make the gravity run and its twin, if they are not there."""
        self._of(universe)

    def _of(self, universe: Universe) -> tuple[GravityRun, FloatArray]:
        if universe not in self.kept:
            Omega_m, sigma_8, seed = universe
            cosmology = Cosmology(Omega_m, sigma_8)
            twin = nbody_run(self.spec, cosmology, seed, self.device)
            P = self.power(paint_species(twin.kinds, self.spec.n_mesh, twin.mass))
            del twin
            self.kept[universe] = self._slim(gravity_run(self.spec, cosmology, seed, self.device)), P
        return self.kept[universe]

    def _slim(self, run: GravityRun) -> GravityRun:
        """Velocities serve the spin of haloes alone; zeros that take no memory stand in their place."""
        particles = replace(run.particles, velocity=run.gas.new_zeros(1, 1).expand_as(run.particles.position))
        slim = replace(run, particles=particles)
        slim.__dict__["haloes"] = replace(run.haloes, of_cell=run.haloes.of_cell.to(torch.int32))
        slim.__dict__["pressure_displacement"] = run.pressure_displacement
        return slim

    def _hydro(self, suite: str, run: GravityRun, sample: Sample, constants: Any) -> HydroParticles:
        model: Callable[..., HydroParticles] = baryon_model(suite)
        kinds = model(run, Feedback(*(float(A) for A in sample.theta[2:])), constants)
        for mesh in ("density_k", "peak_density"):
            run.__dict__.pop(mesh, None)
        return kinds


@dataclass(frozen=True)
class Comparison:
    """What is compared with the table: a weighted sum of S over samples, and the same of their targets."""

    terms: tuple[tuple[int, float], ...]
    weight: float

    def of(self, S: FloatArray) -> FloatArray:
        """The sum, of whatever has the samples along its first axis."""
        return np.asarray(sum(factor * S[number] for number, factor in self.terms))


def comparisons(samples: list[Sample]) -> list[Comparison]:
    """Rows one by one, the mean of the fiducial seeds, the responses at the ends."""
    rows = [Comparison(((i, 1.0),), 1.0) for i, sample in enumerate(samples) if sample.case.startswith("LH")]
    fiducial = {sample.seed: i for i, sample in enumerate(samples) if sample.case == "fiducial"}
    mean = Comparison(tuple((i, 1 / len(fiducial)) for i in fiducial.values()), FIDUCIAL_WEIGHT)
    ends: dict[str, list[tuple[int, float]]] = {}
    for i, sample in enumerate(samples):
        if sample.case.startswith("1P"):
            ends.setdefault(sample.case, []).extend([(i, 1.0), (fiducial[sample.seed], -1.0)])
    responses = [
        Comparison(tuple((i, 2 * factor / len(terms)) for i, factor in terms), RESPONSE_WEIGHT)
        for terms in ends.values()
    ]
    return [*rows, mean, *responses]


class Unknowns:
    """The free numbers of a set of constants as one vector: logarithms of values, exponents as they are."""

    def __init__(self, suite: str) -> None:
        self.start = CONSTANTS[suite]()
        self.names = [(constant, part) for constant, parts in FREE[suite].items() for part in parts]

    def vector(self) -> FloatArray:
        """The constants of the model as they stand."""
        numbers = [getattr(getattr(self.start, constant), part) for constant, part in self.names]
        return np.array([np.log(x) if part == "value" else x for x, (_, part) in zip(numbers, self.names, strict=True)])

    def constants(self, vector: FloatArray) -> Any:
        """Constants with the free numbers replaced."""
        changed: dict[str, Scaling] = {}
        for x, (constant, part) in zip(vector, self.names, strict=True):
            scaling = changed.get(constant, getattr(self.start, constant))
            changed[constant] = replace(scaling, **{part: float(np.exp(x) if part == "value" else x)})
        return replace(self.start, **changed)

    def lever(self, sample: Sample) -> FloatArray:
        """D ln c / d x of each free number at a sample."""
        logarithms = dict(zip(EXPONENTS, np.log(sample.theta / FIDUCIAL), strict=True)) | {"value": 1.0}
        return np.array([logarithms[part] for _, part in self.names])


def larger(constants: Any, name: str) -> Any:
    """Constants with one of them a step larger."""
    scaling: Scaling = getattr(constants, name)
    return replace(constants, **{name: replace(scaling, value=scaling.value * float(np.exp(STEP)))})


class Problem:
    """Least squares of one suite: residuals in units of their spread, held near the start by a weak prior."""

    def __init__(self, suite: str, samples: list[Sample], universes: Universes, error: FloatArray) -> None:
        self.suite, self.samples, self.universes = suite, samples, universes
        self.unknowns, self.compared = Unknowns(suite), comparisons(samples)
        self.start, self.spread = self.unknowns.vector(), np.hypot(TOLERANCE, 0.5 * error)
        self.targets = np.array([sample.target for sample in samples])

    def suppressions(self, x: FloatArray) -> FloatArray:
        """S of all samples, (n, k)."""
        constants = self.unknowns.constants(x)
        return np.array([self.universes.suppression(self.suite, sample, constants) for sample in self.samples])

    def residuals(self, S: FloatArray, x: FloatArray) -> FloatArray:
        """Of the comparisons and of the prior."""
        parts = [each.weight * each.of(S - self.targets) / self.spread for each in self.compared]
        return np.concatenate([*parts, (x - self.start) / WIDTH])

    def jacobian(self, S: FloatArray, x: FloatArray) -> FloatArray:
        """Derivatives of the residuals by x, at which the samples have the suppression S."""
        constants, slope = self.unknowns.constants(x), np.zeros((*S.shape, len(x)))
        for name in FREE[self.suite]:
            is_its = np.array([constant == name for constant, _ in self.unknowns.names])
            stepped = larger(constants, name)
            for i, sample in enumerate(self.samples):
                change = (self.universes.suppression(self.suite, sample, stepped) - S[i]) / STEP
                slope[i] += np.outer(change, self.unknowns.lever(sample) * is_its)
        parts = [each.weight * each.of(slope) / self.spread[:, None] for each in self.compared]
        return np.concatenate([*parts, np.eye(len(x)) / WIDTH])


def fit(problem: Problem, seconds: float) -> Any:
    """Constants of least squares by Levenberg and Marquardt.

    Between Jacobians, which cost some eight times as much as a step, Broyden's update serves while it makes progress.
    """
    began = time.perf_counter()

    def elapsed() -> float:
        return time.perf_counter() - began

    x, slope, damping = problem.start, None, 0.1
    S = problem.suppressions(x)
    r = problem.residuals(S, x)
    print(f"  {elapsed():6.0f} s  cost {r @ r:.1f}", flush=True)
    while elapsed() < seconds:
        if slope is None:
            slope, cost, n_failed = problem.jacobian(S, x), float(r @ r), 0
        normal = slope.T @ slope + damping * np.eye(len(x)) / WIDTH**2
        step = np.clip(-np.linalg.solve(normal, slope.T @ r), -LONGEST_STEP, LONGEST_STEP)
        trial = problem.suppressions(x + step)
        new = problem.residuals(trial, x + step)
        slope = slope + np.outer(new - r - slope @ step, step) / (step @ step)
        gain = 1 - float(new @ new) / float(r @ r)
        if gain > 0:
            x, S, r, damping = x + step, trial, new, max(0.3 * damping, 1e-3)
            print(f"  {elapsed():6.0f} s  cost {r @ r:.1f}", flush=True)
        else:
            damping *= 5
        n_failed += gain < SMALLEST_GAIN
        if n_failed == MOST_FAILED:
            if float(r @ r) > (1 - SMALLEST_GAIN) * cost:
                break
            slope = None
    return problem.unknowns.constants(x)


def rms(differences: Any) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(differences))))


class Tables:
    """The samples of one suite."""

    def __init__(self, suite: str, arguments: Arguments) -> None:
        k, self.cases = read_suppression(suite)
        self.k = k[k <= arguments.k_max]
        self.error = read_error(suite, len(self.k))
        self.ends = {
            f"1P {name} {side}": self.cases[f"1P_{name}"][end]
            for name in EXPONENTS
            for side, end in (("low", 0), ("high", -1))
        }

    def rows(self, first: int, count: int) -> list[Sample]:
        """Rows spread over the table."""
        return [self._sample(f"LH_{n}", self.cases[f"LH_{n}"][0], 7000 + n) for n in spread_rows(first, count)]

    def points(self, first_seed: int, n_seeds: int, n_end_seeds: int) -> list[Sample]:
        """The fiducial point and the ends of each range."""
        (fiducial,) = self.cases["fiducial"]
        samples = [self._sample("fiducial", fiducial, first_seed + i) for i in range(n_seeds)]
        return samples + [
            self._sample(case, end, first_seed + i) for case, end in self.ends.items() for i in range(n_end_seeds)
        ]

    def _sample(self, case: str, row: tuple[FloatArray, FloatArray], seed: int) -> Sample:
        return Sample(case, row[0], row[1][: len(self.k)], seed)


def validate(
    suite: str, tables: Tables, constants: Any, universes: Universes, arguments: Arguments, kept: set[Universe]
) -> dict[str, Any]:
    """What is reported of a fitted model; universes outside `kept` are forgotten one by one."""

    def S_of(samples: list[Sample]) -> list[FloatArray]:
        values = []
        for sample, following in zip(samples, [*samples[1:], None], strict=True):
            values.append(universes.suppression(suite, sample, constants))
            if following is None or following.universe != sample.universe:
                universes.forget({sample.universe} - kept)
        return values

    fiducial = tables.points(100, arguments.n_seeds, 0)
    fitted = np.mean(S_of(fiducial), axis=0)
    unseen = sorted(
        tables.points(200, arguments.n_seeds, arguments.n_end_seeds),
        key=lambda sample: (sample.universe, sample.case),
    )
    cases: dict[str, dict[int, FloatArray]] = {}
    for sample, S in zip(unseen, S_of(unseen), strict=True):
        cases.setdefault(sample.case, {})[sample.seed] = S
    target = fiducial[0].target
    mean = np.mean(list(cases["fiducial"].values()), axis=0)
    rows = tables.rows(FIRST_VALIDATION_ROW, arguments.n_validation)
    differences = np.array([S - row.target for S, row in zip(S_of(rows), rows, strict=True)])
    far = [universes.far_share(suite, sample, constants) for sample in fiducial]
    return {
        "n_particles": arguments.n_particles,
        "k": tables.k.tolist(),
        "fiducial": {
            "table": target.tolist(),
            "error_of_table": tables.error.tolist(),
            "fit": {"S": fitted.tolist(), "rms": rms(fitted - target)},
            "validation": {"S": mean.tolist(), "rms": rms(mean - target)},
        },
        "responses": responses(tables, cases),
        "unseen_rows": {
            "rms_by_row": {row.case: rms(each) for row, each in zip(rows, differences, strict=True)},
            "rms": rms(differences),
            "mean_difference": float(differences.mean()),
        },
        "share_beyond_1_Mpc": {"mean": float(np.mean(far)), "by_seed": far},
        "seconds_of_model": universes.seconds(suite, fiducial[0], constants),
    }


def responses(tables: Tables, cases: dict[str, dict[int, FloatArray]]) -> list[dict[str, Any]]:
    """S at the upper end of each range less that at the lower, wherever the table has 0.02 and more."""
    found = []
    for name in EXPONENTS:
        low, high = (f"1P {name} {side}" for side in ("low", "high"))
        table = tables.ends[high][1] - tables.ends[low][1]
        model = np.mean([cases[high][seed] - cases[low][seed] for seed in cases[high]], axis=0)
        found += [
            {"parameter": name, "k": float(k), "table": float(T), "model": float(S), "right": bool(S * T > 0)}
            for k, T, S in zip(tables.k, table, model, strict=False)
            if abs(T) >= SMALLEST_RESPONSE
        ]
    return found


def show(suite: str, result: dict[str, Any]) -> None:
    """Print what matters of `validate`."""
    fiducial, wrong = result["fiducial"], [each for each in result["responses"] if not each["right"]]
    print(f"{suite}, k = {result['k']}")
    print(f"  table      {np.round(fiducial['table'], 3)}")
    for which in ("fit", "validation"):
        print(f"  {which:10s} {np.round(fiducial[which]['S'], 3)}  rms {fiducial[which]['rms']:.4f}")
    print(f"  responses of {SMALLEST_RESPONSE} and more: {len(wrong)} of {len(result['responses'])} of the wrong sign")
    for name in EXPONENTS:
        its = [each for each in result["responses"] if each["parameter"] == name]
        line = ", ".join(f"{each['k']:g}: {each['model']:+.3f} ({each['table']:+.3f})" for each in its)
        print(f"    {name:8s} {line}")
    rows = result["unseen_rows"]
    print(f"  unseen rows: rms {rows['rms']:.4f}, mean difference {rows['mean_difference']:+.4f}")
    print(f"  baryons moved by more than 1 Mpc: {100 * result['share_beyond_1_Mpc']['mean']:.1f}%")
    print(f"  seconds of the model: {result['seconds_of_model']:.3f}", flush=True)


def main() -> None:
    """Simulate, fit, validate, write."""
    arguments = tyro.cli(Arguments)
    if max(arguments.n_rows, arguments.n_validation) > MOST_CALIBRATION_ROWS:
        raise UserError(f"--n-rows, --n-validation: at most {MOST_CALIBRATION_ROWS}, so that rows are left unseen")
    device, n = select_device(arguments.device), arguments.n_particles
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    spec = SimulateSpec(n_particles=n, n_mesh=2 * n, step_error=arguments.step_error)
    all_tables = {suite: Tables(suite, arguments) for suite in arguments.suites}
    universes = Universes(spec, next(iter(all_tables.values())).k, device)
    results: dict[str, Any] = {}
    for suite, tables in all_tables.items():
        began = time.perf_counter()
        shared = tables.points(100, arguments.n_seeds, arguments.n_end_seeds)
        rows = tables.rows(FIRST_FITTED_ROW, arguments.n_rows) if arguments.seconds > 0 else []
        for sample in (*shared, *rows):
            universes.prepare(sample.universe)
        print(f"{suite}: {len(shared) + len(rows)} samples in {time.perf_counter() - began:.0f} s", flush=True)
        constants = Unknowns(suite).start
        if arguments.seconds > 0:
            constants = fit(Problem(suite, [*rows, *shared], universes, tables.error), arguments.seconds)
        unseen = tables.points(200, arguments.n_seeds, arguments.n_end_seeds)
        kept = {sample.universe for sample in (*shared, *unseen)}
        universes.forget({sample.universe for sample in rows} - kept)
        result = validate(suite, tables, constants, universes, arguments, kept)
        results[suite] = {"constants": asdict(constants), **result}
        write_text(arguments.out, json.dumps(results, indent=1) + "\n")
        show(suite, result)
        for field in fields(constants):
            print(f"    {field.name}: {getattr(constants, field.name)}")


if __name__ == "__main__":
    run(main)
