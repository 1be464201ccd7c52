from math import erf, sqrt

import numpy as np
import pytest

from fieldlevel.figures import coverage, draw_calibration
from fieldlevel.layout import CAMELS_PARAMETERS
from fieldlevel.statistics.predictions import Predictions

SIMULATION = np.repeat(np.arange(400), 5)
GAUSSIAN = np.array([erf(z / sqrt(2)) for z in (0.5, 1.0, 2.0)])


@pytest.mark.parametrize("claimed", [1.0, 2.0, 0.5])
def test_honest_errors_lie_on_the_expectation_wide_ones_above_narrow_ones_below(predict, claimed):
    fraction, _, _ = coverage(predict(SIMULATION, claimed=claimed), np.array([0.5, 1.0, 2.0]))
    expected = [erf(z * claimed / sqrt(2)) for z in (0.5, 1.0, 2.0)]
    assert np.allclose(fraction, np.array(expected)[:, None], atol=0.05)
    assert (np.sign(fraction.mean(axis=1) - GAUSSIAN) == np.sign(claimed - 1)).all() or claimed == 1


def test_the_band_is_the_bootstrap_over_simulations(predict):
    """All maps of a simulation agree, so the error is that of 400 independent draws, not of 2,000."""
    one = predict(np.arange(400))
    five = Predictions(*(np.repeat(x, 5, axis=0) for x in (one.theta, one.mean, one.std)), SIMULATION, np.arange(2000))
    fraction, low, high = coverage(five, np.array([1.0]), n_bootstrap=2000)
    expected = np.sqrt(fraction * (1 - fraction) / 400)
    assert np.allclose((high - low) / 2, expected, rtol=0.15)
    assert ((low < fraction) & (fraction < high)).all()


def test_wide_intervals_hold_every_truth_however_many_maps_a_simulation_has(predict):
    assert all((part == 1).all() for part in coverage(predict(np.repeat([0, 1, 2], [1, 5, 30])), np.array([50.0])))


def test_every_parameter_has_a_panel_with_curve_band_and_expectation(predict):
    tested = predict(SIMULATION)
    figure = draw_calibration({"own suite": tested}, mock=True)
    assert [panel.texts[0].get_text() for panel in figure.axes] == [f"${p.symbol}$" for p in CAMELS_PARAMETERS]
    curve, expectation = figure.axes[4].lines
    error = np.abs(tested.theta - tested.mean)[:, 4] / tested.std[:, 4]
    assert np.allclose(curve.get_ydata(), [(error <= z).mean() for z in curve.get_xdata()])
    assert (expectation.get_xdata()[0], expectation.get_xdata()[-1]) == (0, 3)
    assert expectation.get_ydata()[-1] == pytest.approx(0.9973, abs=1e-4)
    assert len(figure.axes[4].collections) == 1


def test_chosen_parameters_in_one_row_with_every_name_in_the_legend(predict):
    tested = {"own": predict(SIMULATION), "other": predict(SIMULATION, claimed=0.5)}
    figure = draw_calibration(tested, CAMELS_PARAMETERS[:2], mock=True)
    assert len(figure.axes) == 2
    written = [text.get_text() for text in figure.legends[0].get_texts()]
    assert written == ["own", "other", "Gaussian expectation"]
    assert {panel.get_xlabel() for panel in figure.axes} == {"$z$"}
