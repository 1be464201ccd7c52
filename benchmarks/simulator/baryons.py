"""Baryons: suppression of the power spectrum against the tables, its response, the correlation with N-body.

The tables and how they are read are those of the calibration; no seed and no latin-hypercube row here was fitted.
"""

from collections.abc import Sequence

import numpy as np
import torch
from benchmarks.simulator.fields import FloatArray, comparison, hydro_matter, matter, today
from benchmarks.simulator.measurement import FIRST_SEED, Measure, Result, Setting
from benchmarks.suppression_tables import read_error, read_suppression

from fieldlevel.layout import Layout
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.simulate.designs import first_seed
from fieldlevel.simulate.feedback import Feedback, GravityRun, HydroParticles
from fieldlevel.simulate.simulation import baryon_model, gravity_run
from fieldlevel.suites import mock_suites

CMD = Layout()

FIRST_ROW = 7
"""Of the latin hypercube; every 40th from here meets neither every 25th from 1 nor every 50th from 12, which the
calibration takes."""


def suppression(setting: Setting) -> Result:
    """S(k) at the fiducial point, seed by seed."""
    seeds = range(FIRST_SEED, FIRST_SEED + setting.sizes.n_fiducial_seeds)
    k, _ = read_suppression(mock_suites()[0])
    theta = _fiducial()
    pairs = [_Pair(setting, theta, seed) for seed in seeds]
    return {"k": k, "n_seeds": len(seeds), "suites": {suite: _fiducial_suite(suite, pairs) for suite in mock_suites()}}


def _fiducial() -> FloatArray:
    return read_suppression(mock_suites()[0])[1]["fiducial"][0][0]


def _fiducial_suite(suite: str, pairs: Sequence["_Pair"]) -> Result:
    k, cases = read_suppression(suite)
    target, runs = cases["fiducial"][0][1], [pair.suppression(suite, _fiducial(), k) for pair in pairs]
    S, r = (np.array([run[name] for run in runs]) for name in ("S", "r"))
    return {
        "S": S.mean(0),
        "scatter": S.std(0, ddof=1),
        "target": target,
        "target_error": read_error(suite, len(k)),
        "rms": np.sqrt(np.mean((S.mean(0) - target) ** 2)),
        "r": r.mean(0),
        "star_share": np.mean([run["star_share"] for run in runs]),
        "mass_error": max(run["mass_error"] for run in runs),
    }


def response(setting: Setting) -> Result:
    """S at the upper end of each parameter's range minus S at the lower end, the other five fiducial."""
    seeds = range(FIRST_SEED, FIRST_SEED + setting.sizes.n_response_seeds)
    k, _ = read_suppression(mock_suites()[0])
    feedback_pairs = [_Pair(setting, _fiducial(), seed) for seed in seeds]
    found: dict[str, Result] = {suite: {} for suite in mock_suites()}
    for column, name in enumerate(CMD.names):
        low, high = _ends(mock_suites()[0], column)
        low_pairs, high_pairs = (
            [_Pair(setting, theta, seed) for seed in seeds] if column < 2 else feedback_pairs for theta in (low, high)
        )
        for suite in mock_suites():
            found[suite][name] = _change(suite, column, low_pairs, high_pairs)
    return {"k": k, "n_seeds": len(seeds), "suites": found}


def _change(suite: str, column: int, low_pairs: Sequence["_Pair"], high_pairs: Sequence["_Pair"]) -> Result:
    k, cases = read_suppression(suite)
    low, high = _ends(suite, column)
    targets = {tuple(theta): S for theta, S in cases[f"1P_{CMD.names[column]}"]}
    changes = [
        above.suppression(suite, high, k)["S"] - below.suppression(suite, low, k)["S"]
        for below, above in zip(low_pairs, high_pairs, strict=True)
    ]
    return {
        "low": low[column],
        "high": high[column],
        "change": np.mean(changes, axis=0),
        "target": targets[tuple(high)] - targets[tuple(low)],
    }


def _ends(suite: str, column: int) -> tuple[FloatArray, FloatArray]:
    points = sorted(
        (theta for theta, _ in read_suppression(suite)[1][f"1P_{CMD.names[column]}"]), key=lambda x: x[column]
    )
    return points[0], points[-1]


def hypercube(setting: Setting) -> Result:
    """S(k) of latin-hypercube rows that the calibration has not seen, each with the seed of its row."""
    k, _ = read_suppression(mock_suites()[0])
    return {"k": k, "suites": {suite: _rows(setting, suite) for suite in mock_suites()}}


def _rows(setting: Setting, suite: str) -> Result:
    k, cases = read_suppression(suite)
    n_cases, n_rows = sum(case.startswith("LH_") for case in cases), setting.sizes.n_suppression_rows
    numbers = [FIRST_ROW + n_cases // n_rows * i for i in range(n_rows)]
    S, target = [], []
    for number in numbers:
        theta, wanted = cases[f"LH_{number}"][0]
        S.append(_Pair(setting, theta, first_seed("LH") + number).suppression(suite, theta, k)["S"])
        target.append(wanted)
    difference = np.array(S) - target
    return {
        "rows": numbers,
        "Omega_m": [float(cases[f"LH_{number}"][0][0][0]) for number in numbers],
        "S": np.array(S),
        "target": np.array(target),
        "rms": np.sqrt(np.mean(difference**2)),
        "median_row_rms": np.median(np.sqrt(np.mean(difference**2, axis=1))),
        "bias": np.mean(difference),
        "rms_k": np.sqrt(np.mean(difference**2, axis=0)),
    }


class _Pair:
    """A gravity run with gas and the matter of its twin, from which S(k) of any feedback follows."""

    def __init__(self, setting: Setting, theta: FloatArray, seed: int) -> None:
        spec, self.cosmology = setting.sizes.letter, Cosmology(float(theta[0]), float(theta[1]))
        self.run = gravity_run(spec, self.cosmology, seed, setting.device)
        self.twin = matter(today(spec, self.cosmology, seed, setting.device), spec.n_mesh)

    def suppression(self, suite: str, theta: FloatArray, k: FloatArray) -> Result:
        """S(k), the correlation with the twin at the same wavenumbers, stars over baryons, relative error of mass."""
        run = GravityRun(self.run.particles, self.cosmology, self.run.seed, self.run.box_size_mpc_h)
        kinds = baryon_model(suite)(run, Feedback(*(float(A) for A in theta[2:])))
        shells, S, r = comparison(hydro_matter(kinds, run.particles.n_mesh), self.twin)
        return {
            "S": np.interp(np.log(k), np.log(shells), S),
            "r": np.interp(np.log(k), np.log(shells), r),
            "star_share": len(kinds["Mstar"].position) / len(run.gas),
            "mass_error": _mass_error(kinds, run),
        }


def _mass_error(kinds: HydroParticles, run: GravityRun) -> float:
    masses = torch.tensor([len(kind.position) * kind.mass for kind in kinds.values()], dtype=torch.float64)
    return abs(float(masses.sum()) / len(run.gas) - 1)


MEASURES: dict[str, Measure] = {"suppression": suppression, "response": response, "hypercube": hypercube}
