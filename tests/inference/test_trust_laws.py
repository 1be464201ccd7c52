"""P-values are uniform where simulations are exchangeable, and small where maps are unlike."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fieldlevel.inference.trust.components import Components
from fieldlevel.inference.trust.covariances import ledoit_wolf, whitening
from fieldlevel.inference.trust.layer_statistics import watched
from fieldlevel.inference.trust.map_sets import Rows, effective_number, set_p, unusualness
from fieldlevel.inference.trust.map_statistics import measure_maps, power_bins
from fieldlevel.inference.trust.reference_file import kept_rows
from fieldlevel.inference.trust.regression import Regression
from fieldlevel.inference.trust.single import conformal_p
from fieldlevel.numerics.transforms import smooth_gaussian

N_NUMBERS, N_MAPS = 20, 15
COMMON = 0.3
"""Share of the variance that the maps of a toy simulation have in common."""
BETWEEN = np.full(N_NUMBERS, COMMON)
NOWHERE = np.empty((N_NUMBERS, 0))


def toy_rows(rng, n_simulations, shift=0.0, spread=1.0, misfit=0.0):
    """Rows of unit variance; `misfit` is what a regression lacks, as a function of the answers."""
    answers = np.repeat(spread * rng.normal(size=(n_simulations, 2)), N_MAPS, axis=0)
    common = np.repeat(rng.normal(size=(n_simulations, N_NUMBERS)), N_MAPS, axis=0)
    own = rng.normal(size=(n_simulations * N_MAPS, N_NUMBERS))
    rows = COMMON**0.5 * common + (1 - COMMON) ** 0.5 * own + shift + misfit * np.cos(3 * answers[:, :1])
    return Rows(rows, answers, np.repeat(np.arange(n_simulations), N_MAPS))


def toy_scores(rng, n_simulations):
    levels = rng.normal(size=(n_simulations, 1))
    return np.exp(levels + rng.normal(size=(n_simulations, N_MAPS)))


def flagged(p_values):
    return np.mean(np.array(p_values) < 0.05)


def test_p_values_of_single_maps_are_those_of_exchangeable_simulations():
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        known = toy_scores(rng, 60)
        found.append(conformal_p(toy_scores(rng, 1)[0, :1], known.ravel(), np.repeat(np.arange(60), N_MAPS))[0])
    for level in (0.05, 0.2, 0.5):
        error = (level * (1 - level) / len(found)) ** 0.5
        assert level - 1 / 61 - 3 * error < np.mean(np.array(found) <= level) < level + 3 * error


def test_a_simulation_counts_once_however_many_maps_it_has():
    known = np.array([*([9.0] * 1000), 1.0, 2.0, 3.0])
    simulation = np.array([*([0] * 1000), 1, 2, 3])
    assert conformal_p(np.array([5.0]), known, simulation)[0] == pytest.approx(2 / 5)


def test_beyond_all_that_is_known_p_goes_on_falling():
    known, simulation = np.linspace(1.0, 2.0, 100), np.arange(100)
    p = conformal_p(np.array([2.0, 2.1, 3.0, 30.0, np.inf]), known, simulation)
    assert (np.diff(p) <= 0).all()
    assert p[0] == pytest.approx(2 / 101)
    assert p[1] < 1 / 101
    assert p[-1] > 0


def test_sets_like_the_held_out_ones_are_flagged_at_the_stated_rate():
    rng = np.random.default_rng(1)
    found = [
        [set_p(toy_rows(rng, n), held_out, BETWEEN, NOWHERE) for n in (1, 5)]
        for held_out in (toy_rows(rng, 40) for _ in range(100))
    ]
    assert (np.mean(np.array(found) < 0.05, axis=0) <= 0.05 + 3 * (0.05 * 0.95 / 100) ** 0.5).all()
    assert 0.35 < np.median(found) < 0.65


def test_unlike_sets_are_caught_the_sooner_the_more_simulations_they_have():
    rng = np.random.default_rng(2)
    held_out = toy_rows(rng, 40)
    rates = [
        flagged([set_p(toy_rows(rng, n, shift=0.35), held_out, BETWEEN, NOWHERE) for _ in range(20)]) for n in (1, 10)
    ]
    assert rates[0] < 0.6
    assert rates[1] == 1.0


@pytest.mark.parametrize("way", [1.0, -1.0], ids=["along", "against"])
def test_a_shift_along_or_against_a_known_direction_is_caught_sooner(way):
    rng = np.random.default_rng(3)
    held_out, direction = toy_rows(rng, 40), np.eye(N_NUMBERS)[:, :1]
    sets = [toy_rows(rng, 5, shift=way * direction[:, 0]) for _ in range(40)]
    blind, pointed = (
        flagged([set_p(each, held_out, BETWEEN, directions) for each in sets]) for directions in (NOWHERE, direction)
    )
    assert pointed > blind + 0.2


def test_a_map_is_as_unusual_as_its_reverse_and_the_more_so_the_farther_it_goes_along_a_known_direction():
    rng = np.random.default_rng(6)
    rows, one, directions = rng.normal(size=(50, N_NUMBERS)), np.ones(N_NUMBERS), np.eye(N_NUMBERS)[:, :2]
    found = unusualness(rows, directions, one)
    assert np.allclose(found, unusualness(-rows, directions, one))
    assert np.allclose(found - unusualness(rows, directions[:, :0], one), (rows[:, :2] ** 2).max(1))


def test_a_set_at_one_cosmology_is_not_flagged_for_what_the_regression_lacks_there():
    rng = np.random.default_rng(4)
    held_out = toy_rows(rng, 40, misfit=0.3)
    at_one_point = [toy_rows(rng, 20, spread=0.0, misfit=0.3) for _ in range(20)]
    assert {effective_number(each, held_out) for each in at_one_point} == {1}
    assert flagged([set_p(each, held_out, BETWEEN, NOWHERE) for each in at_one_point]) == 0.0


def test_a_set_of_one_group_is_not_unlike_for_lacking_the_others_and_one_of_none_is():
    rng, far = np.random.default_rng(7), 0.6 * np.eye(N_NUMBERS)[0]
    parts = [toy_rows(rng, 40, shift) for shift in (-far, far)]
    blended = Rows.joined(parts)
    told = replace(blended, group=np.repeat([0, 1], [len(part.rows) for part in parts]))
    of_one, of_none = ([toy_rows(rng, 10, shift) for _ in range(40)] for shift in (far, 4 * far))

    def rate(sets, held_out):
        return flagged([set_p(each, held_out, BETWEEN, NOWHERE) for each in sets])

    assert rate(of_one, blended) > 0.3
    assert rate(of_one, told) <= 0.05
    assert rate(of_none, told) == 1.0


def test_simulations_are_permuted_not_maps():
    """Maps that share much are no more than one simulation: taken for independent they would be flagged."""
    rng = np.random.default_rng(5)
    held_out = toy_rows(rng, 60)
    one = [toy_rows(rng, 1) for _ in range(60)]
    apart = [Rows(each.rows, rng.normal(size=each.answers.shape), np.arange(N_MAPS)) for each in one]
    assert flagged([set_p(each, held_out, BETWEEN, NOWHERE) for each in one]) < 0.15
    assert flagged([set_p(each, held_out, BETWEEN, NOWHERE) for each in apart]) > 0.5


def test_a_file_keeps_whole_simulations_as_long_as_they_are_many():
    rng = np.random.default_rng(0)
    for n_simulations, n_numbers, kept, each in ((50, 120, 50, 15), (200, 120, 148, 15), (300, 500, 100, 6)):
        simulation = np.repeat(np.arange(n_simulations), N_MAPS)
        rows = Rows(rng.normal(size=(len(simulation), n_numbers)), rng.normal(size=(len(simulation), 12)), simulation)
        few = kept_rows(rows, 650_000)
        assert few.n_simulations == kept
        assert set(np.unique(few.simulation, return_counts=True)[1]) == {each}
        assert few.simulation.max() >= n_simulations - 4


def test_ledoit_and_wolf_have_these_numbers():
    """By hand: S = diag(5/2, 1/2), mu = 3/2, delta^2 = 1, b^2 = (34/16 - 26/16) / 2 = 1/4."""
    rows = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    n, d = rows.shape
    sample = rows.T @ rows / n
    assert sample.tolist() == [[2.5, 0.0], [0.0, 0.5]]
    spread = sum(((np.outer(row, row) - sample) ** 2).sum() for row in rows) / n**2 / d
    expected = spread * 1.5 * np.eye(2) + (1 - spread) * sample
    np.testing.assert_allclose(ledoit_wolf(rows), expected if spread < 1 else 1.5 * np.eye(2))


def test_whitened_rows_have_unit_covariance():
    rows = np.random.default_rng(0).normal(size=(500, 4)) @ np.diag([1.0, 2.0, 30.0, 1e-3])
    covariance = rows.T @ rows / len(rows)
    white = rows @ whitening(covariance)
    np.testing.assert_allclose(white.T @ white / len(rows), np.eye(4), atol=1e-8)


def test_a_regression_takes_no_more_terms_than_there_are_simulations_for():
    rng = np.random.default_rng(0)
    answers = rng.normal(size=(300, 4))
    truth = answers[:, :1] ** 2
    errors = [np.abs(Regression.fit(answers, truth, n).expected(answers) - truth).mean() for n in (5, 20, 300)]
    assert errors[0] > 0.5
    assert errors[1] > 0.5
    assert errors[2] < 1e-3


def test_components_of_a_layer_are_its_own():
    rng = np.random.default_rng(0)
    statistics = np.concatenate(
        [rng.normal(size=(200, 1)) * [1.0, 2.0], rng.normal(size=(200, 3)), np.ones((200, 1))], 1
    )
    components = Components.fit(statistics, rng.normal(size=(200, 2)), (2, 4), 3, 200)
    assert components.layer.tolist() == [0, 0, 1, 1, 1]
    moved = statistics + np.array([0, 0, 1.0, 0, 0, 0])
    change = np.abs(components.of(moved) - components.of(statistics)).max(0)
    assert (change[:2] == 0).all()
    assert change[2:].max() > 0.3


class Mixed(nn.Module):
    """Layers that follow one another in ways that networks have."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(0.5)
        self.pool = nn.AvgPool2d(2)
        self.last = nn.Linear(3 * 4 * 4, 5)

    def forward(self, x):
        return self.last(self.drop(self.pool(self.act(self.norm(self.first(x))))).flatten(1))


def test_of_layers_that_follow_one_another_the_last_of_a_shape_is_taken():
    network, x = Mixed().eval(), torch.rand(4, 1, 8, 8)
    with watched(network, 4) as record:
        made = network(x)
    assert record.names == ["act", "pool", "last"]
    assert record.statistics().shape == (4, 3 * 2 + 3 * 2 + 5)
    seen = torch.relu(network.norm(network.first(x)))
    torch.testing.assert_close(record.parts[0], torch.cat([seen.mean((2, 3)), seen.flatten(2).std(2, correction=0)], 1))
    torch.testing.assert_close(record.parts[2], made)
    network(x)
    assert len(record.names) == 3, "nobody listens any more"


@pytest.mark.parametrize("n_pixels", [16, 31, 64, 256])
def test_every_shell_is_in_one_bin_of_power(n_pixels):
    edges = power_bins(n_pixels)
    assert edges[0] == 0
    assert edges[-1] == n_pixels // 2
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= 25


def test_a_factor_moves_the_pixels_and_not_the_power_and_smoothing_both():
    maps = torch.from_numpy(np.random.default_rng(0).lognormal(25.0, 1.0, (3, 16, 16)))
    (pixels, power), (of_scaled, power_of_scaled) = measure_maps(maps), measure_maps(10 * maps)
    torch.testing.assert_close(of_scaled, pixels + 1)
    torch.testing.assert_close(power_of_scaled, power)
    of_smooth, power_of_smooth = measure_maps(smooth_gaussian(maps, 1.0))
    assert bool((power_of_smooth[:, -1] < power[:, -1] - 1).all())
    torch.testing.assert_close(of_smooth[:, 0], pixels[:, 0])
