import sys
from dataclasses import replace

import pytest

from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec, PerceptronSpec
from fieldlevel.study import letter_plan as letter
from fieldlevel.study.experiments.null_tests import NULL_TESTS
from fieldlevel.study.letter_checks import check_letter
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.scales import laptop_scale
from fieldlevel.suites import nbody_twin
from fieldlevel.training.train_spec import TrainSpec

SUITES = ("MockTNG", "MockSIMBA")
TWINS = tuple(dict.fromkeys(map(nbody_twin, SUITES)))


def labelled(*arguments):
    """The plan by the words of its keys."""
    return {key.label: tests for key, tests in letter.experiments(*arguments).items()}


@pytest.fixture
def folder(tmp_path):
    for suite in (*SUITES, "Nbody_Mock"):
        (tmp_path / f"Maps_Mtot_{suite}_LH_z=0.00.npy").touch()
    return tmp_path


def test_four_pairs_come_first_and_the_rest_in_order(folder):
    names = list(labelled(LetterSpec(smoothing=(2.0,), k_max=(5.0,)), SUITES, folder))
    assert names == [
        "four pairs",
        "mean map",
        "shuffled pixels",
        "random phases",
        "no monopole",
        "power spectrum",
        "one-point PDF",
        "hydro to N-body",
        "N-body to hydro",
        "smoothing 2 px",
        "k_max 5 h/Mpc",
        "permuted labels",
    ]


def test_null_tests_and_twins_train_nothing_new(folder):
    tests = labelled(LetterSpec(), SUITES, folder)
    trained = {test.network for test in tests["four pairs"]}
    assert len(trained) == 2
    for name in (*(test.kind for test in NULL_TESTS), "hydro to N-body"):
        assert {test.network for test in tests[name]} == trained


def test_retrained_networks_differ_in_one_thing(folder):
    spec = LetterSpec()
    tests = labelled(spec, SUITES, folder)
    networks = {test.network for test in tests["smoothing 2 px"]}
    assert {(n.transform.kind, n.transform.scale) for n in networks} == {("smoothing", 2.0)}
    assert {replace(n, transform=spec.train.transform, suite="MockTNG") for n in networks} == {spec.train}
    assert {test.network.labels for test in tests["permuted labels"]} == {"permuted"}
    assert {test.network.suite for test in tests["N-body to hydro"]} == {"Nbody_Mock"}


def test_the_twin_of_two_suites_is_trained_once_and_tested_on_both(folder):
    tests = labelled(LetterSpec(), SUITES, folder)
    assert [test.suite for test in tests["N-body to hydro"]] == ["Nbody_Mock", *SUITES]
    assert [(test.network.suite, test.suite) for test in tests["hydro to N-body"]] == [
        (suite, "Nbody_Mock") for suite in SUITES
    ]


def test_each_suite_of_camels_has_a_twin_of_its_own(tmp_path):
    real = ("IllustrisTNG", "SIMBA")
    for suite in (*real, *(f"Nbody_{each}" for each in real)):
        (tmp_path / f"Maps_Mtot_{suite}_LH_z=0.00.npy").touch()
    tests = labelled(LetterSpec(), real, tmp_path)["N-body to hydro"]
    assert [(test.network.suite, test.suite) for test in tests] == [
        pair for suite in real for pair in ((f"Nbody_{suite}",) * 2, (f"Nbody_{suite}", suite))
    ]


def test_summaries_share_the_split_and_the_field_of_the_maps(folder):
    spec = LetterSpec(train=TrainSpec(field="Mtot", split=replace(TrainSpec().split, seed=7), seed=3))
    for name in ("power spectrum", "one-point PDF"):
        for test in labelled(spec, SUITES, folder)[name]:
            assert test.network.inputs == name
            assert (test.network.split, test.network.seed) == (spec.train.split, 3)


@pytest.mark.parametrize("other_seeds", [1, 2])
def test_pairs_and_other_networks_have_seeds_of_their_own_number(folder, other_seeds):
    specs = (LetterSpec(), LetterSpec(seeds=3, other_seeds=other_seeds))
    once, more = (labelled(spec, SUITES, folder) for spec in specs)
    for name, tests in once.items():
        n = 3 if name == "four pairs" else other_seeds
        assert len(more[name]) == n * len(tests)
        assert {test.network.seed for test in more[name]} == set(range(n))


def test_more_seeds_of_the_rest_than_of_the_pairs_are_refused():
    with pytest.raises(UserError, match="other_seeds = 2: allowed are numbers from 1 to seeds = 1"):
        check_letter(LetterSpec(other_seeds=2))


def test_experiments_are_chosen_by_their_first_words(folder):
    spec = LetterSpec(smoothing=(1.0, 2.0), only=("smoothing", "N-body"))
    assert list(labelled(spec, SUITES, folder)) == [
        "four pairs",
        "N-body to hydro",
        "smoothing 1 px",
        "smoothing 2 px",
    ]
    with pytest.raises(UserError, match=r"only: no experiment 'smoothness'; choose from 'four pairs', 'mean map'"):
        check_letter(replace(spec, only=("smoothness",)))


def test_an_experiment_that_was_left_out_cannot_be_the_only_one():
    spec = LetterSpec(only=("numerics",))
    check_letter(spec)
    for words in ("numerics", "numerics, LH"):
        with pytest.raises(UserError, match=f"only: '{words}', which --no-numerics .* leaves out; give one of the two"):
            check_letter(replace(spec, numerics=False, only=("smoothing", words)))
    with pytest.raises(UserError, match="only: no experiment 'numbers'"):
        check_letter(replace(spec, numerics=False, only=("numbers",)))


def test_maps_without_a_logarithm_are_refused_where_one_is_taken():
    stars = LetterSpec(train=replace(LetterSpec().train, field="Mstar"))
    with pytest.raises(
        UserError, match="random phases and k_max: work on the logarithm of a map, which Mstar does not"
    ):
        check_letter(stars)
    with pytest.raises(UserError, match=r"^k_max: work"):
        check_letter(replace(stars, only=("k_max 4", "smoothing")))
    check_letter(replace(stars, only=("smoothing", "mean map")))


def test_what_is_searched_depends_on_what_is_to_be_done(folder):
    def places(**changes):
        spec = LetterSpec(map_trials=3, **changes)
        return list(letter.searches(spec, letter.experiments(spec, SUITES, folder)))

    maps, spectra = ([(inputs, suite) for suite in SUITES] for inputs in ("maps", "power spectrum"))
    assert places() == maps + spectra
    assert places(summary_trials=0) == places(only=("smoothing", "N-body")) == maps
    assert places(only=("one-point",)) == maps + spectra


def test_networks_take_the_hyper_parameters_of_their_search(folder):
    spec = LetterSpec(seeds=2)
    found = {
        ("maps", "MockTNG"): replace(spec.train, network=NetworkSpec(hidden=5), n_steps=7, seed=9),
        ("power spectrum", "MockSIMBA"): replace(spec.summary, perceptron=PerceptronSpec(n_layers=2)),
    }
    plan = letter.experiments(spec, SUITES, folder, found)
    for tests in plan.values():
        for test in tests:
            network = test.network
            tuned = network.inputs == "maps" and network.suite in ("MockTNG", nbody_twin("MockTNG"))
            assert network.network == (NetworkSpec(hidden=5) if tuned else spec.train.network)
            tuned = network.inputs != "maps" and network.suite == "MockSIMBA"
            assert network.perceptron.n_layers == (2 if tuned else 3)
            assert network.seed in (0, 1)
            assert network.n_steps in (spec.train.n_steps, spec.summary.n_steps)


def test_without_twins_there_are_no_gravity_only_tests(tmp_path):
    for suite in SUITES:
        (tmp_path / f"Maps_Mtot_{suite}_LH_z=0.00.npy").touch()
    tests = letter.experiments(LetterSpec(), SUITES, tmp_path)
    assert not {"hydro to N-body", "N-body to hydro"} & {key.label for key in tests}
    with pytest.raises(UserError, match="only: 'hydro' needs the gravity-only twins of the suites"):
        letter.experiments(LetterSpec(only=("hydro",)), SUITES, tmp_path)
    assert letter.used_sets(tests) == {(suite, "LH") for suite in SUITES}


def test_optuna_is_asked_for_where_something_is_searched_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    check_letter(replace(laptop_scale(), only=("smoothing",)))
    with pytest.raises(UserError, match=r"optuna is not installed; pip install 'fieldlevel\[tune\]'"):
        check_letter(laptop_scale())
    with pytest.raises(UserError, match="optuna is not installed"):
        check_letter(replace(laptop_scale(), only=("smoothing",), map_trials=5))
