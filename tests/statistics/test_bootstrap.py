import dataclasses

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.statistics.bootstrap import ENOUGH, Bootstrap, told_of_few
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


@pytest.mark.parametrize(("n", "scatter"), [(6, 1.8), (12, 1.4), (30, 1.2), (100, 1.1)])
def test_errors_of_few_simulations_are_too_small(n, scatter):
    """Maps that share part of their errors, which are larger in some simulations than in others."""
    rng, pulls, simulation = np.random.default_rng(0), [], np.repeat(np.arange(n), 15)
    expected = np.exp(0.3**2)
    for _ in range(800):
        size, shared = np.exp(0.3 * rng.standard_normal(n)), rng.standard_normal(n)
        error = np.repeat(size, 15) * (0.8 * np.repeat(shared, 15) + 0.6 * rng.standard_normal(15 * n))
        (squares,) = Bootstrap.draw(simulation, 200, [0]).averages(error**2)
        pulls.append((np.sqrt((error**2).mean()) - expected) / np.sqrt(squares).std())
    low, high = np.percentile(pulls, [16, 84])
    assert (high - low) / 2 == pytest.approx(scatter, rel=0.1)
    assert bool(told_of_few(n)) == (n < ENOUGH)


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
