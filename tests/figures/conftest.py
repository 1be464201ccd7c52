"""Synthetic predictions with known errors, and the words of a figure."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from fieldlevel.layout import Layout
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions


@pytest.fixture(scope="session")
def predict() -> Callable[..., Predictions]:
    """Gaussian posteriors: `width` is the true error in units of the prior, `claimed` the std over it."""

    def draw(simulation, seed=0, width=0.05, bias=0.0, claimed=1.0):
        rng = np.random.default_rng(seed)
        prior, n = Layout().highs - Layout().lows, len(simulation)
        theta = Layout().lows + rng.random((max(simulation) + 1, 6))[simulation] * prior
        mean = theta + prior * (bias + width * rng.normal(size=(n, 6)))
        return Predictions(theta, mean, claimed * width * prior * np.ones((n, 6)), np.asarray(simulation), np.arange(n))

    return draw


@pytest.fixture(scope="session")
def pair(predict) -> Callable[..., PairResult]:
    """A tested network of 15 maps a simulation."""

    def make(train, test, n_simulations=60, **errors):
        predictions = predict(np.repeat(np.arange(n_simulations), 15), **errors)
        return PairResult(train, test, predictions, evaluate(predictions, 20))

    return make


@pytest.fixture(scope="session")
def four(pair) -> list[PairResult]:
    suites = ("MockTNG", "MockSIMBA")
    return [pair(a, b, 20, seed=i) for i, (a, b) in enumerate((a, b) for a in suites for b in suites)]


@pytest.fixture(scope="session")
def texts() -> Callable[[Figure], list[str]]:
    """Every text of a figure."""
    return lambda figure: [text.get_text() for text in figure.findobj(Text)]


@pytest.fixture(scope="session")
def examples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {suite: 10 ** rng.normal(11, 0.3, (3, 16, 16)) for suite in ("MockTNG", "MockSIMBA")}
