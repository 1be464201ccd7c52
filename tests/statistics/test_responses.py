"""Slopes of answers on one-parameter sets: a network whose answer is a known function of the parameters."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.simulate.sets import one_parameter
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.responses import OneParameterTable, measure_responses

LAYOUT, N_MAPS = Layout(), 15
STD = 0.02
COSMOLOGY = ["Omega_m", "sigma_8"]
FEEDBACK = ("A_SN1", "A_AGN1", "A_SN2", "A_AGN2")


def rows_of(n_seeds: int, n_values: int = 5) -> np.ndarray:
    return np.array([row.parameters for row in one_parameter(LAYOUT, n_seeds, n_values)])


def answers(
    theta: np.ndarray,
    Omega_m: Callable[[np.ndarray], np.ndarray] = lambda theta: theta[:, 0],
    chance: float = 0.0,
    n_seeds: int = 4,
) -> Predictions:
    """What a network says that finds sigma_8 and is told Omega_m, beside what initial conditions and slabs do to it.

    Args:
        theta: rows of the set.
        Omega_m: its answer of each row.
        chance: scatter of its slope with A_SN1 from one set of initial conditions to the next.
        n_seeds: sets of initial conditions, blocks of the rows.
    """
    rng = np.random.default_rng(1)
    block = np.repeat(np.arange(n_seeds), len(theta) // n_seeds)
    offset = 0.05 * rng.standard_normal((n_seeds, N_MAPS))[block]
    slope = chance * rng.standard_normal(n_seeds)[block] * np.log2(theta[:, 2])
    mean = np.repeat(theta, N_MAPS, axis=0)
    mean[:, 0] = (Omega_m(theta)[:, None] + offset + slope[:, None]).ravel()
    simulation = np.repeat(np.arange(len(theta)), N_MAPS)
    truth, std = np.repeat(theta, N_MAPS, axis=0), np.full(mean.shape, STD)
    return Predictions(truth, mean, std, simulation, np.arange(len(mean)))


def responses(theta: np.ndarray, predictions: Predictions, names=COSMOLOGY):
    return measure_responses(predictions, OneParameterTable(theta, LAYOUT), names, 200)


def test_the_answer_of_a_perfect_network_follows_cosmology_and_nothing_else():
    theta = rows_of(4)
    found = responses(theta, answers(theta))
    assert set(found) == {(name, varied) for name in COSMOLOGY for varied in LAYOUT.names}
    for (name, varied), response in found.items():
        own = name == varied
        assert response.in_std.value == pytest.approx(0.4 / STD if own else 0.0, abs=1e-9)
        assert response.gain.value == pytest.approx(1) if own else np.isnan(response.gain.value)
        assert response.n_conditions == 4


@pytest.mark.parametrize("varied", FEEDBACK)
@pytest.mark.parametrize("per_range", [0.03, -0.05])
def test_a_known_slope_in_the_logarithm_is_found_whatever_the_initial_conditions_add(varied, per_range):
    theta, column = rows_of(4), LAYOUT.column(varied)
    low, high = LAYOUT.lows[column], LAYOUT.highs[column]

    def moves(theta: np.ndarray) -> np.ndarray:
        return theta[:, 0] + per_range * np.log(theta[:, column] / low) / np.log(high / low)

    found = responses(theta, answers(theta, moves))
    assert found["Omega_m", varied].slope.value == pytest.approx(per_range, rel=1e-4)
    assert found["Omega_m", varied].in_std.value == pytest.approx(per_range / STD, rel=1e-4)
    for other in set(LAYOUT.names) - {varied, "Omega_m"}:
        assert found["Omega_m", other].in_std.value == pytest.approx(0, abs=1e-9)
    assert found["sigma_8", varied].in_std.value == pytest.approx(0, abs=1e-9)


def test_an_answer_that_goes_there_and_back_has_a_bend():
    theta = rows_of(4)

    def bends(theta: np.ndarray) -> np.ndarray:
        return theta[:, 0] + 0.03 * (np.log(theta[:, 2]) / np.log(4)) ** 2

    found = responses(theta, answers(theta, bends))
    assert found["Omega_m", "A_SN1"].in_std.value == pytest.approx(0, abs=1e-9)
    assert found["Omega_m", "A_SN1"].bend_in_std.value == pytest.approx(0.03 / STD, rel=1e-6)
    assert found["Omega_m", "A_SN2"].bend_in_std.value == pytest.approx(0, abs=1e-9)
    ends = theta[(theta[:, 2] != 1) & (abs(np.log(theta[:, 2])) > 1)]
    two = responses(ends, answers(ends, bends))["Omega_m", "A_SN1"]
    assert np.isnan(two.bend_in_std.value)
    assert two.in_std.value == pytest.approx(0, abs=1e-9)


def test_a_constant_answer_has_no_slope_and_no_gain():
    theta = rows_of(3)
    found = responses(theta, answers(theta, lambda theta: np.full(len(theta), 0.3), n_seeds=3))
    for varied in LAYOUT.names:
        assert found["Omega_m", varied].in_std.value == pytest.approx(0, abs=1e-9)
    assert found["Omega_m", "Omega_m"].gain.value == pytest.approx(0, abs=1e-9)
    assert found["sigma_8", "sigma_8"].gain.value == pytest.approx(1)


def test_the_error_is_that_from_one_set_of_initial_conditions_to_the_next():
    """A slope that scatters by s among n of them is known to s / sqrt(n); slabs of one are no independent ones."""
    theta = rows_of(40, 3)
    found = responses(theta, answers(theta, chance=0.01, n_seeds=40))["Omega_m", "A_SN1"]
    scatter = 0.01 * np.log2(4.0 / 0.25)
    assert found.slope.error == pytest.approx(scatter / np.sqrt(40), rel=0.3)
    assert abs(found.slope.value) < 4 * found.slope.error
    assert found.scatters[0] > found.scatters[1] == pytest.approx(found.scatters.min())


def test_one_set_of_initial_conditions_has_errors_from_slab_to_slab():
    theta = rows_of(1, 11)
    predictions = answers(theta, n_seeds=1)
    tilt = np.tile(0.01 * np.arange(N_MAPS), len(theta)) * np.log2(np.repeat(theta[:, 2], N_MAPS))
    mean = predictions.mean.copy()
    mean[:, 0] += tilt
    found = responses(theta, replace(predictions, mean=mean))["Omega_m", "A_SN1"]
    assert found.n_conditions == 1
    assert found.slope.error > 0
    assert found.slope.value == pytest.approx(0.01 * 7 * 4, rel=1e-4)
    assert np.isnan(found.scatters).all()


def test_points_of_the_figure_are_mean_answers_at_the_values():
    theta = rows_of(4)
    found = responses(theta, answers(theta))["sigma_8", "sigma_8"]
    np.testing.assert_allclose(found.values, [0.6, 0.7, 0.8, 0.9, 1.0])
    np.testing.assert_allclose(found.means, found.values)
    np.testing.assert_allclose(found.stds, STD)


def test_the_order_of_maps_and_a_lost_simulation_change_no_line():
    theta = rows_of(4)
    predictions = answers(theta, lambda theta: theta[:, 0] + 0.01 * np.log2(theta[:, 3]))
    lost = int(np.flatnonzero(theta[:, 3] == 4.0)[1])
    kept = np.random.default_rng(0).permutation(np.flatnonzero(predictions.simulation != lost))
    parts = {name: getattr(predictions, name)[kept] for name in ("theta", "mean", "std", "simulation", "map_index")}
    found = responses(theta, replace(predictions, **parts))["Omega_m", "A_AGN1"]
    assert found.slope.value == pytest.approx(0.04)
    assert found.n_conditions == 4


def test_a_table_that_repeats_the_fiducial_row_has_one_set_of_initial_conditions():
    """As that of the first release of CAMELS, 66 rows."""
    theta = rows_of(1, 11)
    fiducial = theta[5]
    blocks = np.concatenate(
        [theta[:11], *(np.insert(theta[11 + 10 * i : 21 + 10 * i], 5, fiducial, 0) for i in range(5))]
    )
    assert len(blocks) == 66
    found = responses(blocks, answers(blocks, n_seeds=1))
    assert {response.n_conditions for response in found.values()} == {1}
    assert found["sigma_8", "sigma_8"].gain.value == pytest.approx(1)


def test_what_the_network_does_not_answer_may_vary_too():
    """Feedback that is none of its outputs is known from the table of the set."""
    theta = rows_of(4)
    told = answers(theta, lambda theta: theta[:, 0] + 0.01 * np.log2(theta[:, 2]))
    columns = [LAYOUT.column(name) for name in COSMOLOGY]
    parts = {name: getattr(told, name)[:, columns] for name in ("theta", "mean", "std")}
    two = replace(told, **parts, layout=LAYOUT.select(COSMOLOGY))
    found = responses(theta, two)["Omega_m", "A_SN1"]
    assert found.slope.value == pytest.approx(0.04)


def test_predictions_that_do_not_fit_the_table_are_refused():
    theta = rows_of(2)
    predictions = answers(theta, n_seeds=2)
    with pytest.raises(UserError, match="simulation 49, but the table has 25; give that of the same set"):
        responses(theta[:25], predictions)
    parts = {name: getattr(predictions, name)[1:] for name in ("theta", "mean", "std", "simulation", "map_index")}
    with pytest.raises(UserError, match="14 to 15 maps a simulation; give predictions of all maps of each"):
        responses(theta, replace(predictions, **parts))
    with pytest.raises(UserError, match="A_SN3"):
        responses(theta, predictions, ["A_SN3"])


def test_a_set_in_which_nothing_varies_has_no_response():
    theta = np.tile(rows_of(1)[2], (4, 1))
    assert responses(theta, answers(theta)) == {}
