"""Measures and verdicts of a robustness study on answers that are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.layout import Layout
from fieldlevel.report.robustness_sentences import summarise_robustness
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.shift_sources import Labels
from fieldlevel.study.robustness.choosing import Choice, choose, full_size
from fieldlevel.study.robustness.fold_measures import FoldMeasure, measure_all, transfer_tau
from fieldlevel.study.robustness.robustness_document import headline, robustness_document
from fieldlevel.study.robustness.robustness_results import CHOSEN, RobustnessResults
from fieldlevel.study.robustness.robustness_spec import MethodOptions, RobustnessSpec
from fieldlevel.study.robustness.robustness_verdicts import at_least, judge_fold, judge_left_out, judge_robustness
from fieldlevel.study.robustness.roles import SINGLE, ZERO_WEIGHT, Role

SUITES = ("A", "B", "C", "D")
N_SIMULATIONS, N_MAPS = 60, 5
LAYOUT = Layout()
COSMOLOGY = LAYOUT.select(["Omega_m", "sigma_8"])
SIGMA = 0.04
"""Error of an oracle, in units of the prior."""


def answers(error=1.0, bias=0.0, seed=0):
    """Predictions whose errors are so many times SIGMA, with a bias in units of it, and claimed to be SIGMA."""
    rng = np.random.default_rng(seed)
    simulation = np.repeat(np.arange(N_SIMULATIONS), N_MAPS)
    unit = 0.2 + 0.6 * np.random.default_rng(7).uniform(size=(N_SIMULATIONS, 6))[simulation]
    width = LAYOUT.highs - LAYOUT.lows
    theta = LAYOUT.lows + width * unit
    mean = theta + width * SIGMA * (bias + error * rng.standard_normal(theta.shape))
    return Predictions(theta, mean, np.full_like(theta, SIGMA) * width, simulation, np.arange(len(theta)), LAYOUT)


def pair(suite, predictions, seed=0):
    return PairResult("A", suite, predictions, evaluate(predictions, 10), seed)


def study(tested, **changes):
    kept = {"choices": {suite: Choice(suite, {}, (MethodOptions(),)) for suite in SUITES}, "methods": ("pooled",)}
    parameters = COSMOLOGY.parameters
    return RobustnessResults(RobustnessSpec(), "key", SUITES, parameters, tested, **(kept | changes))


def usual(error=1.0, bias=0.0, inner_bias=0.0):
    """Oracles, networks that leave a suite out, and those of which tau follows."""
    tested = {
        Role("matrix", SINGLE, (suite,)): tuple(pair(other, answers(seed=1)) for other in SUITES) for suite in SUITES
    }
    for suite in SUITES:
        tested[Role("leave one out", "pooled", (suite,))] = (pair(suite, answers(error, bias, seed=2)),)
        for inner in SUITES:
            if inner != suite:
                tested[Role("inner", "pooled", (inner, suite))] = (pair(inner, answers(1.0, inner_bias, seed=3)),)
    return tested


def test_twice_the_error_is_a_ratio_of_two():
    results = study(usual(error=2.0))
    for fold in measure_all(results).left_out["pooled"].values():
        for each in fold.values():
            assert each.ratio.value == pytest.approx(2.0, rel=0.15)
            assert each.scores["reduced_chi2"].value == pytest.approx(4.0, rel=0.2)
            assert each.width.value == pytest.approx(1.0)


def test_tau_is_the_bias_of_the_inner_suites_and_repairs_the_coverage_of_the_left_out_one():
    of_others = {Role("inner", "pooled", ("A", suite)): (pair("A", answers(bias=9.0)),) for suite in SUITES[1:]}
    results = study({**usual(bias=1.5, inner_bias=1.5), **of_others})
    role = Role("leave one out", "pooled", ("A",))
    width = COSMOLOGY.highs - COSMOLOGY.lows
    np.testing.assert_allclose(transfer_tau(results, role), 1.5 * SIGMA * width, rtol=0.15)
    assert transfer_tau(results, Role("matrix", SINGLE, ("A",))) is None
    (each, _) = measure_all(results).left_out["pooled"]["A"].values()
    assert each.coverage.value < 0.45
    assert each.transfer_coverage.value > 0.6
    assert each.transfer_chi2.value == pytest.approx(1.0, abs=0.2)
    assert each.transfer_width.value == pytest.approx(np.hypot(1, 1.5), rel=0.1)


def test_where_networks_fail_it_is_told_what_their_answers_follow():
    """Of left-out A the answers for sigma_8 are off by three times SIGMA where A_SN1 is high, and not where it is low.

    In the prior's units A_SN1 goes from 0.2 to 0.8, and its full range is that of its logarithm.
    """
    off = answers(seed=2)
    unit = LAYOUT.to_unit_interval(off.theta)
    moved = off.mean.copy()
    moved[:, 1] += 0.4 * SIGMA * 3.0 * (unit[:, 2] - 0.2) / 0.6
    tested = usual() | {Role("leave one out", "pooled", ("A",)): (pair("A", replace(off, mean=moved)),)}
    every = off.theta[np.unique(off.simulation, return_index=True)[1]]
    results = study(tested, labels=dict.fromkeys(SUITES, Labels(every, LAYOUT)))
    measures = measure_all(results)
    found = measures.shifts["pooled"]["A"]
    assert next(name for name, _ in found["sigma_8"].telling) == "A_SN1"
    assert found["sigma_8"].shift.value == pytest.approx(1.5, abs=0.3)
    assert found["sigma_8"].explained > 0.7
    assert found["Omega_m"].explained < 0.15
    (told,) = [each for each in summarise_robustness(results, measures) if each.startswith("On A")]
    assert told.startswith("On A the answers for sigma_8 are ")
    assert "follows its parameters, most of all A_SN1 (" in told
    document = robustness_document(results, measures, [], [], [], Path())
    assert set(document["shifts"]["pooled"]["A"]["sigma_8"]["slopes"]) == set(LAYOUT.names)


def test_seeds_are_drawn_together():
    one, other = answers(seed=4), answers(seed=5)
    role = Role("leave one out", "pooled", ("A",))
    results = study({role: (pair("A", one), pair("A", other, seed=1))})
    both = results.predictions(role, "A")
    assert both.n_maps == 2 * one.n_maps
    assert both.n_simulations == one.n_simulations
    assert both.layout.names == ("Omega_m", "sigma_8")


def test_the_choice_is_the_candidate_of_smallest_error_and_knows_nothing_of_the_target():
    weak, strong = MethodOptions("m", {"weight": 1.0}), MethodOptions("m", {"weight": 5.0})
    errors = {"pooled": 1.5, weak.label: 2.0, strong.label: 1.0}
    tested = {
        Role("choice", label, (inner, "A")): (pair(inner, answers(error, seed=6)),)
        for label, error in errors.items()
        for inner in SUITES[1:]
    }
    misleading = {Role("choice", label, ("A", "B")): (pair("A", answers(e**-6)),) for label, e in errors.items()}
    candidates = (MethodOptions(), weak, strong)
    chosen = choose("A", candidates, {**tested, **misleading}, COSMOLOGY.parameters)
    assert chosen.best == strong
    assert [each.label for each in chosen.ranked] == [strong.label, "pooled"]
    assert full_size([chosen], 0) == ("pooled",)
    assert full_size([chosen], 2) == ("pooled", "m")
    draw = choose("A", candidates, {role: next(iter(tested.values())) for role in tested}, COSMOLOGY.parameters)
    assert draw.best == MethodOptions()


def estimate(value, error=0.01):
    return Estimate(value, error, value - error, value + error)


def fold(ratio=1.0, chi2=1.0, coverage=0.68, width=1.2, r2=0.9):
    scores = {key: estimate(1.0) for key in ("rmse", "rms_relative_error", "bias", "r2")}
    measured = FoldMeasure(
        {**scores, "reduced_chi2": estimate(chi2)},
        *(estimate(each) for each in (ratio, r2, 0.5, 1.0)),
        tau=0.1,
        transfer_chi2=estimate(1.0),
        transfer_coverage=estimate(coverage),
        transfer_width=estimate(width),
    )
    return {"Omega_m": measured, "sigma_8": replace(measured)}


@pytest.mark.parametrize(
    ("given", "set_p", "word"),
    [
        (fold(), None, "robust, honest"),
        (fold(ratio=1.5), None, "honest"),
        (fold(coverage=0.5), None, "robust"),
        (fold(width=1.6, ratio=2.0, chi2=3.0), 0.001, "flagged"),
        (fold(width=1.6, ratio=2.0, chi2=3.0), 0.4, "silent failure"),
        (fold(width=1.6, ratio=2.0, chi2=1.51), 0.4, "undecided"),
        (fold(width=1.6, ratio=2.0, chi2=1.51), 0.001, "flagged"),
        (fold(coverage=0.5, ratio=2.0, chi2=1.2), 0.001, "silent failure"),
        (fold(coverage=0.5, ratio=2.0, chi2=3.0), None, "undecided"),
        (fold(coverage=0.5, ratio=1.24), None, "undecided"),
        (fold(coverage=0.5, r2=0.2), None, "undecided"),
        (fold(coverage=0.5, ratio=1.5, r2=0.2), None, "silent failure"),
    ],
)
def test_a_fold_is_what_the_criteria_say(given, set_p, word):
    assert judge_fold(given, set_p).word == word


def test_one_parameter_that_fails_is_enough():
    mixed = {"Omega_m": fold()["Omega_m"], "sigma_8": fold(ratio=1.5)["sigma_8"]}
    assert judge_fold(mixed, None).robust[1] == "fails"


def test_so_many_of_so_many():
    assert at_least(3, ["holds", "holds", "holds", "undecided"]) == "holds"
    assert at_least(3, ["holds", "fails", "fails", "holds"]) == "fails"
    assert at_least(3, ["holds", "fails", "undecided", "holds"]) == "undecided"


def test_networks_as_good_as_the_oracle_are_robust_and_honest_and_biased_ones_fail():
    outcomes = {}
    for name, tested in {"good": usual(error=0.9), "biased": usual(bias=2.5)}.items():
        results = study(tested)
        measures = measure_all(results)
        outcomes[name] = {v.experiment: v.outcome for v in judge_robustness(results, measures)}
        document = robustness_document(results, measures, [], [], [], None)
        assert set(document["coverage68_by_fold"]) == set(SUITES)
        words = {fold.word for fold in judge_left_out(results, measures, "pooled").values()}
        assert words == ({"robust, honest"} if name == "good" else {"undecided"})
        assert (document["worst_ratio_leave_one_out"] < 1.1) == (name == "good")
        assert document["worst_ratio_adapted"] is document["own_cost"] is None
    assert outcomes["good"]["leave one out, pooled: robust"] == "holds"
    assert outcomes["good"]["leave one out, pooled: honest"] == "holds"
    assert outcomes["biased"]["leave one out, pooled: robust"] == "fails"
    assert outcomes["biased"]["leave one out, pooled: honest"] == "fails"
    assert outcomes["biased"]["leave one out, pooled: flagged"] == "undecided"


def test_a_set_test_that_fires_or_not_decides_where_networks_fail():
    tested = usual(bias=2.5)
    for p, word, outcome in ((0.01, "flagged", "holds"), (0.5, "silent failure", "fails")):
        set_p = {(Role("leave one out", "pooled", (suite,)), suite): p for suite in SUITES}
        results = study(tested, set_p=set_p)
        measures = measure_all(results)
        assert {fold.word for fold in judge_left_out(results, measures, "pooled").values()} == {word}
        found = {v.experiment: v.outcome for v in judge_robustness(results, measures)}
        assert found["leave one out, pooled: no silent failure"] == outcome


def test_the_chosen_method_of_each_fold_is_the_headline():
    tested = usual(bias=2.5)
    for suite in SUITES:
        tested[Role("leave one out", "m", (suite,))] = (pair(suite, answers(seed=8)),)
    choices = {suite: Choice(suite, {}, (MethodOptions("m"), MethodOptions())) for suite in SUITES}
    choices["D"] = Choice("D", {}, (MethodOptions(), MethodOptions("m")))
    results = study(tested, choices=choices, methods=("pooled", "m"))
    measures = measure_all(results)
    assert headline(measures) == CHOSEN
    of_chosen, of_m = measures.left_out[CHOSEN], measures.left_out["m"]
    assert of_chosen["A"] is of_m["A"] or of_chosen["A"] == of_m["A"]
    assert of_chosen["D"] == measures.left_out["pooled"]["D"]
    document = robustness_document(results, measures, [], [], [], None)
    assert document["method_by_fold"] == {"A": "m", "B": "m", "C": "m", "D": "pooled"}


@pytest.mark.parametrize(("change", "outcome"), [(0.0, "holds"), (1e-9, "fails")])
def test_weight_zero_is_pooling_to_the_bit(change, outcome):
    tested = usual()
    pooled = tested[Role("leave one out", "pooled", ("A",))][0].predictions
    other = replace(pooled, mean=pooled.mean + change)
    tested[Role("control", "m", ("A",), ZERO_WEIGHT)] = (pair("A", other),)
    results = study(tested)
    found = {v.experiment: v.outcome for v in judge_robustness(results, measure_all(results))}
    assert found["control: weight zero"] == outcome
