"""Does the answer move when only feedback moves? Verdicts on answers that are known functions of the parameters."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.report.letter_files import write_letter
from fieldlevel.simulate.mock_suite import plan_suites
from fieldlevel.simulate.sets import one_parameter
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.ratios import transfer_ratios
from fieldlevel.statistics.responses import OneParameterTable
from fieldlevel.study.document import metrics_document
from fieldlevel.study.experiments.one_parameter import OneParameter
from fieldlevel.study.keys import FIRST, ONE_PARAMETER, ExperimentKey
from fieldlevel.study.letter_checks import check_letter, planned
from fieldlevel.study.letter_data import prepare_data
from fieldlevel.study.letter_plan import experiments
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.numerics_data import numerics_simulations
from fieldlevel.study.one_parameter_data import one_parameter_simulations
from fieldlevel.study.results import LetterResults
from fieldlevel.study.runner import judge, run_letter
from fieldlevel.study.scales import laptop_scale, letter_scale
from fieldlevel.study.verdict import Verdict

LAYOUT, N_MAPS, STD = Layout(), 15, 0.02
OWN, OTHERS = ONE_PARAMETER, f"{ONE_PARAMETER}, other suites"


def four_pairs() -> list[PairResult]:
    """The networks of A and B on test simulations of both, right within their error bars."""
    rng = np.random.default_rng(0)
    theta = np.repeat(rng.uniform(LAYOUT.lows, LAYOUT.highs, (20, 6)), N_MAPS, axis=0)
    simulation, std = np.repeat(np.arange(20), N_MAPS), np.full(theta.shape, STD)
    told = Predictions(theta, theta + STD * rng.standard_normal(theta.shape), std, simulation, np.arange(len(theta)))
    return [PairResult(train, test, told, evaluate(told, n_bootstrap=20)) for train, test in ("AA", "AB", "BB", "BA")]


def on_one_parameter(
    train: str,
    test: str,
    theta: np.ndarray,
    shifts: Mapping[str, float],
    gain: float = 1.0,
    chance: float = 0.05,
    bend: float = 0.0,
) -> PairResult:
    """A network on a one-parameter set.

    Args:
        train: suite that it was trained on.
        test: suite that it is tested on.
        theta: rows of the set.
        shifts: of its Omega_m over the full range of a parameter, in its standard deviations.
        gain: what is left of the distance of Omega_m and sigma_8 from the fiducial point in its answers.
        chance: scatter of a shift from one set of initial conditions to the next.
        bend: of its Omega_m with A_SN2, from the middle of the range to the ends.
    """
    table = OneParameterTable(theta, LAYOUT)
    rng = np.random.default_rng([ord(train), ord(test)])
    mean = table.fiducial + gain * (theta - table.fiducial)
    for name in LAYOUT.names[2:]:
        column, parameter = theta[:, LAYOUT.column(name)], LAYOUT.parameters[LAYOUT.column(name)]
        along = np.log(column) / np.log(parameter.high / parameter.low)
        luck = chance * rng.standard_normal(theta.shape[0])[table.conditions]
        mean[:, 0] += STD * (shifts.get(name, 0.0) + luck) * along
        mean[:, 0] += STD * bend * 4 * along**2 if name == "A_SN2" else 0
    offset = rng.standard_normal((theta.shape[0], 1))[table.conditions]
    simulation = np.repeat(np.arange(len(theta)), N_MAPS)
    answers = np.repeat(mean + STD * offset, N_MAPS, axis=0)
    predictions = Predictions(
        np.repeat(theta, N_MAPS, axis=0), answers, np.full(answers.shape, STD), simulation, np.arange(len(simulation))
    )
    return PairResult(train, test, predictions, evaluate(predictions, n_bootstrap=20), 0, "LH", "1P")


def letter(own: Mapping[str, float], others: Mapping[str, float], n_seeds: int = 10, **changes: float):
    """Networks of A and B on the one-parameter sets of both, their answers moved by so many standard deviations."""
    theta = np.array([row.parameters for row in one_parameter(LAYOUT, n_seeds, 3)])
    tested = tuple(
        on_one_parameter(train, test, theta, own if train == test else others, **changes)
        for train, test in ("AA", "AB", "BB", "BA")
    )
    pairs = four_pairs()
    results = LetterResults(
        ("A", "B"),
        {FIRST: tuple(pairs), ExperimentKey(ONE_PARAMETER): tested},
        transfer_ratios(pairs),
        False,
        one_parameter_tables=dict.fromkeys("AB", OneParameterTable(theta, LAYOUT)),
    )
    return replace(results, verdicts=[each for each in judge(results) if each.experiment.startswith(ONE_PARAMETER)])


def verdicts(results: LetterResults) -> dict[str, Verdict]:
    return {verdict.experiment: verdict for verdict in results.verdicts}


@pytest.mark.parametrize(
    ("own", "others", "outcomes"),
    [
        ({}, {}, ("holds", "holds")),
        ({"A_SN1": 0.4, "A_AGN2": -0.6}, {"A_SN1": 0.4}, ("holds", "holds")),
        ({"A_SN1": 0.4}, {"A_AGN1": 3.0}, ("holds", "fails")),
        ({"A_SN2": -3.0}, {}, ("fails", "holds")),
        ({}, {"A_SN1": 1.0}, ("holds", "undecided")),
    ],
)
def test_what_moves_further_than_a_standard_deviation_fails(own, others, outcomes):
    found = verdicts(letter(own, others))
    assert (found[OWN].outcome, found[OTHERS].outcome) == outcomes


def test_the_parameter_that_moves_it_most_is_named():
    measured = verdicts(letter({"A_SN1": 0.4}, {"A_AGN1": -3.0}))[OTHERS].measured
    assert measured.startswith("A → B: Omega_m moves most with A_AGN1, by −2.9")
    assert "from the middle to the ends" not in measured
    assert "B → A: " in measured
    assert "and follows itself by 1" in measured


def test_an_answer_that_goes_there_and_back_fails_too():
    measured = verdicts(letter({}, {}, bend=3.0))[OWN]
    assert measured.outcome == "fails"
    assert "moves most with A_SN2, by" in measured.measured
    assert "from the middle to the ends)" in measured.measured


@pytest.mark.parametrize("gain", [0.0, 0.6, 1.5])
def test_a_network_that_does_not_follow_cosmology_is_not_judged(gain):
    """One that answers the prior has no slope with feedback either."""
    found = verdicts(letter({}, {}, gain=gain))[OWN]
    assert found.outcome == "undecided"
    told = "not judged: its answer does not follow Omega_m and sigma_8 by 1 within 0.2 beyond the error"
    assert told in found.measured


def test_one_that_moves_fails_whatever_it_knows():
    assert verdicts(letter({"A_SN1": 5.0}, {}, gain=0.5))[OWN].outcome == "fails"


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_one_set_of_initial_conditions_decides_nothing(shift):
    found = verdicts(letter({"A_SN1": shift}, {}, n_seeds=1))[OWN]
    assert found.outcome == "undecided"
    assert "the errors of one set of initial conditions are those from map to map alone" in found.measured


def test_few_sets_of_initial_conditions_decide_nothing():
    assert verdicts(letter({}, {}, n_seeds=4))[OWN].outcome == "undecided"
    assert "4 sets; 5 sets of initial conditions are needed" in verdicts(letter({}, {}, n_seeds=4))[OWN].measured


def test_errors_too_large_leave_it_undecided():
    found = verdicts(letter({}, {}, n_seeds=5, chance=3.0))
    assert "fails" not in {each.outcome for each in found.values()}
    assert "undecided" in {each.outcome for each in found.values()}


def test_networks_on_simulations_without_feedback_or_table_are_left_out():
    results = letter({}, {})
    assert len(results.feedback_responses) == 4
    assert replace(results, one_parameter_tables={}).feedback_responses == ()
    assert list(OneParameter().judge(replace(results, one_parameter_tables={}))) == []


def test_figures_and_document_have_every_network():
    results = letter({"A_SN1": 0.4}, {"A_AGN1": 3.0})
    plates = list(OneParameter().plates(results))
    assert [plate.stem for plate in plates] == ["one_parameter_A", "one_parameter_B"]
    assert len(plates[0].draw().axes) == 12
    rows = metrics_document(results)["one_parameter"]
    assert [(row["train_suite"], row["test_suite"], row["n_conditions"]) for row in rows] == [
        ("A", "A", 10), ("A", "B", 10), ("B", "B", 10), ("B", "A", 10),
    ]  # fmt: skip
    found = rows[1]["parameters"]["Omega_m"]
    assert found["gain"]["value"] == pytest.approx(1, abs=0.01)
    assert found["varied"]["A_AGN1"]["in_std"]["value"] == pytest.approx(3.0, abs=0.1)
    assert rows[1]["parameters"]["sigma_8"]["varied"]["A_AGN1"]["in_std"]["value"] == pytest.approx(0, abs=0.01)
    assert ONE_PARAMETER not in {key.kind for key in results.others}


def test_every_network_is_tested_on_every_set_that_is_there():
    spec = LetterSpec(suites=("MockTNG", "MockSIMBA"))
    plan = OneParameter().tests_on_sets(spec, {"MockTNG": ("LH", "1P"), "MockSIMBA": ("1P", "LH")})
    (tests,) = plan.values()
    assert [(test.network.suite, test.suite) for test in tests] == [
        ("MockTNG", "MockTNG"), ("MockTNG", "MockSIMBA"), ("MockSIMBA", "MockSIMBA"), ("MockSIMBA", "MockTNG"),
    ]  # fmt: skip
    assert {(test.network.set_name, test.set_name, test.simulations) for test in tests} == {("LH", "1P", "unseen")}
    alone = OneParameter().tests_on_sets(spec, {"MockTNG": ("LH", "1P"), "MockSIMBA": ("LH",)})
    assert {test.suite for tests in alone.values() for test in tests} == {"MockTNG"}
    assert OneParameter().tests_on_sets(spec, {"MockTNG": ("LH",), "MockSIMBA": ("LH", "1Pthin2")}) == {}


def test_it_is_named_by_its_first_words_or_left_out():
    spec = laptop_scale()
    check_letter(replace(spec, only=("one parameter",)))
    assert ExperimentKey(ONE_PARAMETER) in planned(spec)
    assert ExperimentKey(ONE_PARAMETER) in planned(replace(spec, numerics=False))
    left_out = replace(spec, one_parameter_seeds=0)
    assert ExperimentKey(ONE_PARAMETER) not in planned(left_out)
    with pytest.raises(
        UserError, match="only: 'one param', which one_parameter_seeds = 0 leaves out; give one of the two"
    ):
        check_letter(replace(left_out, only=("one param",)))
    for change in ({"one_parameter_seeds": -1}, {"one_parameter_values": 4}, {"one_parameter_values": 1}):
        with pytest.raises(UserError, match=r"one_parameter_.* = .*: allowed are"):
            check_letter(replace(spec, **change))


def test_a_letter_simulates_few_of_them():
    (small,), (large,) = map(one_parameter_simulations, (laptop_scale(), letter_scale()))
    assert (small.set_name, small.suites, small.twin) == ("1P", ("MockTNG", "MockSIMBA"), False)
    assert plan_suites(small)[0].n_simulations == 4 * 13
    assert plan_suites(large)[0].n_simulations == 10 * 25
    names = {plan.name for each in numerics_simulations(laptop_scale()) for plan in plan_suites(each)}
    assert names.isdisjoint(plan.name for plan in plan_suites(small))


@pytest.mark.parametrize(
    ("change", "n"),
    [
        ({"one_parameter_seeds": 0}, 0),
        ({"only": ("smoothing",)}, 0),
        ({"only": ("smoothing", "one parameter")}, 1),
        ({"numerics": False}, 1),
    ],
)
def test_they_are_simulated_where_they_are_wanted(change, n):
    assert len(one_parameter_simulations(replace(laptop_scale(), **change))) == n


@pytest.fixture(scope="module")
def done(tiny_letter, with_maps, blank_figures, tmp_path_factory):
    """A letter of this experiment alone, on simulations of its own."""
    out = with_maps(tmp_path_factory.mktemp("letter"))
    spec = replace(tiny_letter, only=("one parameter",), numerics=False, summary_trials=0, map_trials=0)
    data = prepare_data(spec, None, out, "cpu")
    results = run_letter(spec, data, out, "cpu")
    with blank_figures():
        return spec, data, out, results, write_letter(out, results)


def test_a_letter_of_it_is_done_from_end_to_end(done):
    _, data, out, results, document = done
    assert {set_name for _, set_name in data.opened} == {"LH", "1P"}
    assert [row.n_simulations for row in results.feedback_responses] == [13] * 4
    assert {row.n_conditions for row in results.feedback_responses} == {1}
    found = {verdict["experiment"]: verdict["outcome"] for verdict in document["verdicts"]}
    assert (found[OWN], found[OTHERS]) == ("undecided", "undecided")
    assert len(document["one_parameter"]) == 4
    assert "## One parameter at a time" in (out / "report.md").read_text()
    assert 'id="one-parameter"' in (out / "report.html").read_text()
    assert "figures/one_parameter_MockTNG.png" in document["figures"]
    for row in document["experiments"][ONE_PARAMETER]:
        assert (row["train_set"], row["test_set"], row["n_simulations"]) == ("LH", "1P", 13)


def test_a_folder_with_such_sets_is_tested_on_and_one_without_is_not(done):
    spec, data, *_ = done
    plan = experiments(spec, data.suites, data.directory)
    assert ExperimentKey(ONE_PARAMETER) in plan
    every = replace(spec, only=(), one_parameter_seeds=0)
    assert ExperimentKey(ONE_PARAMETER) not in experiments(every, data.suites, data.directory)


def test_a_folder_without_such_a_set_is_told(done, tmp_path):
    spec, data, *_ = done
    for path in data.directory.glob("*LH*"):
        (tmp_path / path.name).symlink_to(path)
    with pytest.raises(UserError, match="only: 'one parameter' needs the set 1P of a suite"):
        prepare_data(spec, tmp_path, tmp_path / "out", "cpu")
