r"""How networks do on a suite that they were not taught: error over the oracle's, honesty of their error bars.

    ratio    = RMSE(network on B) / RMSE(oracle of B on B),  paired: the same simulations are drawn on both sides,
    coverage = part of the truths in the central 68% of the posteriors,
    width    = <sigma> / <sigma of the oracle>.

The last two are measured twice, with sigma as the network predicts it and with transfer error bars

    sigma^2 + tau^2,   tau^2 = mean over the suites that were left out in turn among the sources of tau_k^2

(`inference.transfer_errors.fit_tau`). That rule knows nothing of B: the networks that it looks at were trained by the
same method on all but two suites, and their errors are those on rows of the training set.

Why a network fails is asked by what its answers differ from the oracle's, and which parameters of B that follows
(`statistics.shift_sources`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from fieldlevel.arrays import FloatArray
from fieldlevel.inference.marginal_cdf import pit_of_predictions
from fieldlevel.inference.transfer_errors import Answers, fit_tau
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.coverage import coverage
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.ratios import error_ratio
from fieldlevel.statistics.rescaling import Rescaling
from fieldlevel.statistics.shift_sources import ShiftSources, shift_sources
from fieldlevel.study.robustness.robustness_results import RobustnessResults
from fieldlevel.study.robustness.roles import Role

LEVEL = 0.68
KEPT = ("rmse", "rms_relative_error", "bias", "r2", "reduced_chi2")
"""Measures of `METRICS` that are told."""


@dataclass(frozen=True)
class FoldMeasure:
    """How networks do on one suite, in one parameter.

    Attributes:
        scores: by the key of the measure.
        ratio: of the RMSE to that of the oracle.
        oracle_r2: of the oracle: whether there is anything to know.
        coverage: of the central 68%.
        width: of the error bars, over those of the oracle.
        tau: what is added to them, in units of the parameter; None where it was not measured.
        transfer_chi2: reduced chi^2 with it.
        transfer_coverage: coverage with it.
        transfer_width: width with it.
    """

    scores: Mapping[str, Estimate]
    ratio: Estimate
    oracle_r2: Estimate
    coverage: Estimate
    width: Estimate
    tau: float | None = None
    transfer_chi2: Estimate | None = None
    transfer_coverage: Estimate | None = None
    transfer_width: Estimate | None = None


def measure(results: RobustnessResults, role: Role, suite: str) -> dict[str, FoldMeasure]:
    """All measures of the networks of a role on one suite, by parameter."""
    found = results.predictions(role, suite)
    oracle = results.predictions(results.oracle(role, suite), suite)
    plain, widths = _honesty(found), error_ratio(oracle, found, "mean_std", names=results.names)
    ratios = error_ratio(oracle, found, names=results.names)
    scores = {name: _scores(found, name, KEPT) for name in results.names}
    measured = {
        name: FoldMeasure(scores[name], ratios[name], _scores(oracle, name, ("r2",))["r2"], plain[name], widths[name])
        for name in results.names
    }
    if (tau := transfer_tau(results, role)) is None:
        return measured
    wide = replace(found, std=np.hypot(found.std, tau))
    honest, widths = _honesty(wide), error_ratio(oracle, wide, "mean_std", names=results.names)
    return {
        name: replace(
            each,
            tau=float(tau[column]),
            transfer_chi2=_scores(wide, name, ("reduced_chi2",))["reduced_chi2"],
            transfer_coverage=honest[name],
            transfer_width=widths[name],
        )
        for column, (name, each) in enumerate(measured.items())
    }


def _scores(predictions: Predictions, name: str, keys: Sequence[str]) -> dict[str, Estimate]:
    draws = Bootstrap.draw(predictions.simulation, 1000, [0, 0])
    return {key: Estimate.from_replicas(*METRICS[key].measure(predictions, name, draws)) for key in keys}


def _honesty(predictions: Predictions) -> dict[str, Estimate]:
    pit, _ = pit_of_predictions(predictions)
    (row,) = coverage(pit, predictions.simulation, (LEVEL,))
    return dict(zip(predictions.layout.names, row, strict=True))


def transfer_tau(results: RobustnessResults, role: Role) -> FloatArray | None:
    """What leave-one-out among the sources asks for, in units of the parameters, (P,).

    Args:
        results: of the study.
        role: of networks that leave a suite out; of others nothing is known.
    """
    if role.kind != "leave one out":
        return None
    inner = [
        each
        for each in results.tested
        if (each.kind, each.method) == ("inner", role.method) and each.suites[1] == role.target
    ]
    if not inner:
        return None
    answers = [_answers(results.predictions(each, each.target)) for each in inner]
    widths = np.array([parameter.high - parameter.low for parameter in results.parameters])
    tau = fit_tau(answers, Rescaling.none(len(widths)))
    return np.asarray(np.array([0.0 if each is None else each for each in tau]) * widths)


def _answers(predictions: Predictions) -> Answers:
    layout = predictions.layout
    theta, mean = (layout.to_unit_interval(each) for each in (predictions.theta, predictions.mean))
    return Answers(theta, mean, predictions.std / (layout.highs - layout.lows), predictions.simulation)


Fold = Mapping[str, FoldMeasure]
"""By parameter."""


@dataclass(frozen=True)
class Measures:
    """All measures of a study.

    Attributes:
        matrix: of single-suite networks, by the suites trained and tested on.
        left_out: by method, then by left-out suite.
        own_cost: of networks on all suites beside single-suite ones, by method, then by suite.
        adapted: by left-out suite, then by role.
        controls: by left-out suite, then by role.
        shifts: what the answers of networks that leave a suite out differ by from those of its oracle, and what that
            follows: by method, left-out suite and parameter; of too few simulations none.
    """

    matrix: Mapping[tuple[str, str], Fold]
    left_out: Mapping[str, Mapping[str, Fold]]
    own_cost: Mapping[str, Mapping[str, Fold]]
    adapted: Mapping[str, Mapping[Role, Fold]]
    controls: Mapping[str, Mapping[Role, Fold]]
    shifts: Mapping[str, Mapping[str, Mapping[str, ShiftSources]]] = field(default_factory=dict)


def measure_all(results: RobustnessResults) -> Measures:
    """Measure everything that was done."""

    @cache
    def fold(role: Role, suite: str) -> dict[str, FoldMeasure]:
        return measure(results, role, suite)

    singles = [role for role in results.tested if role.kind == "matrix"]
    every = [(method, [results.left_out(method, suite) for suite in results.suites]) for method in results.told_methods]
    return Measures(
        {(role.target, suite): fold(role, suite) for role in singles for suite in results.suites},
        {
            method: {role.target: fold(role, role.target) for role in roles if role in results.tested}
            for method, roles in every
            if all(role in results.tested for role in roles)
        },
        {
            role.method: {suite: fold(role, suite) for suite in results.suites}
            for role in results.tested
            if role.kind == "all suites"
        },
        {suite: {role: fold(role, suite) for role in results.adapted(suite)} for suite in results.suites},
        {suite: {role: fold(role, suite) for role in results.controls(suite)} for suite in results.suites},
        {
            method: {suite: found for suite in results.suites if (found := _shifts(results, method, suite))}
            for method in results.told_methods
        },
    )


def _shifts(results: RobustnessResults, method: str, suite: str) -> dict[str, ShiftSources]:
    """By parameter; nothing where the networks, their oracle or the labels are not there."""
    role = results.left_out(method, suite)
    oracle = results.oracle(role, suite)
    if suite not in results.labels or not {role, oracle} <= results.tested.keys():
        return {}
    before, after = results.predictions(oracle, suite), results.predictions(role, suite)
    found = {name: shift_sources(before, after, name, results.labels[suite]) for name in results.names}
    return {name: each for name, each in found.items() if each is not None}


def worst(ratios: Sequence[Estimate]) -> Estimate | None:
    """The largest; None of none."""
    return max(ratios, key=lambda each: each.value, default=None)
