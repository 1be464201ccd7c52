"""Predictions with a known truth."""

from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.statistics.predictions import Predictions


@pytest.fixture(scope="session")
def posterior_width():
    """Standard deviation of each parameter in `gaussian_posterior`, shape (6,)."""
    return np.array([0.01, 0.02, 0.3, 0.9, 0.2, 0.4])


@pytest.fixture(scope="session")
def gaussian_posterior(posterior_width):
    """Truths drawn around the means of a posterior of known width."""

    def draw(claimed=1.0, actual=1.0, n_simulations=400, maps_each=1, seed=0):
        rng = np.random.default_rng(seed)
        n = n_simulations * maps_each
        mean = Layout().lows + 0.2 + rng.random((n, 6)) * (Layout().highs - Layout().lows)
        theta = mean + actual * posterior_width * rng.normal(size=(n, 6))
        std = np.broadcast_to(claimed * posterior_width, (n, 6))
        return Predictions(theta, mean, std, np.arange(n) // maps_each, np.arange(n))

    return draw


@pytest.fixture(scope="session")
def repeat_maps():
    """Copies of every map, numbered anew."""

    def repeat(predictions, times):
        arrays = (predictions.theta, predictions.mean, predictions.std, predictions.simulation)
        return Predictions(*(np.repeat(x, times, axis=0) for x in arrays), np.arange(times * predictions.n_maps))

    return repeat


@pytest.fixture(scope="session")
def one_column():
    """The same values in all six columns, one map a simulation."""

    def fill(theta, mean, std):
        columns = (np.repeat(np.array(x, dtype=float)[:, None], 6, axis=1) for x in (theta, mean, std))
        return Predictions(*columns, np.arange(len(theta)), np.arange(len(theta)))

    return fill


def layouts():
    """Of 1, 6, 12 and 28 parameters: one of CAMELS, all six, four of them once a suite, those of a wider set."""
    of_suites = [each.of_suite(suite) for suite in ("MockTNG", "MockSIMBA") for each in CAMELS_PARAMETERS[2:]]
    twelve = (*CAMELS_PARAMETERS[:2], *of_suites, Parameter("Omega_b"), Parameter("h", cosmological=True))
    wide = (*CAMELS_PARAMETERS, *(Parameter(f"Extra_{n}", low=-1.0, high=3.0) for n in range(22)))
    for parameters in (CAMELS_PARAMETERS[3:4], CAMELS_PARAMETERS, twelve, wide):
        yield replace(Layout(), parameters=parameters)


@pytest.fixture(params=layouts(), ids=lambda layout: f"{layout.n_parameters} parameters")
def layout(request):
    """Of as many parameters as sets of simulations have."""
    return request.param


@pytest.fixture
def unit_errors(layout):
    """Answers that err by one std, a tenth of the prior, by turns up and down: 40 maps of 20 simulations."""
    rng = np.random.default_rng(1)
    theta = np.repeat(layout.from_unit_interval(rng.random((20, layout.n_parameters)), 0)[0], 2, axis=0)
    std = np.broadcast_to(0.1 * (layout.highs - layout.lows), theta.shape)
    signs = np.where(np.arange(40) % 2, -1.0, 1.0)[:, None]
    return Predictions(theta, theta + signs * std, std, np.arange(40) // 2, np.arange(40), layout)
