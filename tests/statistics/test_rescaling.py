"""Standard deviations rescaled on simulations whose errors are known."""

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.statistics.rescaling import DEGREE, LARGEST_SCALE, Rescaling, fit_rescaling

PLACES = np.array([0.1, 0.3, 0.5, 0.7, 0.9])[:, None]


def answers(scale, seed: int = 0, n: int = 300, n_maps: int = 5):
    """Truths, means, claimed deviations and simulations, where errors are `scale(mean)` times what is claimed."""
    rng = np.random.default_rng(seed)
    simulation = np.repeat(rng.permutation(n), n_maps)
    mean = rng.random((n, 1))[simulation]
    errors = 0.6 * rng.normal(size=(n, 1))[simulation] + 0.8 * rng.normal(size=mean.shape)
    return mean - 0.01 * scale(mean) * errors, mean, np.full(mean.shape, 0.01), simulation


@pytest.mark.parametrize("scale", [lambda mean: 2.0 + 0 * mean, lambda mean: np.exp(0.8 * mean - 0.2)])
def test_the_scale_of_the_errors_is_found(scale):
    found = fit_rescaling(*answers(scale)).scale(PLACES)
    np.testing.assert_allclose(found, scale(PLACES), rtol=0.12)


def test_too_wide_in_one_quarter_is_narrowed_there():
    found = fit_rescaling(*answers(lambda mean: np.where(mean < 0.25, 0.7, 1.0), n=600)).scale(PLACES)[:, 0]
    assert found[0] < 0.85 and np.abs(found[2:] - 1).max() < 0.12


def test_honest_standard_deviations_stay_as_they_are():
    """Nearly always to the bit; where noise wins, by little."""
    found = [fit_rescaling(*answers(np.ones_like, seed, n=100)) for seed in range(20)]
    assert sum(bool(each.changes[0]) for each in found) <= 5
    assert max(np.abs(each.scale(PLACES) - 1).max() for each in found) < 0.25


def test_chi2_of_the_rescaled_is_one_on_other_simulations():
    def scale(mean):
        return 2.5 - mean

    found = fit_rescaling(*answers(scale, n=1000))
    theta, mean, std, _ = answers(scale, seed=1, n=1000)
    chi2 = np.square((theta - mean) / (std * found.scale(mean)))
    parts = [chi2[(mean >= low) & (mean < low + 0.25)].mean() for low in (0, 0.25, 0.5, 0.75)]
    np.testing.assert_allclose(parts, 1, atol=0.15)


def test_parameters_do_not_meddle_and_one_without_truth_stays():
    theta, mean, std, simulation = (np.asarray(each) for each in answers(lambda mean: 2.0 + 0 * mean))
    theta, mean, std = (np.tile(each, 3) for each in (theta, mean, std))
    theta[:, 1] = np.nan
    std[:, 2] *= 2
    found = fit_rescaling(theta, mean, std, simulation)
    alone = fit_rescaling(theta[:, :1], mean[:, :1], std[:, :1], simulation)
    assert found.coefficients[0] == alone.coefficients[0]
    assert found.changes.tolist() == [True, False, False]


def test_vanishing_standard_deviations_give_a_bounded_scale():
    theta, mean, std, simulation = answers(np.ones_like)
    found = fit_rescaling(theta, mean, 0 * std, simulation)
    assert (found.scale(PLACES) == LARGEST_SCALE).all()


def test_means_beyond_those_of_the_fit_have_the_scale_of_its_edge():
    found = fit_rescaling(*answers(lambda mean: np.exp(0.5 * mean)))
    np.testing.assert_array_equal(found.scale(np.array([[-3.0], [7.0]])), found.scale(np.array([[0.0], [1.0]])))
    theta, mean, std, simulation = answers(lambda mean: 1.5 + mean)
    inner = fit_rescaling(0.4 + 0.2 * theta, 0.4 + 0.2 * mean, 0.2 * std, simulation)
    ((low, high),) = inner.ranges
    assert 0.4 <= low < 0.41 and 0.59 < high <= 0.6
    np.testing.assert_allclose(inner.scale(np.array([[0.0], [0.5], [1.0]]))[:, 0], [1.5, 2.0, 2.5], rtol=0.2)


def test_a_network_that_answers_the_same_everywhere_is_rescaled_by_one_number():
    theta = np.random.default_rng(0).random((300, 1))
    found = fit_rescaling(theta, 0.5 + 1e-4 * theta, np.full(theta.shape, 0.1), np.arange(300))
    np.testing.assert_allclose(found.scale(PLACES), 12**-0.5 / 0.1, rtol=0.1)


def test_few_simulations_are_refused():
    with pytest.raises(UserError, match="calibration: 9 simulations; give 10 at least"):
        fit_rescaling(*answers(np.ones_like, n=9))


@pytest.mark.parametrize("row", [(0.0,), (np.nan, 0.0, 0.0, 0.0), (1e9, 0.0, 0.0, 0.0)])
def test_coefficients_that_none_can_be_are_refused(row):
    with pytest.raises(ValueError, match="coefficients"):
        Rescaling((row,), ((0.0, 1.0),))
    assert not Rescaling.none(2).changes.any() and len(Rescaling.none(2).coefficients[0]) == DEGREE + 1
