import dataclasses

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.statistics.metrics import METRICS, evaluate


@pytest.mark.parametrize("key", METRICS)
def test_copies_of_a_map_carry_no_information(key, gaussian_posterior, repeat_maps):
    once = gaussian_posterior(n_simulations=60)
    copies = repeat_maps(once, 15)
    scores_once, scores_copies = evaluate(once, 300), evaluate(copies, 300)
    for name in Layout().names:
        one, many = scores_once[name][key], scores_copies[name][key]
        assert (many.value, many.error, many.low, many.high) == pytest.approx((one.value, one.error, one.low, one.high))


def test_pretending_that_copies_are_independent_shrinks_the_error(gaussian_posterior, repeat_maps):
    copies = repeat_maps(gaussian_posterior(n_simulations=60), 15)
    together, alone = evaluate(copies), evaluate(dataclasses.replace(copies, simulation=copies.map_index))
    for name in Layout().names:
        ratio = together[name]["rmse"].error / alone[name]["rmse"].error
        assert ratio == pytest.approx(np.sqrt(15), rel=0.1)


def test_bootstrap_error_is_the_scatter_of_repeated_experiments(gaussian_posterior):
    values = [evaluate(gaussian_posterior(seed=s), 2)["sigma_8"]["rmse"].value for s in range(300)]
    assert evaluate(gaussian_posterior())["sigma_8"]["rmse"].error == pytest.approx(np.std(values), rel=0.2)


def test_bootstrap_matches_drawing_the_maps_themselves(gaussian_posterior):
    predictions = gaussian_posterior(n_simulations=30, maps_each=4)
    rng, column, replicas = np.random.default_rng(5), 1, []
    for _ in range(2000):
        rows = (4 * rng.integers(30, size=30)[:, None] + np.arange(4)).ravel()
        moments = (predictions.theta, predictions.mean, predictions.std)
        replicas.append(METRICS["r2"](*(x[rows, column] for x in moments)))
    estimate = evaluate(predictions, 2000)["sigma_8"]["r2"]
    assert estimate.error == pytest.approx(np.std(replicas), rel=0.1)
    assert (estimate.low, estimate.high) == pytest.approx(np.percentile(replicas, [16, 84]), abs=0.2 * estimate.error)


def test_bootstrap_is_repeatable_and_depends_on_the_seed(gaussian_posterior):
    predictions = gaussian_posterior(n_simulations=20)
    assert evaluate(predictions, seed=3) == evaluate(predictions, seed=3) != evaluate(predictions, seed=4)


def test_a_single_simulation_has_no_error(gaussian_posterior):
    predictions = gaussian_posterior(n_simulations=1, maps_each=15)
    rmse = evaluate(predictions)["Omega_m"]["rmse"]
    assert np.isfinite(rmse.value)
    assert np.isnan(rmse.error)


def test_one_resampling_is_refused(gaussian_posterior):
    with pytest.raises(UserError, match="1 resamplings"):
        evaluate(gaussian_posterior(n_simulations=2), n_bootstrap=1)
