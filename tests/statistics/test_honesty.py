"""Diagnostics of posteriors that are exact, too narrow, too wide and biased, on a Gaussian toy in which all is known.

A simulation has a truth that is uniform in the prior and a map tells it with Gaussian noise, of which the maps of one
simulation share a part; far from the edges the posterior is the Gaussian of that noise.
"""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import kstest

from fieldlevel.errors import UserError
from fieldlevel.statistics.coverage import coverage, coverage_by_quarter
from fieldlevel.statistics.error_bars import judge_error_bars, tarp_to_json
from fieldlevel.statistics.sbc import judge_uniformity, pit_histogram, pit_of_samples, ranks
from fieldlevel.statistics.tarp import credible_levels, tarp

SIGMA = 0.01
N_SIMULATIONS, N_MAPS = 200, 5


def toy(seed: int = 0, n: int = N_SIMULATIONS, widths=(1.0, 1.0), bias: float = 0.0):
    """Truths, means, claimed deviations of two parameters, and simulations."""
    rng = np.random.default_rng(seed)
    simulation = np.repeat(np.arange(n), N_MAPS)
    theta = rng.uniform(0.1, 0.9, (n, 2))[simulation]
    shared, own = rng.normal(size=(n, 2))[simulation], rng.normal(size=(n * N_MAPS, 2))
    mean = theta + SIGMA * (0.6 * shared + 0.8 * own + bias)
    return theta, mean, SIGMA * np.broadcast_to(widths, mean.shape), simulation


def draw(mean, std, n_samples: int = 200, seed: int = 1):
    return mean + std * np.random.default_rng(seed).normal(size=(n_samples, *mean.shape))


def pit_of(theta, mean, std):
    return ndtr((theta - mean) / std)


def test_ranks_count_the_samples_below():
    samples = np.array([[[1.0, 5.0]], [[2.0, 6.0]], [[3.0, 7.0]]])
    assert ranks(samples, np.array([[2.5, 4.0]])).tolist() == [[2, 0]]


@pytest.mark.parametrize("n_samples", [3, 50])
def test_values_of_few_samples_are_uniform_too(n_samples):
    theta, mean, std, _ = toy(n=600)
    values = pit_of_samples(draw(mean, std, n_samples), theta)
    assert kstest(values[::N_MAPS, 0], "uniform").pvalue > 1e-3
    assert values.min() > 0 and values.max() < 1


def test_values_have_no_truth_where_there_is_none():
    theta, mean, std, simulation = toy(n=20)
    theta[:, 1] = np.nan
    values = pit_of_samples(draw(mean, std), theta)
    assert np.isnan(values[:, 1]).all() and np.isfinite(values[:, 0]).all()
    assert list(judge_error_bars(values, mean, simulation, ["a", "b"], 50)) == ["a"]
    assert np.isfinite(tarp(draw(mean, std), theta, simulation).area.value)


@pytest.mark.parametrize(("level", "expected"), [(0.68, 0.68), (0.95, 0.95)])
def test_exact_posteriors_cover_as_they_say(level, expected):
    theta, mean, std, simulation = toy()
    for found in coverage(pit_of(theta, mean, std), simulation, [level])[0]:
        assert abs(found.value - expected) < 4 * found.error and found.error < 0.03


def test_coverage_of_other_widths_is_that_of_the_normal_distribution():
    theta, mean, std, simulation = toy(widths=(0.5, 2.0))
    narrow, wide = coverage(pit_of(theta, mean, std), simulation, [0.6826895])[0]
    assert narrow.value == pytest.approx(2 * ndtr(0.5) - 1, abs=4 * narrow.error)
    assert wide.value == pytest.approx(2 * ndtr(2.0) - 1, abs=4 * wide.error)


def test_the_error_of_a_coverage_is_the_scatter_over_simulations():
    found = [coverage(pit_of(*toy(seed, 60)[:3]), toy(seed, 60)[3], [0.68], 200)[0][0] for seed in range(60)]
    scatter = np.std([each.value for each in found], ddof=1)
    assert np.mean([each.error for each in found]) == pytest.approx(scatter, rel=0.3)
    independent = np.sqrt(0.68 * 0.32 / (60 * N_MAPS))
    assert np.mean([each.error for each in found]) > 1.05 * independent


def test_quarters_find_what_the_whole_hides():
    """Too narrow below, too wide above."""
    theta, mean, std, simulation = toy(n=400)
    std = std * np.where(mean < 0.5, 0.7, 1.5)
    pit = pit_of(theta, mean, std)
    whole = coverage(pit, simulation)[0][0]
    quarters = [quarter[0][0] for quarter in coverage_by_quarter(pit, mean, simulation)]
    assert abs(whole.value - 0.68) < 0.06
    assert max(each.value for each in quarters[:2]) < 0.58 < 0.8 < min(each.value for each in quarters[2:])


def test_a_quarter_without_maps_has_no_coverage():
    theta, mean, std, simulation = toy(n=40)
    quarters = coverage_by_quarter(pit_of(theta, mean, std), 0.5 + 0 * mean, simulation)
    assert [np.isnan(quarter[0][0].value) for quarter in quarters] == [True, True, False, True]


def test_uniform_values_are_rejected_as_often_as_the_p_value_says():
    """With maps of one simulation that share a part of their noise, for which the usual test would be far too sure."""
    p_values = [
        judge_uniformity(pit_of(*toy(seed, 80)[:3]), toy(seed, 80)[3], 200)[column].p_value
        for seed in range(60)
        for column in range(2)
    ]
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.08)
    assert 0.35 < np.mean(p_values) < 0.65


@pytest.mark.parametrize(("widths", "bias"), [((0.7, 0.7), 0.0), ((1.5, 1.5), 0.0), ((1.0, 1.0), 0.8)])
def test_every_diagnostic_catches_dishonest_posteriors(widths, bias):
    theta, mean, std, simulation = toy(widths=widths, bias=bias)
    samples = draw(mean, std)
    found = judge_error_bars(pit_of_samples(samples, theta), mean, simulation, ["a", "b"])
    for each in found.values():
        assert each.uniformity.p_value < 0.01
        assert bias or all(abs(part.value - 0.68) > 3 * part.error for part in each.coverage[:1])
        assert sum(abs(part.value - 1) > 2 * part.error for part in each.histogram) >= 2
    joint = tarp(samples, theta, simulation)
    assert joint.area.value > 0.03
    if not bias:
        assert np.sign(joint.width.value) == np.sign(widths[0] - 1) and abs(joint.width.value) > 3 * joint.width.error


def test_every_diagnostic_passes_exact_posteriors():
    theta, mean, std, simulation = toy()
    samples = draw(mean, std)
    for each in judge_error_bars(pit_of_samples(samples, theta), mean, simulation, ["a", "b"]).values():
        assert each.uniformity.p_value > 0.02
        assert max(abs(part.value - 1) / part.error for part in each.histogram) < 4
    joint = tarp(samples, theta, simulation)
    assert joint.area.value < 0.03 and abs(joint.width.value) < 3 * joint.width.error
    assert joint.ecp[0] == 0 and joint.ecp[-1] == 1
    assert (joint.low <= joint.high).all()


def test_random_points_see_a_wrong_correlation_that_marginals_do_not():
    rng = np.random.default_rng(0)
    n, covariance = 1000, SIGMA**2 * np.array([[1.0, 0.95], [0.95, 1.0]])
    theta = rng.uniform(0.1, 0.9, (n, 2))
    mean = theta + rng.multivariate_normal([0, 0], covariance, n)
    exact = mean + rng.multivariate_normal([0, 0], covariance, (200, n))
    apart = draw(mean, SIGMA)
    assert min(each.p_value for each in judge_uniformity(pit_of_samples(apart, theta), np.arange(n))) > 0.01
    right, wrong = (tarp(samples, theta, np.arange(n)).area for samples in (exact, apart))
    assert right.value < 0.015 < 0.02 < wrong.value and wrong.value - right.value > 2 * wrong.error


def test_random_points_are_seeded():
    theta, mean, std, simulation = toy(n=30)
    samples = draw(mean, std)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, again, other = (tarp(samples, theta, simulation, seed=seed) for seed in (0, 0, 1))
    assert tarp_to_json(one) == tarp_to_json(again) != tarp_to_json(other)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_blocks_of_maps_give_what_single_maps_give():
    theta, mean, std, _ = toy(n=120)
    samples = draw(mean, std, 20)
    whole = credible_levels(samples, theta)
    np.testing.assert_array_equal(whole[:7], credible_levels(samples[:, :7], theta[:7]))
    assert len(whole) == 600


def test_a_uniform_histogram_is_flat():
    bins = pit_histogram((np.arange(1000) + 0.5) / 1000, np.arange(1000), 10)
    assert [each.value for each in bins] == pytest.approx(10 * [1.0])


@pytest.mark.parametrize("shape", [(5, 2), (5, 4, 2), (0, 3, 2)])
def test_samples_of_another_shape_are_refused(shape):
    with pytest.raises(UserError, match=r"samples of shape .* beside truths of shape \(3, 2\)"):
        ranks(np.zeros(shape), np.zeros((3, 2)))
    with pytest.raises(UserError, match="no parameter has truths"):
        tarp(np.zeros((5, 3, 2)), np.full((3, 2), np.nan), np.arange(3))
