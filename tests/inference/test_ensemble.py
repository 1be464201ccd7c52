"""Several networks as one: mixtures, their weights, and members that do not fit together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import fieldlevel
from fieldlevel.data.normalise import Normaliser
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.inference.calibration import Calibration
from fieldlevel.inference.ensemble import Ensemble
from fieldlevel.inference.predictor import Predictor
from fieldlevel.inference.transfer_errors import TransferErrors
from fieldlevel.inference.trust.judging import Judging, Trust
from fieldlevel.layout import Layout
from fieldlevel.statistics.rescaling import Rescaling
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import save_network

UNIT = [[0.5, 0.5], [0.3, 0.7]]
NOISE = 0.03


@pytest.mark.parametrize("joint", [False, True])
def test_an_ensemble_of_one_is_that_network(toy, toy_maps, joint):
    network, maps = toy(joint=joint), toy_maps(UNIT)
    ensemble = Ensemble.of([network])
    for one, other in zip(ensemble.predict(maps), network.predict(maps), strict=True):
        np.testing.assert_array_equal(one, other)
    found, alone = ensemble.posterior(maps), network.posterior(maps)
    np.testing.assert_array_equal(found.sample(7, seed=1), alone.sample(7, seed=1))
    assert found.is_joint == joint


def test_an_ensemble_of_the_same_network_twice_is_that_network(toy, toy_maps):
    network, maps = toy(joint=True), toy_maps(UNIT)
    found, alone = Ensemble.of([network, network]).posterior(maps), network.posterior(maps)
    np.testing.assert_allclose(found.std, alone.std)
    np.testing.assert_allclose(found.covariance, alone.covariance)
    np.testing.assert_allclose(found.log_prob(found.mean), alone.log_prob(found.mean))


@pytest.mark.parametrize("joint", [False, True])
def test_a_mixture_has_the_spread_of_its_members(toy, toy_maps, physical, joint):
    members = [toy(joint=joint, shift=shift, std=std) for shift, std in ((-0.1, 0.05), (0.1, 0.02))]
    ensemble, maps = Ensemble.of(members), toy_maps(UNIT)
    found = ensemble.posterior(maps)
    expected = 0.4 * ((0.05**2 + 0.02**2) / 2 + 0.1**2) ** 0.5
    np.testing.assert_allclose(found.mean, physical(UNIT), atol=1e-6)
    np.testing.assert_allclose(found.std, expected, rtol=1e-4)
    np.testing.assert_allclose(ensemble.predict(maps)[1], expected, rtol=1e-5)
    np.testing.assert_allclose(found.moments[1], expected, rtol=1e-5)
    samples = found.sample(20_000)
    np.testing.assert_allclose(samples.std(0), expected, rtol=NOISE)
    assert np.corrcoef(samples[:, 0].T)[0, 1] > 0.8  # what one network shifts, it shifts for both parameters
    if not joint:
        low, high = (stats.norm(0.5 + shift, std).pdf(0.42) for shift, std in ((-0.1, 0.05), (0.1, 0.02)))
        density = np.log((low**2 + high**2) / 2 / 0.4**2)
        assert found[0].log_prob(physical([0.42, 0.42]))[0] == pytest.approx(density, rel=1e-4)


def test_the_order_of_members_does_not_matter(toy, toy_maps):
    members, maps = [toy(shift=shift) for shift in (-0.1, 0.0, 0.2)], toy_maps(UNIT)
    one, other = (Ensemble.of(each).posterior(maps) for each in (members, members[::-1]))
    np.testing.assert_allclose(one.mean, other.mean)
    np.testing.assert_allclose(one.interval()[0], other.interval()[0])


def test_weights_by_validation_loss(toy, toy_maps, physical):
    members = [
        toy(shift=shift, provenance={"validation_loss": loss}) for shift, loss in ((0.0, -12.0), (0.2, -12 - np.log(3)))
    ]
    ensemble = Ensemble.of(members, "validation loss")
    np.testing.assert_allclose(ensemble.weights, [0.25, 0.75])
    np.testing.assert_allclose(ensemble.predict(toy_maps(UNIT))[0], physical(np.array(UNIT) + 0.15), atol=1e-6)


REFUSED = {
    "none": (lambda toy: ([], "equal"), "no network; give one or more"),
    "weighting": (lambda toy: ([toy()], "best"), "weights = best: allowed are 'equal', 'validation loss' and 'trust'"),
    "no loss": (lambda toy: ([toy()], "validation loss"), "toy: its file tells no validation loss"),
    "outputs": (lambda toy: ([toy(), other(toy, ["sigma_8", "Omega_m"])], "equal"), "outputs sigma_8, Omega_m, but"),
    "priors": (lambda toy: ([toy(), toy(layout=wider())], "equal"), "priors 0.1 to 0.9, 0.6 to 1, but"),
    "slabs": (lambda toy: ([toy(), toy(layout=replace(TWO, n_slabs=2))], "equal"), "slabs 2 slabs of 5 Mpc/h"),
    "redshift": (lambda toy: ([toy(), toy(layout=replace(TWO, redshift=1.0))], "equal"), "redshift 1.0, but"),
    "field": (lambda toy: ([toy(), toy(spec=TrainSpec(field="Mgas"))], "equal"), "field Mgas, but toy has Mtot"),
    "pixels": (lambda toy: ([toy(layout=Layout()), convolutional()], "equal"), "maps of pixels a side 32, but"),
    "labels": (
        lambda toy: (
            [toy(provenance=LOSS), toy(provenance=LOSS, spec=TrainSpec(labels="permuted"))],
            "validation loss",
        ),
        "of another head, or validated on other maps",
    ),
    "data": (
        lambda toy: ([toy(provenance=LOSS), toy(provenance=LOSS | {"data_fingerprint": "b"})], "validation loss"),
        "their losses tell nothing; give weights = 'equal'",
    ),
}
TWO = Layout().select(["Omega_m", "sigma_8"])
PERMUTED = TrainSpec(labels="permuted")
LOSS = {"validation_loss": -12.0, "data_fingerprint": "a"}


def other(toy, names):
    return toy(layout=TWO.select(names), source="other")


def wider():
    return replace(TWO, parameters=(replace(TWO.parameters[0], high=0.9), TWO.parameters[1]))


def convolutional():
    nobody = np.empty(0, dtype=np.int64)
    return Predictor(MomentNetwork(32, 1, 0.0).eval(), TrainSpec(), Normaliser(11.0, 0.5), nobody, nobody, {})


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_members_that_do_not_fit_together_are_refused(toy, make, words):
    members, weights = make(toy)
    with pytest.raises(UserError) as refused:
        Ensemble.of(members, weights)
    assert words in str(refused.value)


def test_feedback_of_two_suites_is_not_one_parameter(toy, with_suite):
    """The cosmology of two suites is: what shares a name there shares its meaning."""
    feedback = Layout().select(["Omega_m", "A_SN1"])
    members = [toy(layout=feedback, spec=with_suite(suite)) for suite in ("SIMBA", "IllustrisTNG")]
    with pytest.raises(UserError, match="where A_SN1 mean something else; give networks of one suite"):
        Ensemble.of(members)
    assert len(Ensemble.of([toy(spec=with_suite(suite)) for suite in ("SIMBA", "IllustrisTNG")]).members) == 2


SUITES = ("SIMBA", "IllustrisTNG")


@pytest.mark.parametrize("joint", [False, True])
def test_networks_of_two_suites_answer_what_they_share(toy, toy_maps, with_suite, joint):
    """Of each member the marginal: mean 0.5 - 0.1 and 0.5 + 0.1 of the prior, standard deviation 0.05 each."""
    feedback = Layout().select(["A_SN1", "Omega_m"])
    members = [
        toy(joint=joint, layout=feedback, spec=with_suite(suite), shift=shift)
        for suite, shift in zip(SUITES, (-0.1, 0.1), strict=True)
    ]
    with pytest.raises(UserError, match=r"or choose what they share with outputs \(--outputs Omega_m\)"):
        Ensemble.of(members)
    ensemble, maps = Ensemble.of(members, outputs=["Omega_m"]), toy_maps([[0.3, 0.5]])
    posterior, (mean, std) = ensemble.posterior(maps), ensemble.predict(maps)
    assert ensemble.layout.names == posterior.names == ("Omega_m",)
    for found in (posterior.mean, mean, posterior.moments[0]):
        np.testing.assert_allclose(found, [[0.3]], atol=1e-6)
    for found in (posterior.std, std, posterior.moments[1]):
        np.testing.assert_allclose(found, [[0.4 * (0.05**2 + 0.1**2) ** 0.5]], rtol=1e-5)
    assert posterior.sample(5).shape == (5, 1, 1)


def test_members_may_have_other_outputs_in_another_order(toy, toy_maps):
    one, two = toy(), toy(layout=TWO.select(["sigma_8", "Omega_m"]))
    found = Ensemble.of([one, two], outputs=["sigma_8"]).predict(toy_maps([[0.2, 0.6]]))[0]
    np.testing.assert_allclose(found, [[0.6 + 0.4 * (0.6 + 0.2) / 2]], atol=1e-6)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([], "outputs = : give one parameter or more, each once"),
        (["Omega_m", "Omega_m"], "outputs = Omega_m Omega_m: give one parameter or more, each once"),
        (["h"], "outputs = h: toy infers no h; choose from A_SN1, Omega_m"),
        (["A_SN1"], "where A_SN1 mean something else; give networks of one suite, or choose what they share"),
    ],
)
def test_outputs_that_members_do_not_share_are_refused(toy, with_suite, outputs, words):
    feedback = Layout().select(["A_SN1", "Omega_m"])
    members = [toy(layout=feedback, spec=with_suite(suite)) for suite in SUITES]
    with pytest.raises(UserError) as refused:
        Ensemble.of(members, outputs=outputs)
    assert words in str(refused.value)


def test_errors_on_another_suite_are_those_of_the_parameters_that_are_answered(toy, physical):
    member, std = measured(toy(), 0.12, 0.0), np.full((2, 1), 0.4 * 0.05)
    for outputs, expected in ((["Omega_m"], 0.13), (["sigma_8"], 0.05)):
        column = TWO.column(outputs[0])
        found = Ensemble.of([member], outputs=outputs).transfer_std(physical(UNIT)[:, [column]], std)
        np.testing.assert_allclose(found, 0.4 * expected)


def test_members_judge_the_maps_together(toy, toy_maps, monkeypatch):
    p_values = iter([0.5, np.nan, 0.01])
    monkeypatch.setattr(Judging, "verdict", lambda self: trust_of(next(p_values)))
    assert Ensemble.of([toy(), toy(), toy()]).posterior(toy_maps(UNIT)).trust.set_p_value == 0.02


@pytest.fixture
def judged(monkeypatch):
    """Makes the members find these p-values of the maps, one after the other; None without a reference."""

    def make(*p_values):
        found = iter(p_values)
        monkeypatch.setattr(Judging, "verdict", lambda self: trust_of(next(found)))
        monkeypatch.setattr("fieldlevel.inference.ensemble.reference_of", lambda member: object())

    return make


@pytest.mark.parametrize(
    ("p_values", "answers", "p", "remark"),
    [
        ((0.3, 1e-9, 0.02), [0], 0.3, "the maps are like those of the training of a; the others do not answer"),
        ((0.3, 1e-9, 0.05), [0, 2], 0.3, "like those of the training of a and c"),
        ((1e-9, 0.01, 0.02), [0, 1, 2], 0.02, "no network was trained on such maps; all of them answer"),
        ((0.3, 0.4, 0.5), [0, 1, 2], 0.5, ""),
    ],
)
@pytest.mark.parametrize("joint", [False, True])
def test_members_answer_that_were_trained_on_such_maps(toy, toy_maps, judged, joint, p_values, answers, p, remark):
    shifts = (-0.1, 0.0, 0.2)
    members = [toy(joint=joint, shift=s, source=f"{name}.x") for s, name in zip(shifts, "abc", strict=True)]
    judged(*p_values, *p_values)
    ensemble, maps = Ensemble.of(members, "trust"), toy_maps(UNIT)
    found = ensemble.posterior(maps)
    alone = Ensemble.of([members[number] for number in answers])
    for one, other in zip((*found.moments, *ensemble.predict(maps)), 2 * alone.predict(maps), strict=True):
        np.testing.assert_allclose(one, other)
    np.testing.assert_allclose(found.mean, alone.predict(maps)[0])
    assert found.trust.set_p_value == p
    assert found.trust.is_unlike == (p < 0.05)
    assert remark in "".join(found.trust.remarks)
    assert bool(found.trust.remarks) == bool(remark)
    assert ensemble.predict(maps[:0])[0].shape == (0, 2)


def test_members_without_a_reference_cannot_be_weighed_by_trust(toy):
    with pytest.raises(UserError, match=r"other: has no reference beside it .*; make one with `fieldlevel trust`"):
        Ensemble.of([toy(source="other"), toy()], "trust")


def trust_of(p: float) -> Trust:
    return Trust(np.array([p, p]), None if np.isnan(p) else p, (), "")


def measured(network: Predictor, *tau: float | None, suites=("SIMBA",), origin="other suites") -> Predictor:
    """The network with these errors on other suites, in widths of the prior."""
    errors = TransferErrors(origin, suites, Rescaling.none(2), tau)
    return replace(network, calibration=Calibration("", TWO.names, Rescaling.none(2), (), 0, transfer=errors))


def test_the_variance_on_another_suite_is_the_mean_of_those_of_the_members(toy, physical):
    """Of a standard deviation of 0.05: 0.05^2 + 0.12^2 = 0.13^2 with a weight of 1/4, 0.05^2 + 0^2 with 3/4."""
    losses = [{"validation_loss": loss} for loss in (-12.0, -12 - np.log(3))]
    members = [measured(toy(provenance=loss), tau, None) for loss, tau in zip(losses, (0.12, 0.0), strict=True)]
    found = Ensemble.of(members, "validation loss").transfer_std(physical(UNIT), np.full((2, 2), 0.4 * 0.05))
    np.testing.assert_allclose(found[:, 0], 0.4 * ((0.13**2 + 3 * 0.05**2) / 4) ** 0.5)
    assert np.isnan(found[:, 1]).all()


@pytest.mark.parametrize("n_members", [1, 2])
def test_equal_members_have_the_errors_of_one_on_another_suite(toy, physical, n_members):
    member, std = measured(toy(), 0.1, 0.07), np.full((2, 2), 0.02)
    ensemble, expected = Ensemble.of(n_members * [member]), member.transfer_std(physical(UNIT), std)
    np.testing.assert_allclose(ensemble.transfer_std(physical(UNIT), std), expected, rtol=1e-12 * (n_members - 1))
    assert ensemble.transfer_guarantee == member.transfer_guarantee


def test_errors_on_another_suite_are_refused_where_a_member_has_none(toy, physical):
    ensemble = Ensemble.of([measured(toy(), 0.1, 0.1), toy(source="other")])
    with pytest.raises(UserError, match="other: its errors on other suites were not measured; measure them with"):
        ensemble.transfer_std(physical(UNIT), np.full((2, 2), 0.02))
    assert ensemble.transfer_guarantee == toy().transfer_guarantee


def test_the_guarantee_is_that_of_the_member_that_guarantees_least(toy):
    two = measured(toy(), 0.1, 0.1, suites=("SIMBA", "Astrid", "Nbody_SIMBA"))
    one, none = measured(toy(), 0.1, 0.1), measured(toy(), 0.1, 0.1, suites=("Nbody_SIMBA", "Nbody_Astrid"))
    assert "at most 1/2" in Ensemble.of([two, one]).transfer_guarantee
    assert Ensemble.of([two, none, one]).transfer_guarantee == none.transfer_guarantee
    assert "not measured" in Ensemble.of([none, toy(), two]).transfer_guarantee


def test_features_are_those_of_a_member(toy):
    with pytest.raises(UserError, match=r"each member has one of its own; take ensemble\.members\[0\]\.embedding"):
        _ = Ensemble.of([toy(), toy()]).embedding


def test_a_list_of_files_is_loaded_as_an_ensemble(tmp_path):
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        paths.append(tmp_path / f"{seed}.safetensors")
        save_network(
            paths[-1],
            MomentNetwork(16, 1, 0.0),
            TrainSpec(suite="IllustrisTNG"),
            Normaliser(11.0, 0.5),
            training_simulations=np.array([1, 2]),
            validation_simulations=np.array([3]),
            provenance=LOSS,
        )
    ensemble = fieldlevel.load(paths, "cpu", weights="validation loss")
    maps = 10 ** np.random.default_rng(0).normal(11, 0.5, (3, 16, 16))
    means = [fieldlevel.load(path, "cpu").predict(maps)[0] for path in paths]
    np.testing.assert_allclose(ensemble.predict(maps)[0], np.mean(means, axis=0), rtol=1e-6)
    assert [source.suite for source in ensemble.seen_sources] == ["IllustrisTNG"] * 2
    assert (ensemble.n_pixels, ensemble.is_mock, ensemble.remarks) == (16, False, ())
    with pytest.raises(UserError, match="no network; give one or more"):
        fieldlevel.load([])
    with pytest.raises(UserError, match="give a list of networks"):
        fieldlevel.load(paths[0], weights="validation loss")


def test_outputs_are_of_a_list():
    with pytest.raises(UserError, match="of an ensemble; give a list of networks, or of this one alone"):
        fieldlevel.load("MockTNG", "cpu", outputs=["Omega_m"])
    assert fieldlevel.load(["MockTNG"], "cpu", outputs=["Omega_m"]).layout.names == ("Omega_m",)
