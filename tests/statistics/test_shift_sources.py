"""Differences of answers that are known functions of the parameters."""

from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.shift_sources import Labels, shift_sources

LAYOUT = Layout()
ANSWERED = LAYOUT.select(["Omega_m", "sigma_8"])
N, N_MAPS, SIGMA = 200, 5, 0.02


def labels(n=N, seed=0):
    unit = np.random.default_rng(seed).random((n, 6))
    lows, highs = LAYOUT.lows, LAYOUT.highs
    parameters = np.column_stack(
        [
            low * (high / low) ** u if each.logarithmic else low + (high - low) * u
            for low, high, u, each in zip(lows, highs, unit.T, LAYOUT.parameters, strict=True)
        ]
    )
    return unit, Labels(parameters, LAYOUT)


def pair(table, shift, noise=0.0, seed=1):
    """Answers of two networks, in sigma_8 apart by so many standard deviations, (n,), and noise from map to map."""
    simulation, random = np.repeat(np.arange(len(shift)), N_MAPS), np.random.default_rng(seed)
    theta = table.parameters[simulation][:, :2]
    common = SIGMA * random.standard_normal(theta.shape)
    before = Predictions(theta, theta + common, np.full_like(theta, SIGMA), simulation, np.arange(len(theta)), ANSWERED)
    moved = before.mean.copy()
    moved[:, 1] += SIGMA * (shift[simulation] + noise * random.standard_normal(len(theta)))
    return before, replace(before, mean=moved)


def test_slopes_are_over_the_full_range_of_each_prior_and_what_both_networks_share_cancels():
    unit, table = labels()
    found = shift_sources(*pair(table, 0.5 + 2.0 * unit[:, 0] - 1.5 * unit[:, 4]), "sigma_8", table)
    expected = {"Omega_m": 2.0, "A_SN2": -1.5}
    for name, slope in found.slopes.items():
        assert slope.value == pytest.approx(expected.get(name, 0.0), abs=1e-6)
    assert found.explained == pytest.approx(1.0)
    assert found.shift.value == pytest.approx(np.mean(0.5 + 2.0 * unit[:, 0] - 1.5 * unit[:, 4]))
    assert [name for name, _ in found.telling][:2] == ["Omega_m", "A_SN2"]
    other = shift_sources(*pair(table, 2.0 * unit[:, 0]), "Omega_m", table)
    assert other.shift.value == other.explained == 0.0


def test_errors_are_those_of_least_squares():
    """Of a uniform parameter the slope's variance is that of the rest over n / 12, here of means over five maps."""
    unit, table = labels()
    found = shift_sources(*pair(table, unit[:, 2], noise=1.0), "sigma_8", table)
    expected = (1 / N_MAPS) ** 0.5 / (N / 12) ** 0.5
    for name, slope in found.slopes.items():
        assert slope.error == pytest.approx(expected, rel=0.25)
        assert abs(slope.value - (name == "A_SN1")) < 4 * expected
    assert found.explained == pytest.approx((1 / 12) / (1 / 12 + 1 / N_MAPS), abs=0.12)


def test_noise_explains_nothing():
    unit, table = labels()
    shares = [
        shift_sources(*pair(table, 0 * unit[:, 0], noise=1.0, seed=seed), "sigma_8", table).explained
        for seed in range(8)
    ]
    assert np.mean(shares) < 0.03


def test_seeds_of_networks_are_averaged():
    unit, table = labels()
    one, other = pair(table, unit[:, 0])
    twice = {name: np.concatenate([getattr(other, name)] * 2) for name in ("theta", "std", "simulation", "map_index")}
    moved = np.concatenate([other.mean + 0.01, other.mean - 0.01])
    found = shift_sources(one, replace(other, **twice, mean=moved), "sigma_8", table)
    assert found.slopes["Omega_m"].value == pytest.approx(1.0, abs=1e-6)


def test_what_does_not_vary_has_no_slope_and_few_simulations_tell_nothing():
    _, table = labels(13)
    assert shift_sources(*pair(table, np.zeros(13)), "sigma_8", table) is None
    fixed = replace(table, parameters=np.column_stack([table.parameters[:, :2], np.ones((13, 4))]))
    assert list(shift_sources(*pair(fixed, np.zeros(13)), "sigma_8", fixed).slopes) == ["Omega_m", "sigma_8"]


def test_other_simulations_are_refused():
    _, table = labels()
    before, after = pair(table, np.zeros(N))
    with pytest.raises(UserError, match="other simulations"):
        shift_sources(before, replace(after, simulation=after.simulation + 1), "sigma_8", table)
    with pytest.raises(UserError, match="the labels of all"):
        shift_sources(before, after, "sigma_8", replace(table, parameters=table.parameters[:-1]))
