"""Distribution functions of truncated normals of given moments."""

import numpy as np
import pytest
from scipy.stats import kstest, truncexpon, truncnorm

from fieldlevel.inference.marginal_cdf import marginal_cdf, pit_of_predictions
from fieldlevel.layout import Layout
from fieldlevel.statistics.predictions import Predictions


def test_they_are_those_of_scipy():
    rng = np.random.default_rng(0)
    location, scale = rng.uniform(-0.3, 1.3, 500), 10 ** rng.uniform(-2, 0, 500)
    edges = (-location / scale, (1 - location) / scale)
    keep = (edges[0] < 6) & (edges[1] > -6)
    shape = [each[keep] for each in (*edges, location, scale)]
    mean, variance = truncnorm.stats(*shape)
    theta = truncnorm.rvs(*shape, random_state=1)
    np.testing.assert_allclose(marginal_cdf(theta, mean, np.sqrt(variance)), truncnorm.cdf(theta, *shape), atol=1e-9)


@pytest.mark.parametrize("std", [12**-0.5, 0.5])
def test_the_widest_in_the_middle_is_uniform(std):
    theta = np.linspace(0, 1, 11)
    np.testing.assert_allclose(marginal_cdf(theta, np.full(11, 0.5), np.full(11, std)), theta, atol=1e-6)


def test_wider_than_an_exponential_is_none():
    widest = truncexpon(b=20, scale=0.05)
    theta = widest.ppf(np.linspace(0.05, 0.95, 10))
    told = marginal_cdf(theta, np.full(10, widest.mean()), np.full(10, 2 * widest.std()))
    np.testing.assert_allclose(told, widest.cdf(theta), atol=1e-3)


def test_moments_that_none_can_have_give_numbers_between_zero_and_one():
    grid = np.array([-1.0, 0.0, 1e-9, 0.3, 1.0, 2.0])
    theta, mean, std = (each.ravel() for each in np.meshgrid(np.linspace(0, 1, 5), grid, [0.0, 1e-9, 0.1, 0.4, 5.0]))
    values = marginal_cdf(theta, mean, std)
    assert np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1


def test_truths_of_honest_predictions_are_uniform_in_physical_units():
    layout, rng, n = Layout(), np.random.default_rng(0), 2000
    width = layout.highs - layout.lows
    theta = layout.lows + width * rng.random((n, 6))
    mean = theta + 0.02 * width * rng.normal(size=(n, 6))
    inside = ((mean > layout.lows + 0.2 * width) & (mean < layout.highs - 0.2 * width)).all(axis=1)
    theta[:, 5] = np.nan
    numbers = np.arange(n)
    pit, unit = pit_of_predictions(Predictions(theta, mean, 0.02 * width * np.ones((n, 6)), numbers, numbers))
    assert np.isnan(pit[:, 5]).all()
    np.testing.assert_allclose(unit, layout.to_unit_interval(mean))
    assert min(kstest(pit[inside, column], "uniform").pvalue for column in range(5)) > 1e-3
