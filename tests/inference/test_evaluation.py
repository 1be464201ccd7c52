"""Which simulations a network may be tested on, and in which unit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldlevel.data.normalise import Normaliser
from fieldlevel.data.seen import SeenSource, record_seen
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import Suite, open_suite, split_simulations
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.inference.evaluation import evaluate_suite, predict_suite
from fieldlevel.inference.predictor import Predictor
from fieldlevel.layout import Layout, Parameter
from fieldlevel.suites import layout_of
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.train_spec import TrainSpec

MINIMA, MAXIMA = Layout().lows, Layout().highs
N_SIMULATIONS = 10
SPEC = TrainSpec(suite="IllustrisTNG", split=SplitSpec(train=0.4, validation=0.2))
SPLIT = split_simulations(N_SIMULATIONS, SPEC.split.seed, SPEC.split.train, SPEC.split.validation)
SEEN = np.concatenate([SPLIT.train, SPLIT.validation])
SEEN_OTHERWISE = "the network was trained or validated on . of the .* simulations asked for, as their"


def write(folder: Path, maps, theta, suite="IllustrisTNG", set_name="LH") -> Suite:
    folder.mkdir(exist_ok=True)
    np.save(folder / f"Maps_Mtot_{suite}_{set_name}_z=0.00.npy", maps.reshape(-1, 16, 16))
    np.savetxt(folder / f"params_{set_name}_{suite}.txt", theta, fmt="%.5f")
    return open_suite(folder, suite, set_name=set_name, check=False)


@pytest.fixture
def theta():
    return MINIMA + np.random.default_rng(0).random((N_SIMULATIONS, 6)) * (MAXIMA - MINIMA)


def other_theta():
    return MINIMA + np.random.default_rng(7).random((N_SIMULATIONS, 6)) * (MAXIMA - MINIMA)


@pytest.fixture
def maps():
    return np.random.default_rng(1).lognormal(25.0, 1.0, (N_SIMULATIONS, 15, 16, 16)).astype(np.float32)


@pytest.fixture
def other_maps(maps):
    return maps[:, :, ::-1] * np.float32(1.01)


@pytest.fixture
def predictor(tmp_path, maps, theta):
    """Trained on the suite in `data`, as far as its file tells."""
    suite = write(tmp_path / "data", maps, theta)
    torch.manual_seed(0)
    network, seen = MomentNetwork(16, 1, 0.0).eval(), record_seen(suite, SEEN)
    return Predictor(network, SPEC, Normaliser(11.0, 0.5), SPLIT.train, SPLIT.validation, {}, seen)


def test_the_unseen_simulations_of_its_own_suite_are_tested(predictor, tmp_path):
    predictions = predict_suite(predictor, open_suite(tmp_path / "data", "IllustrisTNG", check=False))
    assert set(predictions.simulation) == set(SPLIT.test)


@pytest.mark.parametrize(("suite", "set_name"), [("SIMBA", "LH"), ("Mine", "LH"), ("IllustrisTNG", "SB1")])
def test_training_maps_under_another_name_are_refused(predictor, tmp_path, maps, theta, suite, set_name):
    renamed = write(tmp_path / "other", maps, theta, suite, set_name)
    with pytest.raises(UserError, match=SEEN_OTHERWISE):
        predict_suite(predictor, renamed, "all")


@pytest.mark.parametrize("seed", range(3))
def test_permuted_simulations_are_refused(predictor, tmp_path, maps, theta, seed):
    order = np.random.default_rng(seed).permutation(N_SIMULATIONS)
    assert np.isin(order[SPLIT.test], SEEN).any()
    permuted = write(tmp_path / "other", maps[order], theta[order])
    with pytest.raises(UserError, match=SEEN_OTHERWISE):
        predict_suite(predictor, permuted)


def test_maps_that_were_turned_and_relabelled_are_refused(predictor, tmp_path, maps, theta):
    turned = write(tmp_path / "other", np.rot90(maps, axes=(2, 3)), other_theta(), "Mine")
    with pytest.raises(UserError, match="as their maps tell"):
        predict_suite(predictor, turned, "all")


def test_one_seen_map_among_others_is_found(predictor, tmp_path, maps, other_maps, theta):
    mixed = np.array(other_maps)
    mixed[7, 3] = maps[SEEN[0], 11]
    with pytest.raises(UserError, match=r"1 of the 10 simulations asked for, as their maps tell \(first: 7\)"):
        predict_suite(predictor, write(tmp_path / "other", mixed, other_theta(), "Mine"), "all")


def test_other_maps_of_the_same_rows_are_refused(predictor, tmp_path, other_maps, theta):
    with pytest.raises(UserError, match="6 of the 10 simulations asked for, as their parameters tell"):
        predict_suite(predictor, write(tmp_path / "other", other_maps, theta, "Mine"), "all")


def test_a_gravity_only_twin_under_another_name_is_refused(predictor, tmp_path, other_maps, theta):
    theta[:, 2:] = 1.0
    with pytest.raises(UserError, match="as their parameters tell"):
        predict_suite(predictor, write(tmp_path / "other", other_maps, theta, "Nbody_Mine"), "all")


def test_a_twin_of_the_same_name_is_refused_as_ever(predictor, tmp_path, other_maps, theta):
    with pytest.raises(UserError, match=r"6 of the 10 simulations asked for "):
        predict_suite(predictor, write(tmp_path / "other", other_maps, theta, "Nbody_IllustrisTNG"), "all")


def test_siblings_of_the_same_cosmology_and_other_feedback_are_tested(predictor, tmp_path, other_maps, theta):
    theta[:, 2:] = np.roll(theta[:, 2:], 1, axis=0)
    assert predict_suite(predictor, write(tmp_path / "other", other_maps, theta, "SIMBA"), "all").n_maps == 150


def test_a_set_at_the_fiducial_point_is_tested(predictor, tmp_path, other_maps, theta):
    fiducial = np.tile([0.3, 0.8, 1.0, 1.0, 1.0, 1.0], (N_SIMULATIONS, 1))
    suite = write(tmp_path / "data", other_maps, fiducial, set_name="CV")
    known = replace(predictor, seen=record_seen(write(tmp_path / "cv", other_maps * 2, fiducial, "SIMBA", "CV"), SEEN))
    assert predict_suite(known, suite, "all").n_maps == 150


def test_networks_without_the_record_refuse_by_name_alone(predictor, tmp_path, maps, theta):
    old = replace(predictor, seen=None)
    assert predict_suite(old, write(tmp_path / "other", maps, theta, "SIMBA"), "all").n_maps == 150
    with pytest.raises(UserError, match="6 of the 10"):
        predict_suite(old, open_suite(tmp_path / "data", "IllustrisTNG", check=False), "all")


@pytest.fixture
def adapted(tmp_path, maps, theta):
    """Trained on the suite in `data` and, without labels, on SIMBA in `target`, as far as its file tells."""
    spec = replace(SPEC, sources=(SourceSpec("IllustrisTNG"), SourceSpec("SIMBA", labelled=False)))
    labelled = write(tmp_path / "data", maps, theta)
    target = write(tmp_path / "target", target_maps(), target_theta(), "SIMBA")
    numbers = tuple(SPLIT.train.tolist())
    source = SeenSource("SIMBA", "LH", False, "SIMBA LH", numbers, (), record_seen(target, SPLIT.train))
    torch.manual_seed(0)
    return Predictor(
        MomentNetwork(16, 1, 0.0).eval(),
        spec,
        Normaliser(11.0, 0.5),
        SPLIT.train,
        SPLIT.validation,
        {},
        record_seen(labelled, SEEN),
        layout=labelled.layout,
        other_sources=(source,),
    )


def target_maps():
    return np.random.default_rng(11).lognormal(25.0, 1.0, (N_SIMULATIONS, 15, 16, 16)).astype(np.float32)


def target_theta():
    return MINIMA + np.random.default_rng(12).random((N_SIMULATIONS, 6)) * (MAXIMA - MINIMA)


def with_layout(suite: Suite, **change) -> Suite:
    return replace(suite, layout=replace(suite.layout, **change))


UNSEEN_MAPS = np.random.default_rng(13).lognormal(25.0, 1.0, (N_SIMULATIONS, 15, 16, 16)).astype(np.float32)
SAME_AS = "the network was trained or validated on {} of the 10 simulations asked for"
OF_TARGET = {
    "by number": (lambda: (UNSEEN_MAPS, other_theta(), "SIMBA"), SAME_AS.format(4)),
    "a twin": (lambda: (UNSEEN_MAPS, other_theta(), "Nbody_SIMBA"), SAME_AS.format(4)),
    "another name": (lambda: (target_maps(), other_theta(), "Mine"), "as their maps tell"),
    "turned": (lambda: (np.rot90(target_maps(), axes=(2, 3)), other_theta(), "Mine"), "as their maps tell"),
    "shuffled": (lambda: (target_maps()[:, :, ::-1, ::-1], other_theta(), "Mine"), "as their maps tell"),
    "their rows": (lambda: (UNSEEN_MAPS, target_theta(), "Mine"), "as their parameters tell"),
    "rows of a twin": (lambda: (UNSEEN_MAPS, target_theta(), "Nbody_Mine"), "as their parameters tell"),
    "another order": (lambda: (target_maps()[::-1], target_theta()[::-1], "Mine"), "as their parameters tell"),
}


@pytest.mark.parametrize(("give", "words"), OF_TARGET.values(), ids=OF_TARGET)
def test_simulations_that_were_seen_without_labels_are_refused(adapted, tmp_path, give, words):
    with pytest.raises(UserError, match=words):
        predict_suite(adapted, write(tmp_path / "other", *give()), "all")


@pytest.mark.parametrize(("suite", "of"), [("SIMBA", "target"), ("IllustrisTNG", "data")])
def test_the_unseen_simulations_of_both_sources_are_tested(adapted, tmp_path, suite, of):
    predictions = predict_suite(adapted, open_suite(tmp_path / of, suite, check=False))
    assert set(predictions.simulation) == set(SPLIT.test)


@pytest.mark.parametrize("suite", ["IllustrisTNG", "Nbody_IllustrisTNG"])
def test_the_labelled_source_is_refused_beside_another(adapted, tmp_path, suite):
    with pytest.raises(UserError, match=SAME_AS.format(6)):
        predict_suite(adapted, write(tmp_path / "other", UNSEEN_MAPS, other_theta(), suite), "all")
    renamed = write(tmp_path / "mine", np.load(next((tmp_path / "data").glob("*.npy"))), other_theta(), "Mine")
    with pytest.raises(UserError, match="as their maps tell"):
        predict_suite(adapted, renamed, "all")


@pytest.mark.parametrize(("whose", "n"), [("IllustrisTNG LH", 6), ("SIMBA LH", 4)])
@pytest.mark.parametrize("set_name", ["LH", "SB1"])
def test_siblings_of_the_same_initial_conditions_are_refused(adapted, tmp_path, whose, n, set_name):
    suite = write(tmp_path / "other", UNSEEN_MAPS, other_theta(), "Astrid", set_name)
    assert predict_suite(adapted, suite, "all").n_maps == 150
    sibling = with_layout(suite, initial_conditions=whose)
    with pytest.raises(UserError, match=rf"{SAME_AS.format(n)}, as those of .* have the same initial conditions"):
        predict_suite(adapted, sibling, "all")
    assert set(predict_suite(adapted, sibling).simulation) == set(SPLIT.test)


def test_nobody_knows_whether_unnamed_initial_conditions_are_the_same(adapted, tmp_path):
    unnamed = replace(adapted, layout=replace(adapted.layout, initial_conditions=""))
    suite = with_layout(write(tmp_path / "other", UNSEEN_MAPS, other_theta(), "Astrid"), initial_conditions="")
    assert predict_suite(unnamed, suite, "all").n_maps == 150


def test_a_set_of_one_seed_list_has_siblings_in_every_suite(predictor, tmp_path, other_maps):
    """CV simulations of one number share their seed in all suites of CAMELS."""
    spec, layout = replace(SPEC, suite="SIMBA", set_name="CV"), layout_of("SIMBA", "CV")
    known = replace(predictor, spec=spec, layout=layout, seen=None)
    suite = write(tmp_path / "other", other_maps, other_theta(), "IllustrisTNG", "CV")
    with pytest.raises(UserError, match=r"as those of SIMBA CV have the same initial conditions"):
        predict_suite(known, suite, "all")


@pytest.fixture
def of_mocks(tmp_path, maps, theta):
    """Trained on MockTNG, as far as its file tells."""
    spec, suite = replace(SPEC, suite="MockTNG"), write(tmp_path / "mock", maps, theta, "MockTNG")
    torch.manual_seed(0)
    return Predictor(
        MomentNetwork(16, 1, 0.0).eval(),
        spec,
        Normaliser(11.0, 0.5),
        SPLIT.train,
        SPLIT.validation,
        {},
        record_seen(suite, SEEN),
        layout=suite.layout,
    )


def labels_of(suite: str, cosmology, seed: int = 3):
    """The cosmology with feedback of a suite's own; that alone of the gravity-only twin."""
    own = np.random.default_rng(seed).uniform(MINIMA, MAXIMA, (N_SIMULATIONS, 6))
    return np.c_[cosmology[:, :2], own[:, 2:]][:, : layout_of(suite).n_parameters]


SIBLINGS = [
    *(("MockSIMBA", set_name) for set_name in ("LH", "LHthin2", "LHn128", "LHlattice2", "LHn128thin4cdm")),
    *(("Nbody_Mock", set_name) for set_name in ("LH", "LHthin2", "LHtracers")),
    ("MockTNG", "LHthin2"),
    ("MockTNG", "LHthinned"),
]


@pytest.mark.parametrize(("suite", "set_name"), SIBLINGS)
@pytest.mark.parametrize("keeps_rows", [True, False])
def test_siblings_of_seen_mock_simulations_are_refused(of_mocks, tmp_path, theta, suite, set_name, keeps_rows):
    """By number, whether the file knows their rows or not; those of the test set are tested."""
    known = of_mocks if keeps_rows else replace(of_mocks, seen=None)
    sibling = write(tmp_path / "other", UNSEEN_MAPS, labels_of(suite, theta), suite, set_name)
    with pytest.raises(UserError, match=rf"{SAME_AS.format(6)}.*\(first: {min(SEEN)}\)"):
        predict_suite(known, sibling, "all")
    assert set(predict_suite(known, sibling).simulation) == set(SPLIT.test)


@pytest.mark.parametrize("suite", ["MockTNG", "MockSIMBA", "Nbody_Mock"])
@pytest.mark.parametrize("set_name", ["LHtest", "LHtestthin2", "CV", "mine"])
def test_other_mock_sets_are_tested(of_mocks, tmp_path, suite, set_name):
    other = write(tmp_path / "other", UNSEEN_MAPS, labels_of(suite, other_theta()), suite, set_name)
    assert predict_suite(of_mocks, other, "all").n_maps == 150


@pytest.mark.parametrize(("suite", "set_name"), [("MockSIMBA", "LHother"), ("MockAstrid", "SB1"), ("Nbody_Mock", "CV")])
def test_siblings_under_the_name_of_another_set_are_known_by_their_cosmology(
    of_mocks, tmp_path, theta, suite, set_name
):
    renamed = write(tmp_path / "other", UNSEEN_MAPS, labels_of(suite, theta), suite, set_name)
    with pytest.raises(UserError, match=SEEN_OTHERWISE):
        predict_suite(of_mocks, renamed, "all")


def test_a_real_suite_of_the_same_cosmology_is_no_sibling_of_a_mock(of_mocks, tmp_path, theta):
    other = write(tmp_path / "other", UNSEEN_MAPS, labels_of("SIMBA", theta), "SIMBA")
    assert predict_suite(of_mocks, other, "all").n_maps == 150


@pytest.mark.parametrize("suite", ["MockTNG", "MockSIMBA"])
def test_networks_of_the_twin_refuse_what_they_have_seen_of_all_mock_suites(of_mocks, tmp_path, theta, suite):
    twin = write(tmp_path / "twin", UNSEEN_MAPS, theta[:, :2], "Nbody_Mock")
    spec = replace(SPEC, suite="Nbody_Mock")
    known = replace(of_mocks, spec=spec, layout=twin.layout, seen=record_seen(twin, SEEN))
    hydro = open_suite(tmp_path / "mock", "MockTNG", check=False)
    if suite != "MockTNG":
        hydro = write(tmp_path / "other", UNSEEN_MAPS[:, ::-1], labels_of(suite, theta), suite)
    with pytest.raises(UserError, match=SAME_AS.format(6)):
        predict_suite(known, hydro, "all")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"box_size_mpc_h": 50.0},
            "slabs of 5.0 Mpc/h of a box of 50.0 Mpc/h, but the network was trained on Mtot maps",
        ),
        ({"slab_thickness_mpc_h": 2.5}, "slabs of 2.5 Mpc/h of a box of 25.0 Mpc/h, but the network was trained on"),
    ],
)
def test_maps_of_another_box_or_slab_are_refused_with_both(predictor, tmp_path, other_maps, change, words):
    suite = with_layout(write(tmp_path / "other", other_maps, other_theta(), "SIMBA"), **change)
    with pytest.raises(UserError) as refused:
        predict_suite(predictor, suite, "all")
    assert f"SIMBA: Mtot maps of 16 pixels a side, {words}" in str(refused.value)
    assert "slabs of 5.0 Mpc/h of a box of 25.0 Mpc/h" in str(refused.value)


def test_maps_whose_folder_says_another_unit_are_refused_with_both(predictor, tmp_path, other_maps):
    suite = with_layout(write(tmp_path / "other", other_maps, other_theta(), "SIMBA"), units=(("Mtot", "kg/m^2"),))
    with pytest.raises(UserError, match=r"SIMBA: Mtot in kg/m\^2, but .* trained on maps in \(Msun/h\)/\(Mpc/h\)\^2"):
        predict_suite(predictor, suite, "all")
    assert predict_suite(predictor, suite, "all", anyway=True).n_maps == 150
    unknown = with_layout(suite, units=())
    assert predict_suite(predictor, unknown, "all").n_maps == 150


def test_truths_are_found_by_name(predictor, tmp_path, other_maps):
    """An output of one suite has a truth there alone, and one that the tested set lacks has none."""
    names = ("A_SN1[SIMBA]", "sigma_8", "A_SN1[IllustrisTNG]", "Omega_m", "A_SN2", "M_WDM")
    layout = Layout(tuple(map(Parameter, names)))
    theta = other_theta()
    suite = write(tmp_path / "other", other_maps, theta, "SIMBA")
    predictions = predict_suite(replace(predictor, layout=layout), suite, "all")
    assert predictions.layout.names == names
    rows = suite.parameters[predictions.simulation]
    np.testing.assert_array_equal(predictions.theta[:, [0, 1, 3, 4]], rows[:, [2, 1, 0, 4]])
    assert np.isnan(predictions.theta[:, [2, 5]]).all()


def test_maps_of_another_redshift_are_refused_with_both(predictor, tmp_path, other_maps):
    suite = with_layout(write(tmp_path / "other", other_maps, other_theta(), "SIMBA"), redshift=1.0)
    with pytest.raises(UserError, match="SIMBA: maps at z = 1, but the network was trained on maps at z = 0; give"):
        predict_suite(predictor, suite)
    assert predict_suite(predictor, suite, anyway=True).n_maps


@pytest.mark.parametrize("factor", [1e-6, 1e-11])
def test_maps_in_another_unit_are_refused_with_the_file(predictor, tmp_path, other_maps, factor):
    suite = write(tmp_path / "other", other_maps * np.float32(factor), other_theta(), "SIMBA")
    with pytest.raises(UserError, match=r"Maps_Mtot_SIMBA_LH_z=0.00.npy: simulation 0, maps 0, 1, .*mean log10"):
        predict_suite(predictor, suite, "all")
    assert predict_suite(predictor, suite, "all", anyway=True).n_maps == 150


@pytest.mark.parametrize("kind", ["mean map", "shuffled pixels", "random phases", "no monopole"])
def test_null_tests_go_on_as_before(predictor, tmp_path, other_maps, kind):
    """Also those whose maps lie far from the training maps."""
    suite = write(tmp_path / "other", other_maps, other_theta(), "SIMBA").transformed(TransformSpec(kind))
    narrow = replace(predictor, normaliser=Normaliser(9.0, 0.1))
    assert predict_suite(narrow, suite, "all").n_maps == 150


def one_by_one(predictor, suite, numbers):
    return np.concatenate([predictor.predict(suite.read_simulation(int(number)))[0] for number in numbers])


@pytest.mark.parametrize("kind", ["none", "shuffled pixels"])
def test_simulations_that_are_read_together_are_answered_as_alone(predictor, tmp_path, other_maps, kind):
    """Also where pixels are drawn by the place of a map among those that are read."""
    given = replace(predictor, spec=replace(SPEC, transform=TransformSpec(kind)))
    suite = write(tmp_path / "other", other_maps, other_theta(), "Mine")
    expected = one_by_one(given, suite, range(N_SIMULATIONS))
    np.testing.assert_allclose(predict_suite(given, suite, "all").mean, expected, rtol=1e-5)


def test_what_is_wrong_with_one_of_the_simulations_read_together_is_told_of_it(predictor, tmp_path, other_maps):
    broken = np.array(other_maps)
    broken[5, 3, 2, 2] = np.nan
    suite = write(tmp_path / "other", broken, other_theta(), "Mine")
    for tested in (predict_suite, evaluate_suite):
        with pytest.raises(UserError, match=r"Mine_LH_z=0\.00\.npy: simulation 5, maps 3: NaN"):
            tested(predictor, suite, "all")


def test_the_digests_of_tested_maps_are_made_once_in_a_process(predictor, tmp_path, other_maps, monkeypatch):
    suite, made = write(tmp_path / "other", other_maps, other_theta(), "Mine"), []
    monkeypatch.setattr("fieldlevel.data.seen.map_digests", lambda maps: made.append(len(maps)) or [""] * len(maps))
    for _ in range(2):
        predict_suite(predictor, suite, "all")
    assert made == N_SIMULATIONS * [15]
    write(tmp_path / "other", other_maps * 2, other_theta(), "Mine")
    predict_suite(predictor, suite, [0])
    assert len(made) == N_SIMULATIONS + 1
