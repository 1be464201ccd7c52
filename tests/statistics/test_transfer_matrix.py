"""Three suites with Gaussian answers of known bias, width and claimed width: what the matrix must say of them."""

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.layout import CAMELS_PARAMETERS, Layout
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS, evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.ratios import error_ratio
from fieldlevel.statistics.transfer_matrix import transfer_matrix

SUITES = ("A", "B", "C")
WIDTH = 0.01
N_SIMULATIONS, N_MAPS = 200, 5


def answers(train: int, test: int, layout: Layout = Layout()) -> PairResult:
    """At home unbiased and honest; d suites away biased by 0.02 d of the prior, (1 + d) times as wide, unaware."""
    rng = np.random.default_rng([train, test])
    distance, width = test - train, layout.highs - layout.lows
    simulation = np.repeat(np.arange(N_SIMULATIONS), N_MAPS)
    theta = layout.from_unit_interval(np.random.default_rng(test).random((N_SIMULATIONS, layout.n_parameters)), 0)[0]
    noise = WIDTH * (1 + abs(distance)) * rng.normal(size=(len(simulation), layout.n_parameters))
    mean = theta[simulation] + width * (0.02 * distance + noise)
    std = np.broadcast_to(WIDTH * width, mean.shape)
    predictions = Predictions(theta[simulation], mean, std, simulation, np.arange(len(simulation)), layout)
    return PairResult(SUITES[train], SUITES[test], predictions, {})


@pytest.fixture(scope="module")
def pairs():
    return [answers(train, test) for train in range(3) for test in range(3)]


@pytest.fixture(scope="module")
def matrix(pairs):
    return transfer_matrix(pairs)


def test_there_is_a_cell_for_every_pair_and_parameter(matrix):
    assert list(matrix) == [(train, test) for train in SUITES for test in SUITES]
    assert all(tuple(cells) == Layout().names for cells in matrix.values())


@pytest.mark.parametrize("parameter", CAMELS_PARAMETERS, ids=lambda parameter: parameter.name)
def test_known_answers(matrix, parameter):
    for (train, test), cells in matrix.items():
        distance = SUITES.index(test) - SUITES.index(train)
        cell, sigma = cells[parameter.name], 1 + abs(distance)
        squared = sigma**2 + (2 * distance) ** 2
        bias = cell.bias_of_prior(parameter)
        assert abs(bias.value - 0.02 * distance) < 5 * bias.error
        assert bias.error == pytest.approx(WIDTH * sigma / np.sqrt(N_SIMULATIONS * N_MAPS), rel=0.3)
        assert cell.bias.value == pytest.approx(bias.value * (parameter.high - parameter.low))
        assert abs(cell.reduced_chi2.value - squared) < 5 * cell.reduced_chi2.error
        assert cell.rmse_ratio.value == pytest.approx(np.sqrt(squared), rel=0.1)
        assert (cell.rmse_ratio.value == 1) == (train == test)


def test_numbers_are_those_of_the_tables(pairs, matrix):
    for pair in pairs:
        scores = evaluate(pair.predictions)
        for name, cell in matrix[pair.train_suite, pair.test_suite].items():
            assert cell.bias.value == scores[name]["bias"].value
            assert cell.reduced_chi2.value == scores[name]["reduced_chi2"].value


def test_the_ratio_is_over_the_network_of_the_tested_suite_with_the_same_resamplings(pairs, matrix):
    own, other = pairs[8], pairs[2]
    assert (own.name, other.name) == ("C → C", "A → C")
    assert matrix["A", "C"]["sigma_8"].rmse_ratio == error_ratio(own.predictions, other.predictions)["sigma_8"]
    assert matrix["C", "C"]["sigma_8"].rmse_ratio.error == 0


def test_all_numbers_of_a_cell_share_their_resamplings(pairs):
    draws = Bootstrap.draw(pairs[2].predictions.simulation, 50, [7, 0])
    cell = transfer_matrix(pairs, 50, seed=7)["A", "C"]["Omega_m"]
    for key in ("bias", "reduced_chi2"):
        value, replicas = METRICS[key].measure(pairs[2].predictions, "Omega_m", draws)
        assert getattr(cell, key) == Estimate.from_replicas(value, replicas)
    above, below = (METRICS["rmse"].measure(pairs[n].predictions, "Omega_m", draws) for n in (2, 8))
    assert cell.rmse_ratio == Estimate.from_replicas(above[0] / below[0], above[1] / below[1])


def test_the_order_of_the_pairs_does_not_matter(pairs, matrix):
    assert transfer_matrix(pairs[::-1]) == matrix


def test_without_a_network_of_its_own_a_suite_has_no_ratio(pairs):
    cell = transfer_matrix(pairs[:2], 10)["A", "B"]["Omega_m"]
    assert np.isnan(cell.rmse_ratio.value)
    assert np.isfinite(cell.bias.error)


def test_parameters_are_matched_by_name_and_feedback_is_left_out_where_there_is_none():
    wide, narrow = answers(0, 0), answers(1, 0, Layout().select(["A_SN1", "sigma_8"]))
    cells = transfer_matrix([wide, narrow], 10)["B", "A"]
    assert list(cells) == ["A_SN1", "sigma_8"]
    assert np.isfinite(cells["sigma_8"].rmse_ratio.value)
    twin = PairResult("Nbody_A", "A", wide.predictions, {})
    assert list(transfer_matrix([wide, twin], 10)["Nbody_A", "A"]) == ["Omega_m", "sigma_8"]


def test_two_networks_for_one_pair_are_refused(pairs):
    with pytest.raises(UserError, match="A → A twice; give the networks of one seed"):
        transfer_matrix([pairs[0], pairs[0].__class__("A", "A", pairs[0].predictions, {}, seed=1)], 10)
