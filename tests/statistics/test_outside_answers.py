"""Answers outside the prior are told as such, not by absurd numbers."""

import numpy as np
import pytest

from fieldlevel.layout import Layout
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions

LAYOUT = Layout()
WIDTH = LAYOUT.highs - LAYOUT.lows


def answers(shift):
    """Means so many widths of the prior above the truths."""
    theta = LAYOUT.lows + WIDTH * np.random.default_rng(0).random((30, 6))
    return pair_of(theta, theta + shift * WIDTH)


def pair_of(theta, mean):
    predictions = Predictions(theta, mean, np.ones_like(theta), np.arange(30), np.arange(30))
    return PairResult("MockTNG", "MockTNG", predictions, evaluate(predictions, 20))


@pytest.mark.parametrize(("shift", "outside"), [(0.9, False), (1.1, True), (1e9, True)])
def test_an_error_above_the_width_of_the_prior_is_outside(shift, outside):
    pair = answers(shift)
    for name in LAYOUT.names:
        assert pair.is_outside_prior(name) is outside
        for key in ("r2", "rmse", "bias", "rms_relative_error", "reduced_chi2"):
            assert (pair.text(name, key) == "outside the prior") is outside


def test_answers_within_the_prior_never_are():
    rng = np.random.default_rng(1)
    for _ in range(5):
        theta, mean = (LAYOUT.lows + WIDTH * rng.integers(0, 2, (30, 6)) for _ in range(2))
        assert not any(map(pair_of(theta, mean).is_outside_prior, LAYOUT.names))


def test_what_does_not_look_at_the_prior_keeps_its_number():
    pair = answers(1e9)
    assert pair.text("Omega_m", "mean_std") == pair.scores["Omega_m"]["mean_std"].text()
    assert pair.text("Omega_m", "squared_correlation", with_error=False) == "1.0000"
