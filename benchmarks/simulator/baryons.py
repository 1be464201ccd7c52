"""Baryons: suppression of the power spectrum against the tables, its response, how far baryons are moved.

The tables and how they are read are those of the calibration; no seed and no latin-hypercube row here was fitted.
"""

from collections.abc import Sequence

import numpy as np
import torch
from benchmarks.moved_baryons import far_share
from benchmarks.simulator.fields import FloatArray, Universe, comparison, hydro_matter
from benchmarks.simulator.measurement import FIRST_SEED, Measure, Result, Setting
from benchmarks.suppression_tables import read_error, read_suppression, uncalibrated_rows

from fieldlevel.layout import Layout
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.simulate.designs import first_seed
from fieldlevel.simulate.feedback import HydroParticles
from fieldlevel.suites import mock_suites

CMD = Layout()
N_COSMOLOGICAL = len(CMD.cosmological)


def suppression(setting: Setting) -> Result:
    """S(k) at the fiducial point and the share of baryons that are moved far, seed by seed."""
    seeds = range(FIRST_SEED, FIRST_SEED + setting.sizes.n_fiducial_seeds)
    runs: dict[str, list[Result]] = {suite: [] for suite in mock_suites()}
    for seed in seeds:
        universe = _universe(setting, _fiducial(), seed)
        for suite, found in runs.items():
            found.append(_fiducial_run(universe, suite))
    suites = {suite: _summary(suite, found) for suite, found in runs.items()}
    return {"k": wavenumbers(), "n_seeds": len(seeds), "suites": suites}


def wavenumbers() -> FloatArray:
    """Of the tables, the same of all suites [h/Mpc]."""
    return read_suppression(mock_suites()[0])[0]


def _fiducial() -> FloatArray:
    return read_suppression(mock_suites()[0])[1]["fiducial"][0][0]


def _universe(setting: Setting, theta: FloatArray, seed: int) -> Universe:
    cosmology = Cosmology(float(theta[0]), float(theta[1]))
    return Universe(setting.sizes.letter, cosmology, seed, setting.device)


def _fiducial_run(universe: Universe, suite: str) -> Result:
    """S, correlation with the twin, stars over baryons, share moved far and relative error of mass, of one seed."""
    kinds, k = universe.particles(suite), wavenumbers()
    shells, S, r = comparison(hydro_matter(kinds, universe.spec.n_mesh), universe.twin)
    return {
        "S": np.interp(np.log(k), np.log(shells), S),
        "r": np.interp(np.log(k), np.log(shells), r),
        "star_share": len(kinds["Mstar"].position) / len(universe.run.gas),
        "far_share": far_share(universe.run, kinds),
        "mass_error": _mass_error(kinds, len(universe.run.gas)),
    }


def _mass_error(kinds: HydroParticles, n_lattice: int) -> float:
    masses = torch.tensor([len(kind.position) * kind.mass for kind in kinds.values()], dtype=torch.float64)
    return abs(float(masses.sum()) / n_lattice - 1)


def _summary(suite: str, runs: Sequence[Result]) -> Result:
    k, cases = read_suppression(suite)
    target, S, r = cases["fiducial"][0][1], *(np.array([run[name] for run in runs]) for name in ("S", "r"))
    far = [run["far_share"] for run in runs]
    return {
        "S": S.mean(0),
        "scatter": S.std(0, ddof=1),
        "target": target,
        "target_error": (error := read_error(suite, len(k))),
        "rms": np.sqrt(np.mean((S.mean(0) - target) ** 2)),
        "rms_of_target_error": np.sqrt(np.mean(error**2)),
        "r": r.mean(0),
        "star_share": np.mean([run["star_share"] for run in runs]),
        "far_share": np.mean(far),
        "far_share_scatter": np.std(far, ddof=1),
        "mass_error": max(run["mass_error"] for run in runs),
    }


def response(setting: Setting) -> Result:
    """S at the upper end of each parameter's range minus S at the lower end, the other five fiducial."""
    n_seeds = setting.sizes.n_response_seeds
    ends: dict[tuple[str, int], list[list[FloatArray]]] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + n_seeds):
        for suite, column, S_of_ends in _responses_of_seed(setting, seed):
            ends.setdefault((suite, column), []).append(S_of_ends)
    suites = {
        suite: {name: _change(suite, column, ends[suite, column]) for column, name in enumerate(CMD.names)}
        for suite in mock_suites()
    }
    return {"k": wavenumbers(), "n_seeds": n_seeds, "suites": suites}


def _responses_of_seed(setting: Setting, seed: int) -> list[tuple[str, int, list[FloatArray]]]:
    """Suite, column and S at both ends; all suites share the gravity runs."""
    k = wavenumbers()
    found: dict[tuple[str, int], list[FloatArray]] = {}
    universes = [(_fiducial(), range(N_COSMOLOGICAL, CMD.n_parameters))]
    for column in range(N_COSMOLOGICAL):
        universes += [(theta, range(column, column + 1)) for theta in _ends(mock_suites()[0], column)]
    for theta_of_run, columns in universes:
        universe = _universe(setting, theta_of_run, seed)
        for suite in mock_suites():
            for column in columns:
                for theta in _ends(suite, column):
                    if np.allclose(theta[:N_COSMOLOGICAL], theta_of_run[:N_COSMOLOGICAL]):
                        S = universe.suppression(universe.particles(suite, theta[N_COSMOLOGICAL:]), k)
                        found.setdefault((suite, column), []).append(S)
        del universe
    return [(suite, column, S) for (suite, column), S in found.items()]


def _change(suite: str, column: int, S_of_ends: Sequence[Sequence[FloatArray]]) -> Result:
    cases = read_suppression(suite)[1]
    low, high = _ends(suite, column)
    targets = {tuple(theta): S for theta, S in cases[f"1P_{CMD.names[column]}"]}
    return {
        "low": low[column],
        "high": high[column],
        "change": np.mean([high_S - low_S for low_S, high_S in S_of_ends], axis=0),
        "target": targets[tuple(high)] - targets[tuple(low)],
    }


def _ends(suite: str, column: int) -> tuple[FloatArray, FloatArray]:
    points = sorted(
        (theta for theta, _ in read_suppression(suite)[1][f"1P_{CMD.names[column]}"]), key=lambda x: x[column]
    )
    return points[0], points[-1]


def hypercube(setting: Setting) -> Result:
    """S(k) of latin-hypercube rows that the calibration has not seen, each with the seed of its row."""
    return {"k": wavenumbers(), "suites": {suite: _rows(setting, suite) for suite in mock_suites()}}


def _rows(setting: Setting, suite: str) -> Result:
    k, cases = read_suppression(suite)
    numbers = uncalibrated_rows(setting.sizes.n_suppression_rows)
    rows = [cases[f"LH_{number}"][0] for number in numbers]
    S, target = [], np.array([wanted for _, wanted in rows])
    for number, (theta, _) in zip(numbers, rows, strict=True):
        universe = _universe(setting, theta, first_seed("LH") + number)
        S.append(universe.suppression(universe.particles(suite, theta[N_COSMOLOGICAL:]), k))
    difference = np.array(S) - target
    return {
        "rows": numbers,
        "Omega_m": [float(theta[0]) for theta, _ in rows],
        "S": np.array(S),
        "target": target,
        "rms": np.sqrt(np.mean(difference**2)),
        "median_row_rms": np.median(np.sqrt(np.mean(difference**2, axis=1))),
        "bias": np.mean(difference),
        "rms_k": np.sqrt(np.mean(difference**2, axis=0)),
    }


MEASURES: dict[str, Measure] = {"suppression": suppression, "response": response, "hypercube": hypercube}
