import dataclasses
import json

import numpy as np
import pytest

from fieldlevel.layout import Layout
from fieldlevel.statistics.metrics import METRICS, evaluate, scores_from_json, scores_to_json


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
def test_known_answers(key, expected, one_column):
    theta, mean, std = np.array([1.0, 2.0, 3.0]), np.array([1.2, 1.6, 3.0]), np.array([0.1, 0.4, 0.3])
    assert METRICS[key](theta, mean, std) == pytest.approx(expected, abs=1e-12)
    assert evaluate(one_column(theta, mean, std))["sigma_8"][key].value == pytest.approx(expected, abs=1e-12)


def test_every_measure_is_tested_and_defined():
    tested = {mark.args[1][i][0] for mark in test_known_answers.pytestmark for i in range(len(METRICS))}
    assert tested == set(METRICS)
    assert all(metric.key == key and metric.definition.endswith(".") for key, metric in METRICS.items())


@pytest.mark.parametrize(("claimed", "expected"), [(1.0, 1.0), (2.0, 0.25), (0.5, 4.0)])
def test_chi2_tells_honest_from_too_wide_and_too_narrow(claimed, expected, gaussian_posterior):
    for row in evaluate(gaussian_posterior(claimed)).values():
        chi2 = row["reduced_chi2"]
        assert abs(chi2.value - expected) < 4 * chi2.error
        assert chi2.error < 0.2 * expected


def test_predicting_the_average_truth_explains_nothing(gaussian_posterior):
    predictions = gaussian_posterior()
    average = np.broadcast_to(predictions.theta.mean(axis=0), predictions.theta.shape)
    flat = dataclasses.replace(predictions, mean=average)
    assert [row["r2"].value for row in evaluate(flat).values()] == pytest.approx([0] * 6, abs=1e-12)


@pytest.mark.parametrize("n_simulations", [3, 4, 5])
@pytest.mark.parametrize("key", ["r2", "squared_correlation"])
def test_replicas_of_one_simulation_are_left_out(n_simulations, key, gaussian_posterior, repeat_maps):
    for seed in range(10):
        scores = evaluate(repeat_maps(gaussian_posterior(n_simulations=n_simulations, seed=seed), 15))
        for row in scores.values():
            assert np.isfinite(row[key].value)
            assert not row[key].error > 1e6


def test_two_simulations_have_no_error_of_r2(gaussian_posterior, repeat_maps):
    r2 = evaluate(repeat_maps(gaussian_posterior(n_simulations=2), 15))["Omega_m"]["r2"]
    assert np.isfinite(r2.value)
    assert np.isnan(r2.error)


def test_squared_correlation_sees_no_offset_and_no_scale(gaussian_posterior):
    good = gaussian_posterior()
    wrong = dataclasses.replace(good, mean=5 - 3 * good.mean)
    for name, row in evaluate(good).items():
        assert evaluate(wrong, 2)[name]["squared_correlation"].value == pytest.approx(row["squared_correlation"].value)
        assert evaluate(wrong, 2)[name]["r2"].value < 0
        assert row["squared_correlation"].value >= row["r2"].value


def test_a_network_that_always_says_the_same_has_no_correlation_and_never_a_positive_r2(gaussian_posterior):
    good = gaussian_posterior(n_simulations=20)
    middle = (Layout().lows + Layout().highs) / 2
    blind = dataclasses.replace(good, mean=np.broadcast_to(middle, good.mean.shape))
    for row in evaluate(blind).values():
        assert np.isnan(row["squared_correlation"].value)
        assert row["r2"].high <= 0


def test_vanishing_std_is_infinite_chi2_not_a_crash(one_column):
    row = evaluate(one_column([1, 2, 3], [1, 2.1, 3], [0.1, 0.0, 0.1]))["Omega_m"]
    assert row["reduced_chi2"].value == np.inf
    assert np.isnan(row["reduced_chi2"].error)
    assert row["reduced_chi2"].text() == "∞"
    assert np.isfinite(row["rmse"].error)


def test_negative_means_do_not_cancel_in_the_relative_std():
    assert METRICS["mean_relative_std"](np.ones(2), np.array([1.0, -1.0]), np.ones(2)) == 1


def test_r2_of_a_single_truth_is_undefined(one_column):
    r2 = evaluate(one_column([0.3] * 5, [0.31, 0.29, 0.3, 0.3, 0.32], [0.1] * 5))["Omega_m"]["r2"]
    assert np.isnan(r2.value)
    assert r2.text() == "undefined"


def test_scores_survive_json(one_column):
    scores = evaluate(one_column([1, 2, 3], [1, 2.1, 3], [0.1, 0.0, 0.1]), 10)
    text = json.dumps(scores_to_json(scores), allow_nan=False)
    assert scores_to_json(scores_from_json(json.loads(text))) == json.loads(text)
    assert scores_from_json(json.loads(text))["A_SN1"]["rmse"] == scores["A_SN1"]["rmse"]


def test_any_parameters_are_measured_by_their_names(unit_errors, layout):
    scores = evaluate(unit_errors, 10)
    assert tuple(scores) == layout.names
    for parameter in layout.parameters:
        row = scores[parameter.name]
        assert row["reduced_chi2"].value == pytest.approx(1)
        assert row["rmse"].value == pytest.approx(0.1 * (parameter.high - parameter.low))
        assert abs(row["bias"].value) < 1e-12


def test_the_order_of_the_columns_does_not_matter(unit_errors, layout):
    names = layout.names[::-1]
    turned = [getattr(unit_errors, name)[:, ::-1] for name in ("theta", "mean", "std")]
    backwards = type(unit_errors)(*turned, unit_errors.simulation, unit_errors.map_index, layout.select(names))
    assert evaluate(backwards, 10) == evaluate(unit_errors, 10)


def test_without_a_truth_what_looks_at_it_is_undefined(unit_errors, layout):
    theta = unit_errors.theta.copy()
    theta[:, 0] = np.nan
    scores = evaluate(dataclasses.replace(unit_errors, theta=theta), 10)
    known = evaluate(unit_errors, 10)
    for key, estimate in scores[layout.names[0]].items():
        if key in ("mean_relative_std", "mean_std"):
            assert estimate == known[layout.names[0]][key]
        else:
            assert estimate.text() == "undefined"
    assert {name: scores[name] for name in layout.names[1:]} == {name: known[name] for name in layout.names[1:]}
