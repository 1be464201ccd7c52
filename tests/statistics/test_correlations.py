"""The correlations that joint posteriors claim are those of their errors, where they are exact."""

import numpy as np
import pytest

from fieldlevel.statistics.correlations import correlations

N, N_SAMPLES, RHO = 600, 300, -0.6
COVARIANCE = 0.05**2 * np.array([[1.0, RHO], [RHO, 1.0]])


def posteriors(claimed):
    """Truths, and samples of posteriors whose errors have the covariance above and that claim another."""
    rng = np.random.default_rng(2)
    theta = rng.uniform(0.2, 0.8, (N, 2))
    mean = theta + rng.multivariate_normal([0, 0], COVARIANCE, N)
    return mean + rng.multivariate_normal([0, 0], claimed, (N_SAMPLES, N)), theta


def test_exact_posteriors_claim_the_correlation_of_their_errors():
    (found,) = correlations(*posteriors(COVARIANCE), np.arange(N) // 2)
    assert found.claimed.value == pytest.approx(RHO, abs=0.01)
    assert found.found.value == pytest.approx(RHO, abs=4 * found.found.error)
    assert 0.01 < found.found.error < 0.06


def test_posteriors_that_claim_none_are_found_out():
    (found,) = correlations(*posteriors(np.diag(np.diag(COVARIANCE))), np.arange(N) // 2)
    assert abs(found.claimed.value) < 0.01
    assert found.found.value == pytest.approx(RHO, abs=4 * found.found.error)


def test_parameters_without_truths_are_left_out():
    samples, theta = posteriors(COVARIANCE)
    samples, theta = np.concatenate([samples, samples[..., :1]], axis=2), np.column_stack([theta, np.full(N, np.nan)])
    (found,) = correlations(samples, theta, np.arange(N))
    told = found.to_json(["a", "b", "c"])
    assert told["parameters"] == ["a", "b"] and set(told["claimed"]) == {"value", "error", "low", "high"}
