import dataclasses
import json

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.experiments.metrics import (
    METRICS,
    Estimate,
    PairResult,
    Predictions,
    error_ratio,
    evaluate,
    scores_from_json,
    scores_to_json,
    transfer_ratios,
)
from fieldlevel.experiments.published import FOUR_PAIRS, published_accuracies
from fieldlevel.parameters import MAXIMA, MINIMA, PARAMETER_NAMES

STD = np.array([0.01, 0.02, 0.3, 0.9, 0.2, 0.4])


def gaussian_posterior(claimed=1.0, actual=1.0, n_simulations=400, maps_each=1, seed=0):
    """Truths drawn around the means of a posterior of known width."""
    rng = np.random.default_rng(seed)
    n = n_simulations * maps_each
    mean = MINIMA + 0.2 + rng.random((n, 6)) * (MAXIMA - MINIMA)
    theta = mean + actual * STD * rng.normal(size=(n, 6))
    std = np.broadcast_to(claimed * STD, (n, 6))
    return Predictions(theta, mean, std, np.arange(n) // maps_each, np.arange(n))


def repeat_maps(predictions, times):
    arrays = (predictions.theta, predictions.mean, predictions.std, predictions.simulation)
    return Predictions(*(np.repeat(x, times, axis=0) for x in arrays), np.arange(times * predictions.n_maps))


def one_column(theta, mean, std):
    """The same values in all six columns, one map a simulation."""
    columns = (np.repeat(np.array(x, dtype=float)[:, None], 6, axis=1) for x in (theta, mean, std))
    return Predictions(*columns, np.arange(len(theta)), np.arange(len(theta)))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("rmse", np.sqrt((0.04 + 0.16 + 0.0) / 3)),
        ("r2", 1 - 0.20 / (1 + 0 + 1)),
        ("squared_correlation", 1.8**2 / (2 * (1.2**2 + 1.6**2 + 3**2 - 5.8**2 / 3))),
        ("mean_relative_std", (0.1 / 1.2 + 0.4 / 1.6 + 0.3 / 3.0) / 3),
        ("rms_relative_error", np.sqrt((0.2**2 + 0.2**2) / 3)),
        ("mean_relative_error", 0.4 / 3),
        ("bias", -0.2 / 3),
        ("relative_bias", 0.0),
        ("reduced_chi2", (4 + 1 + 0) / 3),
        ("mean_std", 0.8 / 3),
    ],
)
def test_known_answers(key, expected):
    theta, mean, std = np.array([1.0, 2.0, 3.0]), np.array([1.2, 1.6, 3.0]), np.array([0.1, 0.4, 0.3])
    assert METRICS[key](theta, mean, std) == pytest.approx(expected, abs=1e-12)
    assert evaluate(one_column(theta, mean, std))["sigma_8"][key].value == pytest.approx(expected, abs=1e-12)


def test_every_measure_is_tested_and_defined():
    tested = {mark.args[1][i][0] for mark in test_known_answers.pytestmark for i in range(len(METRICS))}
    assert tested == set(METRICS)
    assert all(metric.key == key and metric.definition.endswith(".") for key, metric in METRICS.items())


@pytest.mark.parametrize(("claimed", "expected"), [(1.0, 1.0), (2.0, 0.25), (0.5, 4.0)])
def test_chi2_tells_honest_from_too_wide_and_too_narrow(claimed, expected):
    for row in evaluate(gaussian_posterior(claimed)).values():
        chi2 = row["reduced_chi2"]
        assert abs(chi2.value - expected) < 4 * chi2.error
        assert chi2.error < 0.2 * expected


def test_predicting_the_average_truth_explains_nothing():
    predictions = gaussian_posterior()
    average = np.broadcast_to(predictions.theta.mean(axis=0), predictions.theta.shape)
    flat = dataclasses.replace(predictions, mean=average)
    assert [row["r2"].value for row in evaluate(flat).values()] == pytest.approx([0] * 6, abs=1e-12)


@pytest.mark.parametrize("key", METRICS)
def test_copies_of_a_map_carry_no_information(key):
    once = gaussian_posterior(n_simulations=60)
    copies = repeat_maps(once, 15)
    scores_once, scores_copies = evaluate(once, 300), evaluate(copies, 300)
    for name in PARAMETER_NAMES:
        one, many = scores_once[name][key], scores_copies[name][key]
        assert (many.value, many.error, many.low, many.high) == pytest.approx((one.value, one.error, one.low, one.high))


def test_pretending_that_copies_are_independent_shrinks_the_error():
    copies = repeat_maps(gaussian_posterior(n_simulations=60), 15)
    together, alone = evaluate(copies), evaluate(dataclasses.replace(copies, simulation=copies.map_index))
    for name in PARAMETER_NAMES:
        ratio = together[name]["rmse"].error / alone[name]["rmse"].error
        assert ratio == pytest.approx(np.sqrt(15), rel=0.1)


def test_bootstrap_error_is_the_scatter_of_repeated_experiments():
    values = [evaluate(gaussian_posterior(seed=s), 2)["sigma_8"]["rmse"].value for s in range(300)]
    assert evaluate(gaussian_posterior())["sigma_8"]["rmse"].error == pytest.approx(np.std(values), rel=0.2)


def test_bootstrap_matches_drawing_the_maps_themselves():
    predictions = gaussian_posterior(n_simulations=30, maps_each=4)
    rng, column, replicas = np.random.default_rng(5), 1, []
    for _ in range(2000):
        rows = (4 * rng.integers(30, size=30)[:, None] + np.arange(4)).ravel()
        moments = (predictions.theta, predictions.mean, predictions.std)
        replicas.append(METRICS["r2"](*(x[rows, column] for x in moments)))
    estimate = evaluate(predictions, 2000)["sigma_8"]["r2"]
    assert estimate.error == pytest.approx(np.std(replicas), rel=0.1)
    assert (estimate.low, estimate.high) == pytest.approx(np.percentile(replicas, [16, 84]), abs=0.2 * estimate.error)


def test_bootstrap_is_repeatable_and_depends_on_the_seed():
    predictions = gaussian_posterior(n_simulations=20)
    assert evaluate(predictions, seed=3) == evaluate(predictions, seed=3) != evaluate(predictions, seed=4)


def test_error_ratio_is_the_ratio_of_errors():
    own, other = gaussian_posterior(), gaussian_posterior(actual=2.0, seed=1)
    for name, ratio in error_ratio(own, other).items():
        direct = evaluate(other)[name]["rmse"].value / evaluate(own)[name]["rmse"].value
        assert ratio.value == pytest.approx(direct)
        assert abs(ratio.value - 2) < 4 * ratio.error


def test_bias_in_units_of_the_own_error():
    own, other = gaussian_posterior(), gaussian_posterior(seed=1)
    moved = dataclasses.replace(other, mean=other.mean - 3 * STD)
    for name, ratio in error_ratio(own, moved, "bias", baseline_metric="rmse").items():
        assert abs(ratio.value + 3) < 4 * ratio.error
        assert ratio.value == evaluate(moved)[name]["bias"].value / evaluate(own)[name]["rmse"].value


def relative_error(predictions):
    rmse = evaluate(predictions)["Omega_m"]["rmse"]
    return rmse.error / rmse.value


def test_error_ratio_of_different_simulations_carries_the_errors_of_both_sides():
    own, other = gaussian_posterior(), gaussian_posterior(seed=1)
    ratio = error_ratio(own, other)["Omega_m"]
    assert ratio.error / ratio.value == pytest.approx(np.hypot(relative_error(own), relative_error(other)), rel=0.1)


def test_what_the_same_simulations_have_in_common_cancels():
    own = gaussian_posterior()
    worse = dataclasses.replace(own, mean=own.theta + 1.05 * (own.mean - own.theta))
    same, ratio = error_ratio(own, own)["Omega_m"], error_ratio(own, worse)["Omega_m"]
    assert (same.value, same.error) == (1, 0)
    assert ratio.value == pytest.approx(1.05)
    assert ratio.error < 1e-10
    noise = own.mean + 0.2 * STD * np.random.default_rng(3).normal(size=own.mean.shape)
    noisy = error_ratio(own, dataclasses.replace(own, mean=noise))["Omega_m"]
    assert 0 < noisy.error < 0.5 * np.sqrt(2) * relative_error(own)


def test_gravity_only_twins_are_the_same_simulations_whatever_their_order():
    own = repeat_maps(gaussian_posterior(n_simulations=50), 2)
    back = np.arange(own.n_maps)[::-1]
    other_feedback = own.theta * [1, 1, 2, 2, 2, 2]
    twin = Predictions(other_feedback[back], own.mean[back], own.std[back], own.simulation[back], own.map_index[back])
    assert error_ratio(own, twin)["Omega_m"].error < 1e-12


@pytest.mark.parametrize("column", [0, 1])
def test_the_same_numbers_of_another_suite_are_other_simulations(column):
    own = gaussian_posterior()
    moved = own.theta.copy()
    moved[:, column] += 0.01
    other = dataclasses.replace(own, theta=moved, mean=own.mean + moved - own.theta)
    ratio = error_ratio(own, other)["Omega_m"]
    assert ratio.error / ratio.value == pytest.approx(np.sqrt(2) * relative_error(own), rel=0.1)


def test_another_choice_of_simulations_is_drawn_by_itself():
    own = gaussian_posterior(n_simulations=40)
    fewer = own.simulation < 30
    moments = (own.theta, own.mean, own.std, own.simulation, own.map_index)
    part = Predictions(*(column[fewer] for column in moments))
    assert error_ratio(own, part)["Omega_m"].error > 0.1 * error_ratio(own, part)["Omega_m"].value


def test_twins_are_paired_and_suites_are_not():
    own, other = gaussian_posterior(), gaussian_posterior(seed=1)
    tested = [PairResult("A", suite, p, {}) for suite, p in (("A", own), ("Nbody_A", own), ("B", other))]
    ratios = transfer_ratios(tested)
    assert ratios.keys() == {"A → Nbody_A", "A → B"}
    assert ratios["A → Nbody_A"]["Omega_m"].error == 0
    assert ratios["A → B"]["Omega_m"].error > relative_error(own)


def test_error_ratio_names_the_measures_there_are():
    with pytest.raises(UserError, match="no measure 'mse'; choose from rmse, r2"):
        error_ratio(gaussian_posterior(), gaussian_posterior(), metric="mse")
    with pytest.raises(UserError, match="no measure 'mse'; choose from rmse, r2"):
        error_ratio(gaussian_posterior(), gaussian_posterior(), baseline_metric="mse")


@pytest.mark.parametrize("n_simulations", [3, 4, 5])
@pytest.mark.parametrize("key", ["r2", "squared_correlation"])
def test_replicas_of_one_simulation_are_left_out(n_simulations, key):
    for seed in range(10):
        scores = evaluate(repeat_maps(gaussian_posterior(n_simulations=n_simulations, seed=seed), 15))
        for row in scores.values():
            assert np.isfinite(row[key].value)
            assert not row[key].error > 1e6


def test_two_simulations_have_no_error_of_r2():
    r2 = evaluate(repeat_maps(gaussian_posterior(n_simulations=2), 15))["Omega_m"]["r2"]
    assert np.isfinite(r2.value)
    assert np.isnan(r2.error)


def test_squared_correlation_sees_no_offset_and_no_scale():
    good = gaussian_posterior()
    wrong = dataclasses.replace(good, mean=5 - 3 * good.mean)
    for name, row in evaluate(good).items():
        assert evaluate(wrong, 2)[name]["squared_correlation"].value == pytest.approx(row["squared_correlation"].value)
        assert evaluate(wrong, 2)[name]["r2"].value < 0
        assert row["squared_correlation"].value >= row["r2"].value


def test_a_network_that_always_says_the_same_has_no_correlation_and_never_a_positive_r2():
    good = gaussian_posterior(n_simulations=20)
    blind = dataclasses.replace(good, mean=np.broadcast_to((MINIMA + MAXIMA) / 2, good.mean.shape))
    for row in evaluate(blind).values():
        assert np.isnan(row["squared_correlation"].value)
        assert row["r2"].high <= 0


def test_vanishing_std_is_infinite_chi2_not_a_crash():
    row = evaluate(one_column([1, 2, 3], [1, 2.1, 3], [0.1, 0.0, 0.1]))["Omega_m"]
    assert row["reduced_chi2"].value == np.inf
    assert np.isnan(row["reduced_chi2"].error)
    assert row["reduced_chi2"].text() == "∞"
    assert np.isfinite(row["rmse"].error)


def test_negative_means_do_not_cancel_in_the_relative_std():
    assert METRICS["mean_relative_std"](np.ones(2), np.array([1.0, -1.0]), np.ones(2)) == 1


def test_r2_of_a_single_truth_is_undefined():
    r2 = evaluate(one_column([0.3] * 5, [0.31, 0.29, 0.3, 0.3, 0.32], [0.1] * 5))["Omega_m"]["r2"]
    assert np.isnan(r2.value)
    assert r2.text() == "undefined"


def test_a_single_simulation_has_no_error():
    predictions = gaussian_posterior(n_simulations=1, maps_each=15)
    rmse = evaluate(predictions)["Omega_m"]["rmse"]
    assert np.isfinite(rmse.value)
    assert np.isnan(rmse.error)


def test_scores_survive_json():
    scores = evaluate(one_column([1, 2, 3], [1, 2.1, 3], [0.1, 0.0, 0.1]), 10)
    text = json.dumps(scores_to_json(scores), allow_nan=False)
    assert scores_to_json(scores_from_json(json.loads(text))) == json.loads(text)
    assert scores_from_json(json.loads(text))["A_SN1"]["rmse"] == scores["A_SN1"]["rmse"]


def test_csv_reads_back_to_the_same_doubles(tmp_path):
    predictions = gaussian_posterior(n_simulations=7, maps_each=3)
    predictions.write_csv(tmp_path / "predictions.csv")
    again = Predictions.read_csv(tmp_path / "predictions.csv")
    for name in ("theta", "mean", "std", "simulation", "map_index"):
        assert np.array_equal(getattr(again, name), getattr(predictions, name))
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.csv"]


def test_csv_names_its_columns(tmp_path):
    gaussian_posterior(n_simulations=1).write_csv(tmp_path / "predictions.csv")
    header = (tmp_path / "predictions.csv").read_text().splitlines()[0].split(",")
    assert header[:6] == ["simulation", "map", "Omega_m_true", "Omega_m_mean", "Omega_m_std", "sigma_8_true"]
    assert len(header) == 20


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read"),
        ("", "not a table of numbers"),
        ("simulation,map\n0,0\n", "columns are not simulation, map, Omega_m_true"),
        ("simulation,map\n0,zero\n", "not a table of numbers"),
        ("simulation,map\n0,0\n1\n", "not a table of numbers"),
    ],
)
def test_broken_csv_is_refused(tmp_path, text, complaint):
    path = tmp_path / "predictions.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=complaint):
        Predictions.read_csv(path)


def test_impossible_predictions_are_refused():
    good = one_column([1, 2], [1, 2], [1, 1])
    with pytest.raises(UserError, match="mean of map 1 is not finite"):
        one_column([1, 2], [1, np.nan], [1, 1])
    with pytest.raises(UserError, match="std of map 0 is negative"):
        one_column([1, 2], [1, 2], [-1, 1])
    with pytest.raises(UserError, match=r"theta has shape \(2, 5\)"):
        Predictions(good.theta[:, :5], good.mean, good.std, good.simulation, good.map_index)
    with pytest.raises(UserError, match="no map was tested"):
        one_column([], [], [])
    with pytest.raises(UserError, match="1 map numbers for 2 maps"):
        Predictions(good.theta, good.mean, good.std, good.simulation, good.map_index[:1])
    with pytest.raises(UserError, match="1 resamplings"):
        evaluate(good, n_bootstrap=1)


@pytest.mark.parametrize(
    ("estimate", "percent", "text"),
    [
        (Estimate(0.98712, 0.00123, 0, 0), False, "0.9871 ± 0.0012"),
        (Estimate(0.0342, 0.0015, 0, 0), True, "3.42 ± 0.15%"),
        (Estimate(-0.5, 0.2, 0, 0), False, "−0.50 ± 0.20"),
        (Estimate(123.4, 45.6, 0, 0), False, "123 ± 46"),
        (Estimate(0.12345, np.nan, np.nan, np.nan), False, "0.123"),
        (Estimate(-np.inf, np.nan, np.nan, np.nan), False, "−∞"),
    ],
)
def test_text_has_two_digits_of_the_error(estimate, percent, text):
    assert estimate.text(percent) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(-0.016, 0.068, -0.083, -0.001), "−0.016 (−0.083 to −0.001)"),
        (Estimate(10.21, 0.4, 9.8, 10.66), "10.21 (9.80 to 10.66)"),
        (Estimate(1.0, 0.0, 1.0, 1.0), "1"),
        (Estimate(0.12345, np.nan, np.nan, np.nan), "0.123"),
        (Estimate(np.nan, np.nan, np.nan, np.nan), "undefined"),
        (Estimate(9.5e12, 8.9e12, 1e12, 2e13), "9.5e12 ± 8.9e12"),
    ],
)
def test_interval_has_two_digits_of_the_error(estimate, text):
    assert estimate.interval() == text


def test_published_table_is_the_letters():
    table = {pair: [row[n].text for n in ("Omega_m", "sigma_8", "A_SN1", "A_SN2")] for pair, row in FOUR_PAIRS.items()}
    assert table == {
        ("TNG", "TNG"): ["3.4%", "2.4%", "38%", "17%"],
        ("TNG", "SIMBA"): ["3.9%", "2.6%", "fails, as expected", "fails, as expected"],
        ("SIMBA", "SIMBA"): ["4.5%", "2.7%", "49%", "23%"],
        ("SIMBA", "TNG"): ["4.3%", "2.7%", "fails, as expected", "fails, as expected"],
    }
    assert all(row[name].text == "not constrained" for row in FOUR_PAIRS.values() for name in ("A_AGN1", "A_AGN2"))


def test_only_the_letters_suites_and_their_stand_ins_have_published_numbers():
    assert published_accuracies("MockTNG", "MockSIMBA") == published_accuracies("IllustrisTNG", "SIMBA") != {}
    for suite in ("Astrid", "Nbody_MockTNG", "Nbody_SIMBA"):
        assert published_accuracies(suite, "SIMBA") == published_accuracies("SIMBA", suite) == {}
