import dataclasses

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.ratios import error_ratio, transfer_ratios


def test_error_ratio_is_the_ratio_of_errors(gaussian_posterior):
    own, other = gaussian_posterior(), gaussian_posterior(actual=2.0, seed=1)
    for name, ratio in error_ratio(own, other).items():
        direct = evaluate(other)[name]["rmse"].value / evaluate(own)[name]["rmse"].value
        assert ratio.value == pytest.approx(direct)
        assert abs(ratio.value - 2) < 4 * ratio.error


def test_bias_in_units_of_the_own_error(gaussian_posterior, posterior_width):
    own, other = gaussian_posterior(), gaussian_posterior(seed=1)
    moved = dataclasses.replace(other, mean=other.mean - 3 * posterior_width)
    for name, ratio in error_ratio(own, moved, "bias", baseline_metric="rmse").items():
        assert abs(ratio.value + 3) < 4 * ratio.error
        assert ratio.value == evaluate(moved)[name]["bias"].value / evaluate(own)[name]["rmse"].value


def relative_error(predictions):
    rmse = evaluate(predictions)["Omega_m"]["rmse"]
    return rmse.error / rmse.value


def test_error_ratio_of_different_simulations_carries_the_errors_of_both_sides(gaussian_posterior):
    own, other = gaussian_posterior(), gaussian_posterior(seed=1)
    ratio = error_ratio(own, other)["Omega_m"]
    assert ratio.error / ratio.value == pytest.approx(np.hypot(relative_error(own), relative_error(other)), rel=0.1)


def test_what_the_same_simulations_have_in_common_cancels(gaussian_posterior, posterior_width):
    own = gaussian_posterior()
    worse = dataclasses.replace(own, mean=own.theta + 1.05 * (own.mean - own.theta))
    same, ratio = error_ratio(own, own)["Omega_m"], error_ratio(own, worse)["Omega_m"]
    assert (same.value, same.error) == (1, 0)
    assert ratio.value == pytest.approx(1.05)
    assert ratio.error < 1e-10
    noise = own.mean + 0.2 * posterior_width * np.random.default_rng(3).normal(size=own.mean.shape)
    noisy = error_ratio(own, dataclasses.replace(own, mean=noise))["Omega_m"]
    assert 0 < noisy.error < 0.5 * np.sqrt(2) * relative_error(own)


def test_gravity_only_twins_are_the_same_simulations_whatever_their_order(gaussian_posterior, repeat_maps):
    own = repeat_maps(gaussian_posterior(n_simulations=50), 2)
    back = np.arange(own.n_maps)[::-1]
    other_feedback = own.theta * [1, 1, 2, 2, 2, 2]
    twin = Predictions(other_feedback[back], own.mean[back], own.std[back], own.simulation[back], own.map_index[back])
    assert error_ratio(own, twin)["Omega_m"].error < 1e-12


@pytest.mark.parametrize("column", [0, 1])
def test_the_same_numbers_of_another_suite_are_other_simulations(column, gaussian_posterior):
    own = gaussian_posterior()
    moved = own.theta.copy()
    moved[:, column] += 0.01
    other = dataclasses.replace(own, theta=moved, mean=own.mean + moved - own.theta)
    ratio = error_ratio(own, other)["Omega_m"]
    assert ratio.error / ratio.value == pytest.approx(np.sqrt(2) * relative_error(own), rel=0.1)


def test_another_choice_of_simulations_is_drawn_by_itself(gaussian_posterior):
    own = gaussian_posterior(n_simulations=40)
    fewer = own.simulation < 30
    moments = (own.theta, own.mean, own.std, own.simulation, own.map_index)
    part = Predictions(*(column[fewer] for column in moments))
    assert error_ratio(own, part)["Omega_m"].error > 0.1 * error_ratio(own, part)["Omega_m"].value


def test_twins_are_paired_and_suites_are_not(gaussian_posterior):
    own, other = gaussian_posterior(), gaussian_posterior(seed=1)
    tested = [PairResult("A", suite, p, {}) for suite, p in (("A", own), ("Nbody_A", own), ("B", other))]
    ratios = transfer_ratios(tested)
    assert ratios.keys() == {"A → Nbody_A", "A → B"}
    assert ratios["A → Nbody_A"]["Omega_m"].error == 0
    assert ratios["A → B"]["Omega_m"].error > relative_error(own)


@pytest.mark.parametrize(("trained", "tested"), [("A", "Nbody_A"), ("Nbody_A", "A"), ("Nbody_A", "Nbody_B")])
def test_feedback_is_left_out_where_a_side_has_none(gaussian_posterior, trained, tested):
    suites = (trained, tested, "B")
    ratios = transfer_ratios([PairResult(trained, suite, gaussian_posterior(), {}) for suite in suites])
    assert list(ratios[f"{trained} → {tested}"]) == ["Omega_m", "sigma_8"]
    assert len(ratios[f"{trained} → B"]) == (2 if trained.startswith("Nbody") else 6)


def test_error_ratio_names_the_measures_there_are(gaussian_posterior):
    with pytest.raises(UserError, match="no measure 'mse'; choose from rmse, r2"):
        error_ratio(gaussian_posterior(), gaussian_posterior(), metric="mse")
    with pytest.raises(UserError, match="no measure 'mse'; choose from rmse, r2"):
        error_ratio(gaussian_posterior(), gaussian_posterior(), baseline_metric="mse")


def columns_of(predictions, names):
    places = [predictions.layout.column(name) for name in names]
    moments = {name: getattr(predictions, name)[:, places] for name in ("theta", "mean", "std")}
    return dataclasses.replace(predictions, layout=predictions.layout.select(names), **moments)


def test_parameters_that_both_sides_have_are_matched_by_name(gaussian_posterior):
    own, other = gaussian_posterior(), gaussian_posterior(actual=2.0, seed=1)
    expected = error_ratio(own, other)
    names = ["A_AGN2", "sigma_8", "Omega_m"]
    assert error_ratio(own, columns_of(other, names)) == {name: expected[name] for name in names}
    assert error_ratio(columns_of(own, names[:1]), columns_of(other, ["A_SN1"])) == {}
    with pytest.raises(UserError, match="no parameter A_SN1;"):
        error_ratio(own, columns_of(other, names), names=["A_SN1"])


def test_simulations_without_cosmology_are_known_by_what_they_have(gaussian_posterior):
    own = columns_of(gaussian_posterior(), ["A_SN1"])
    other = dataclasses.replace(own, theta=own.theta + 0.01, mean=own.mean + 0.01)
    assert error_ratio(own, own)["A_SN1"].error == 0
    assert error_ratio(own, other)["A_SN1"].error > 0.01


@pytest.mark.parametrize("name", ["sigma_8", "A_SN1"])
def test_without_a_truth_there_is_no_ratio_and_the_others_stay(gaussian_posterior, name):
    own = gaussian_posterior()
    theta = own.theta.copy()
    theta[:, own.layout.column(name)] = np.nan
    ratios = error_ratio(own, dataclasses.replace(own, theta=theta))
    assert np.isnan(ratios[name].value)
    assert (ratios["Omega_m"].value, ratios["Omega_m"].error) == (1, 0)


def test_networks_are_compared_with_their_own_seed_in_any_order(gaussian_posterior):
    homes = [PairResult("A", "A", gaussian_posterior(seed=seed), {}, seed) for seed in range(3)]
    away = PairResult("A", "B", gaussian_posterior(seed=9), {}, 1)
    expected = error_ratio(homes[1].predictions, away.predictions)
    for tested in ([*homes, away], [away, *homes[::-1]]):
        assert transfer_ratios(tested) == {"A → B": expected}
    assert transfer_ratios([homes[0], away]) == {}
