"""Verdicts on whether networks weigh particles, on predictions whose shift is known."""

from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.report.sentences import summarise
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.paired_shift import coverage_within, paired_shift
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.ratios import transfer_ratios
from fieldlevel.study.experiments.numerics import _drawn
from fieldlevel.study.keys import FIRST, ExperimentKey, remedied_pairs_key
from fieldlevel.study.particle_weighing import weigh
from fieldlevel.study.results import LetterResults
from fieldlevel.study.runner import judge

ERROR = 0.02
"""Of the networks, in units of the priors."""
LOWS, WIDTHS = Layout().lows, Layout().highs - Layout().lows


def result(train: str, test: str, n_simulations: int = 40, scale: float = 1.0) -> PairResult:
    """A network with this error and honest error bars; a scale of 0 gives the middle whatever the map is."""
    simulation = np.repeat(np.arange(n_simulations), 15)
    theta = np.random.default_rng(ord(test)).uniform(LOWS, LOWS + WIDTHS, (n_simulations, 6))[simulation]
    noise = np.random.default_rng([ord(train), ord(test)]).standard_normal(theta.shape)
    middle = LOWS + WIDTHS / 2
    mean = middle + scale * (theta - middle + ERROR * WIDTHS * noise)
    std = np.broadcast_to(ERROR * WIDTHS, theta.shape)
    predictions = Predictions(theta, mean, std, simulation, np.arange(len(simulation)))
    return PairResult(train, test, predictions, evaluate(predictions, n_bootstrap=100))


def four_pairs(**changes: float) -> list[PairResult]:
    return [result(train, test, **changes) for train, test in ("AA", "AB", "BB", "BA")]


def moved(base: PairResult, test_set: str, shift: float, train_set: str = "LH", n: int = 40) -> PairResult:
    """The answers on another set: by so many standard deviations further, with some scatter of their own."""
    told, few = base.predictions, base.predictions.simulation < n
    noise = np.random.default_rng(7).standard_normal(told.mean.shape)
    mean = told.mean + (shift + 0.1 * noise) * told.std
    rows = {name: getattr(told, name)[few] for name in ("theta", "std", "simulation", "map_index")}
    predictions = replace(told, mean=mean[few], **rows)
    scores = evaluate(predictions, n_bootstrap=100)
    return replace(base, predictions=predictions, scores=scores, train_set=train_set, test_set=test_set)


def letter(shifts: dict[str, float], remedied: dict[str, float] | None = None, pairs=None, n: int = 40):
    """Networks on sets that move them by so many standard deviations, and others of thinned maps."""
    pairs = pairs or four_pairs()
    own = {pair.train_suite: pair for pair in pairs if not pair.crosses_suites}
    experiments = {FIRST: tuple(pairs)}
    for train_set, found in (("LH", shifts), ("LHthinned", remedied or {})):
        if train_set != "LH" and found:
            others = tuple(replace(pair, train_set=train_set) for pair in pairs)
            experiments[remedied_pairs_key("AB", train_set)] = others
        for test_set, shift in ({"LH": None} | found).items() if found else ():
            experiments[ExperimentKey("numerics", sets=f"{train_set} → {test_set}")] = tuple(
                replace(own[suite], train_set=train_set)
                if shift is None
                else moved(own[suite], test_set, shift, train_set, n)
                for suite in "AB"
            )
    results = LetterResults(("A", "B"), experiments, transfer_ratios(pairs), False, n_particles={"A": 64, "B": 64})
    return replace(results, verdicts=[each for each in judge(results) if each.experiment.startswith("numerics")])


def outcomes(results: LetterResults) -> dict[str, str]:
    return {verdict.experiment: verdict.outcome for verdict in results.verdicts}


@pytest.mark.parametrize(
    ("shifts", "outcome"),
    [
        ({"LHthin2": 0.3}, "holds"),
        ({"LHthin2": -0.3, "LHn128": 0.5}, "holds"),
        ({"LHthin2": 3.0}, "fails"),
        ({"LHthin2": -3.0}, "fails"),
        ({"LHthin2": 0.3, "LHn128": 3.0}, "fails"),
        ({"LHthin2": 1.0}, "undecided"),
        ({"LHthin2": 0.3, "LHthin4": 9.0, "LHn32": 9.0, "LHthin2cdm": 9.0, "LHlattice2": 9.0}, "holds"),
    ],
)
def test_half_the_particles_and_twice_as_many_a_side_decide(shifts, outcome):
    assert outcomes(letter(shifts)) == {"numerics": outcome}


def test_nothing_is_judged_where_nothing_decides():
    assert outcomes(letter({"LHthin4": 3.0, "LHn32": 3.0})) == {}
    assert outcomes(letter({})) == {}


def test_the_remedy_is_judged_by_itself():
    results = letter({"LHthin2": 3.0}, {"LHthin2": 0.3})
    assert outcomes(results) == {"numerics": "fails", "numerics, LHthinned": "holds"}
    sentences = [each for each in summarise(results) if "LHthinned" in each]
    assert len(sentences) == 2
    assert all("so this is what Omega_m is honestly known to" in each for each in sentences)
    (plain,) = [each for each in summarise(letter({"LHthin2": 3.0})) if "weigh" in each]
    assert plain.startswith("The networks weigh particles")
    still = summarise(letter({"LHthin2": 3.0}, {"LHthin2": 3.0}))
    assert sum("it still weighs particles" in each for each in still) == 2
    assert not any("weigh" in each for each in summarise(letter({"LHthin2": 0.3})))


def test_a_network_that_knows_nothing_does_not_hold_for_that():
    results = letter({"LHthin2": 0.0}, pairs=four_pairs(scale=0.0))
    assert outcomes(results) == {"numerics": "undecided"}
    assert "(not judged: R²" in results.verdicts[0].measured


def test_the_shift_is_found_again_in_its_units():
    base = result("A", "A")
    found = paired_shift(base.predictions, moved(base, "LHthin2", 3.0, n=20).predictions, "Omega_m")
    assert found.n_simulations == 20
    assert found.in_std.value == pytest.approx(3.0, abs=0.02)
    assert found.shift.value == pytest.approx(3.0 * ERROR * 0.4, rel=0.01)
    assert found.in_std.error < 0.02


def test_other_simulations_have_no_shift():
    base = result("A", "A")
    with pytest.raises(UserError, match="Omega_m differs on both sides"):
        paired_shift(base.predictions, result("B", "B").predictions, "Omega_m")
    apart = replace(base.predictions, map_index=base.predictions.map_index + 10**6)
    with pytest.raises(UserError, match="no map in common"):
        paired_shift(base.predictions, apart, "Omega_m")


def test_coverage_of_honest_error_bars_is_that_of_a_gaussian():
    base = result("A", "A", n_simulations=200).predictions
    assert coverage_within(base, "sigma_8").value == pytest.approx(0.683, abs=0.03)
    assert coverage_within(replace(base, std=base.std * 100), "sigma_8").value == 1.0


def test_a_set_without_its_base_is_left_out():
    base = result("A", "A")
    assert weigh([moved(base, "LHthin2", 1.0)], ["Omega_m"], {}) == ()


def test_fewer_simulations_are_drawn_as_far_from_the_base_as_they_shift():
    results = letter({"LHthin2": 1.0, "LHn128": 2.0}, n=5)
    for suite, networks in _drawn(results).items():
        found = {each.density: each.moments["Omega_m"] for each in networks["trained on LH: maps of all particles"]}
        std = results.own[suite].predictions.std[0, 0]
        assert found[0.5][0] - found[1.0][0] == pytest.approx(std, rel=0.03)
        assert found[8.0][0] - found[1.0][0] == pytest.approx(2 * std, rel=0.03)
