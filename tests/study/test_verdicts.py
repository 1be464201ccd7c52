from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fieldlevel.layout import Layout
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.ratios import transfer_ratios
from fieldlevel.study.keys import FIRST, ExperimentKey
from fieldlevel.study.mean_only import MeanOnly
from fieldlevel.study.results import LetterResults
from fieldlevel.study.runner import judge
from fieldlevel.study.verdict import Verdict
from fieldlevel.suites import NBODY_PREFIX

MINIMA, MAXIMA = Layout().lows, Layout().highs
OMEGA_M, SIGMA_8 = 0, 1
KEYS = {"four pairs": FIRST} | {
    f"{kind} {scale} {unit}": ExperimentKey(kind, float(scale), unit)
    for kind, scale, unit in (
        ("smoothing", 1, "px"),
        ("smoothing", 2, "px"),
        ("smoothing", 10, "px"),
        ("k_max", 4, "h/Mpc"),
        ("k_max", 2, "h/Mpc"),
    )
}
"""Of the experiments that have more than a kind."""
PAIRS = (("A", "A"), ("A", "B"), ("B", "B"), ("B", "A"))


@cache
def result(
    train: str,
    test: str,
    error: float,
    bias: float = 0.0,
    only: int | None = None,
    else_error: float = 0.02,
    n_simulations: int = 40,
    scale: float = 1.0,
) -> PairResult:
    """A network with an error and a bias in units of the range of each parameter, the same truths for each suite.

    The other parameters than `only` have no bias and another error. A scale of 0 gives the middle whatever the map is,
    one above 1 exaggerates the distance from the middle.
    """
    truths = np.random.default_rng(ord(test.removeprefix(NBODY_PREFIX)))
    simulation = np.repeat(np.arange(n_simulations), 15)
    theta = truths.uniform(MINIMA, MAXIMA, (n_simulations, 6))[simulation]
    noise = np.random.default_rng([len(train), len(test), round(1e4 * error)]).standard_normal(theta.shape)
    is_meant = np.ones(6, dtype=bool) if only is None else np.arange(6) == only
    errors = np.where(is_meant, bias + error * noise, else_error * noise)
    middle, width = (MINIMA + MAXIMA) / 2, MAXIMA - MINIMA
    mean = middle + scale * (theta - middle + width * errors)
    std = np.broadcast_to(width * error, theta.shape)
    predictions = Predictions(theta, mean, std, simulation, np.arange(len(simulation)))
    return PairResult(train, test, predictions, evaluate(predictions, n_bootstrap=100))


def own(*errors: float, **changes) -> list[PairResult]:
    """One network tested on each suite that it was trained on."""
    return [result(suite, suite, error, **changes) for suite, error in zip("AB", errors, strict=True)]


def four_pairs(*errors: float, **changes) -> list[PairResult]:
    return [result(*pair, error, **changes) for pair, error in zip(PAIRS, errors, strict=True)]


BLIND = own(0.3, 0.3, scale=0)


def twins(bias: float, **changes) -> dict[str, list[PairResult]]:
    """Networks between a suite and its gravity-only twin, all with one bias where they cross."""
    there = [result(suite, NBODY_PREFIX + suite, 0.03, bias, **changes) for suite in "AB"]
    back = [result(NBODY_PREFIX + suite, suite, 0.03, -bias, **changes) for suite in "AB"]
    within = [result(NBODY_PREFIX + suite, NBODY_PREFIX + suite, 0.02) for suite in "AB"]
    return {"hydro to N-body": there, "N-body to hydro": [*within, *back]}


def letter(**changes: list[PairResult]) -> dict[str, list[PairResult]]:
    """What the letter found."""
    experiments = {
        "four pairs": four_pairs(0.02, 0.021, 0.02, 0.02),
        "mean map": BLIND,
        "shuffled pixels": BLIND,
        "random phases": BLIND,
        "no monopole": own(0.05, 0.05),
        "power spectrum": own(0.2, 0.2),
        **twins(0.1),
        "smoothing 1 px": own(0.03, 0.03),
        "smoothing 2 px": own(0.05, 0.05),
        "k_max 4 h/Mpc": own(0.03, 0.03),
        "k_max 2 h/Mpc": own(0.05, 0.05),
        "permuted labels": BLIND,
    }
    return experiments | {name.replace("_", " "): results for name, results in changes.items()}


def found(experiments: dict[str, list[PairResult]]) -> dict[str, Verdict]:
    poor = {suite: result(suite, suite, 0.2) for suite in "AB"}
    mean_only = {suite: MeanOnly(np.ones(600), p.predictions, p.scores) for suite, p in poor.items()}
    pairs = experiments["four pairs"]
    results = LetterResults(
        suites=("A", "B"),
        experiments={KEYS.get(name, ExperimentKey(name)): tuple(tested) for name, tested in experiments.items()},
        transfer=transfer_ratios(pairs),
        is_mock=False,
        mean_only=mean_only,
    )
    return {verdict.experiment: verdict for verdict in judge(results)}


def outcomes(experiments: dict[str, list[PairResult]]) -> dict[str, str]:
    return {name: verdict.outcome for name, verdict in found(experiments).items()}


def test_all_verdicts_hold_for_what_the_letter_found():
    judged = outcomes(letter())
    alone = {name for name in letter() if not name.startswith(("smoothing", "k_max"))}
    assert set(judged) == alone | {"smoothing", "k_max", "mean of the map alone"}
    assert set(judged.values()) == {"holds"}


@pytest.mark.parametrize(
    ("experiment", "results"),
    [
        ("four pairs", four_pairs(0.02, 0.08, 0.02, 0.02)),
        ("four pairs", four_pairs(0.02, 0.03, 0.02, 0.02)),
        ("four pairs", four_pairs(0.02, 0.02, 0.02, 0.03, only=SIGMA_8)),
        ("mean map", [*own(0.02, 0.02)[:1], BLIND[1]]),
        ("shuffled pixels", own(0.05, 0.05)),
        ("shuffled pixels", own(0.2, 0.2)),
        ("shuffled pixels", own(0.05, 0.05, only=SIGMA_8, else_error=0.6)),
        ("random phases", own(0.02, 0.02)),
        ("random phases", own(0.03, 0.03)),
        ("no monopole", [BLIND[0], result("B", "B", 0.02)]),
        ("power spectrum", own(0.2, 0.02)),
        ("power spectrum", own(0.01, 0.01, only=OMEGA_M, else_error=0.2)),
        ("power spectrum", own(0.01, 0.01, only=SIGMA_8, else_error=0.2)),
        ("one-point PDF", own(0.01, 0.01)),
        ("hydro to N-body", [result("A", "Nbody_A", 0.02), result("B", "Nbody_B", 0.02, bias=0.1)]),
        ("N-body to hydro", twins(0.0)["N-body to hydro"]),
        ("N-body to hydro", [*twins(0.1)["N-body to hydro"][:3], result("Nbody_B", "B", 0.02)]),
        ("permuted labels", own(0.02, 0.02)),
    ],
)
def test_each_verdict_fails_by_itself(experiment, results):
    judged = outcomes(letter() | {experiment: results})
    assert judged.pop(experiment) == "fails"
    assert experiment == "four pairs" or set(judged.values()) == {"holds"}


@pytest.mark.parametrize("parameter", [OMEGA_M, SIGMA_8])
def test_a_bias_of_one_parameter_is_a_bias(parameter):
    judged = outcomes(letter() | twins(0.1, only=parameter))
    assert judged["hydro to N-body"] == judged["N-body to hydro"] == "holds"


def test_few_test_simulations_decide_no_robustness():
    few = found({"four pairs": four_pairs(0.02, 0.0235, 0.02, 0.02, n_simulations=5)})["four pairs"]
    assert few.outcome == "undecided"
    assert "too few test simulations" in few.measured
    two = found({"four pairs": four_pairs(*4 * [0.02], n_simulations=2)})["four pairs"]
    assert two.outcome == "undecided"
    assert "is not above 0.5 beyond its error" in two.measured


def test_two_simulations_decide_nothing_about_destroyed_maps():
    """Half of the replicas of two truths draw one of them alone and have no R², the others are the two themselves."""
    few = {"four pairs": four_pairs(*4 * [0.02], n_simulations=2), "mean map": own(0.3, 0.3, n_simulations=2)}
    assert np.isnan(few["mean map"][0].scores["Omega_m"]["r2"].error)
    assert outcomes(few)["mean map"] == "undecided"


@pytest.mark.parametrize("experiment", ["mean map", "shuffled pixels", "random phases", "permuted labels"])
def test_a_network_that_has_learnt_nothing_passes_no_null_test(experiment):
    ignorant = four_pairs(*4 * [0.3], scale=0)
    judged = found({"four pairs": ignorant, experiment: BLIND})
    assert judged[experiment].outcome == judged["four pairs"].outcome == "undecided"
    assert "not judged: R² = " in judged[experiment].measured


def test_a_network_that_has_not_learnt_one_parameter_is_not_judged_on_it():
    half = four_pairs(*4 * [0.02], only=OMEGA_M, else_error=0.6)
    judged = found(letter() | {"four pairs": half})["mean map"]
    assert judged.outcome == "undecided"
    assert judged.measured.count("not judged") == 2
    assert "A sigma_8: R² = " in judged.measured


@pytest.mark.parametrize("bias", [0.0, 0.1])
def test_a_network_that_has_learnt_nothing_cannot_refute_what_is_said_of_others(bias):
    ignorant = {"four pairs": four_pairs(*4 * [0.3], scale=0)}
    ladders = {"smoothing 1 px": own(0.2, 0.2, scale=0), "k_max 4 h/Mpc": own(0.2, 0.2, scale=0)}
    judged = found(ignorant | {"hydro to N-body": twins(bias)["hydro to N-body"]} | ladders)
    for experiment in ("hydro to N-body", "smoothing", "k_max"):
        assert judged[experiment].outcome == "undecided", experiment
        assert "not judged: R² = " in judged[experiment].measured


def test_ignorance_is_no_excuse_for_failing_elsewhere():
    assert outcomes({"four pairs": four_pairs(0.3, 0.9, 0.3, 0.3)})["four pairs"] == "fails"


def test_destroyed_maps_that_still_tell_something_say_so():
    exaggerated = own(0.2, 0.2, scale=4)
    verdict = found(letter() | {"shuffled pixels": exaggerated})["shuffled pixels"]
    correlation = exaggerated[0].scores["Omega_m"]["squared_correlation"]
    assert verdict.outcome == "holds"
    assert correlation.value > 0.5
    assert f"squared correlation {correlation.text()}" in verdict.measured


@pytest.mark.parametrize("ladder", ["smoothing", "k_max"])
def test_a_ladder_that_does_not_rise_is_undecided(ladder):
    steps = [name for name in letter() if name.startswith(ladder)]
    flat = letter() | {name: own(0.02, 0.02) for name in steps}
    assert outcomes(flat)[ladder] in {"fails", "undecided"}
    slight = letter() | {steps[0]: own(0.0201, 0.0201), steps[1]: own(0.0203, 0.0203)}
    assert outcomes(slight)[ladder] != "holds"


@pytest.mark.parametrize(
    ("ladder", "finer", "coarser"),
    [("smoothing", "smoothing 1 px", "smoothing 2 px"), ("k_max", "k_max 4 h/Mpc", "k_max 2 h/Mpc")],
)
def test_a_step_that_helps_is_a_failure(ladder, finer, coarser):
    verdict = found(letter() | {finer: own(0.05, 0.05), coarser: own(0.03, 0.03)})[ladder]
    assert verdict.outcome == "fails"
    assert verdict.measured.count(f"RMSE falls at {coarser.removeprefix(ladder).strip()}") == 2
    assert outcomes(letter() | {finer: own(0.01, 0.02)})[ladder] == "fails"


@pytest.mark.parametrize("ladder", ["smoothing", "k_max"])
def test_ladders_go_by_scale_whatever_the_order(ladder):
    backwards = dict(reversed(letter().items()))
    verdict, same = found(backwards)[ladder], found(letter())[ladder]
    assert verdict == same
    assert verdict.outcome == "holds"
    words = {"smoothing": ("1 px", "2 px"), "k_max": ("4 h/Mpc", "2 h/Mpc")}[ladder]
    places = [verdict.measured.index(word) for word in ("all scales", *words)]
    assert places == sorted(places)


def test_scales_are_numbers_not_words():
    ten = letter() | {"smoothing 10 px": own(0.1, 0.1)}
    assert outcomes(ten)["smoothing"] == "holds"


def test_percentages_stand_where_the_letter_has_them():
    judged, own_error = found(letter()), letter()["four pairs"][0].scores["Omega_m"]["rms_relative_error"]
    for name in ("four pairs", "power spectrum", "mean of the map alone", "smoothing"):
        assert own_error.text(percent=True) in judged[name].measured


def test_errors_in_common_cancel():
    """A network that is 5% worse map by map is worse, however few simulations say how good either is."""
    whole = own(0.05, 0.05, n_simulations=4)
    summary = []
    for each in whole:
        told = each.predictions
        predictions = replace(told, mean=told.theta + 1.05 * (told.mean - told.theta))
        summary.append(PairResult(each.train_suite, each.test_suite, predictions, evaluate(predictions, 100)))
    assert outcomes({"four pairs": whole, "power spectrum": summary})["power spectrum"] == "holds"


def test_what_was_not_done_is_not_judged():
    assert set(found({"four pairs": letter()["four pairs"]})) == {"four pairs", "mean of the map alone"}
