"""Every figure of any parameters: one, six, a dozen with some of a suite alone, twenty-eight."""

from dataclasses import replace

import numpy as np
import pytest

from fieldlevel import figures
from fieldlevel.errors import UserError
from fieldlevel.figures.parameter_panels import choose_parameters
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions

COSMOLOGY = tuple(Parameter(name, low=0.1, high=0.9, cosmological=True) for name in ("Omega_b", "h", "n_s"))
OF_SUITES = tuple(each.of_suite(suite) for suite in ("MockTNG", "MockSIMBA") for each in CAMELS_PARAMETERS[2:])
LAYOUTS = {
    1: CAMELS_PARAMETERS[2:3],
    6: CAMELS_PARAMETERS,
    10: (*CAMELS_PARAMETERS[:2], *OF_SUITES),
    28: (*CAMELS_PARAMETERS, *(Parameter(f"Extra_{n}", low=-1.0, high=3.0) for n in range(19)), *COSMOLOGY),
}


@pytest.fixture(scope="module", params=LAYOUTS.values(), ids=LAYOUTS)
def layout(request):
    return replace(Layout(), parameters=request.param)


def answers(layout, train, test, seed=0):
    rng, simulation = np.random.default_rng(seed), np.repeat(np.arange(8), 5)
    theta = layout.from_unit_interval(rng.random((8, layout.n_parameters)), 0)[0][simulation]
    std = np.broadcast_to(0.05 * (layout.highs - layout.lows), theta.shape)
    predictions = Predictions(theta, theta + std * rng.normal(size=std.shape), std, simulation, np.arange(40), layout)
    return PairResult(train, test, predictions, evaluate(predictions, 10))


@pytest.fixture(scope="module")
def pairs(layout):
    return [answers(layout, a, b, 3 * i + j) for i, a in enumerate("ABC") for j, b in enumerate("ABC")]


@pytest.fixture(scope="module")
def symbols(layout):
    """Of the parameters that figures are about."""
    return [f"${parameter.symbol}$" for parameter in layout.cosmological or layout.parameters]


def drawn(layout, pairs):
    scores = {pair.name: [pair.scores] for pair in pairs}
    curve = [(scale, {name: Estimate(0.1, 0.01, 0.09, 0.11) for name in layout.names}) for scale in (0.0, 1.0)]
    one = pairs[0].predictions
    fit = one.mean[:, layout.cosmological_columns or slice(None)]
    yield figures.draw_four_pairs(pairs[:4], mock=True)
    yield figures.draw_transfer(pairs[:2], pairs[3:5], mock=True)
    yield figures.draw_smoothing({0.0: pairs[0], 2.0: pairs[1]}, mock=True)
    yield figures.draw_robustness_matrix(pairs, {}, mock=True)
    yield figures.draw_suite_matrices(pairs, mock=True)
    yield figures.draw_null_tests({"maps": pairs[0], "mean map": pairs[1]}, mock=True)
    yield figures.draw_seed_spread(scores, layout=layout, mock=True)
    yield figures.draw_information({"own suite": curve}, layout=layout, mock=True)
    yield figures.draw_total_mass(np.linspace(1e11, 4e11, 40), one.theta, fit, layout, mock=True)


def test_figures_are_about_the_cosmological_parameters_or_all_where_there_is_none(layout, pairs, texts, symbols):
    for figure in drawn(layout, pairs):
        figure.draw_without_rendering()
        told = " ".join(texts(figure))
        assert all(symbol.strip("$") in told for symbol in symbols)
        others = {f"${parameter.symbol}$" for parameter in layout.parameters} - set(symbols)
        assert not any(symbol in texts(figure) for symbol in others)


def test_the_calibration_of_many_shows_twelve_cosmological_ones_first_and_says_so(layout, pairs):
    figure = figures.draw_calibration({pair.name: pair.predictions for pair in pairs[:2]}, mock=True)
    shown = [panel.texts[0].get_text() for panel in figure.axes if panel.get_visible()]
    title = figure.legends[0].get_title().get_text()
    if layout.n_parameters <= 12:
        assert shown == [f"${parameter.symbol}$" for parameter in layout.parameters]
        assert not title
    else:
        first = (*layout.cosmological, *(each for each in layout.parameters if not each.cosmological))[:12]
        assert shown == [f"${parameter.symbol}$" for parameter in first]
        assert title == "12 of 28 parameters, cosmological ones first"


def test_few_parameters_keep_their_order():
    assert choose_parameters(CAMELS_PARAMETERS[::-1]) == CAMELS_PARAMETERS[::-1]


def test_parameters_are_matched_by_name_between_predictions_of_other_columns():
    one = answers(replace(Layout(), parameters=CAMELS_PARAMETERS), "A", "A")
    other = answers(replace(Layout(), parameters=(*OF_SUITES, CAMELS_PARAMETERS[1])), "B", "A", 1)
    figure = figures.draw_four_pairs([one, other], mock=True)
    assert len(figure.axes) == 2
    for panel, pair, column in zip(figure.axes, (one, other), (1, 8), strict=True):
        assert np.array_equal(panel.lines[1].get_xdata(), pair.predictions.theta[:, column])
    calibration = figures.draw_calibration({"one": one.predictions, "other": other.predictions}, mock=True)
    assert len(calibration.axes) == 1


def test_predictions_without_a_parameter_in_common_are_refused():
    one, other = (
        answers(replace(Layout(), parameters=CAMELS_PARAMETERS[part]), "A", "B") for part in (slice(2), slice(2, 3))
    )
    with pytest.raises(UserError, match="no parameter that all pairs have"):
        figures.draw_four_pairs([one, other], mock=True)


def test_a_parameter_without_a_truth_has_empty_panels_and_undefined_numbers(texts):
    pair = answers(replace(Layout(), parameters=CAMELS_PARAMETERS[2:4]), "A", "B")
    theta = pair.predictions.theta.copy()
    theta[:, 1] = np.nan
    predictions = replace(pair.predictions, theta=theta)
    unknown = PairResult("A", "B", predictions, evaluate(predictions, 10))
    figure = figures.draw_four_pairs([unknown], mock=True)
    figure.draw_without_rendering()
    assert sum("undefined" in text for text in texts(figure)) == 3
    fraction, low, high = figures.coverage(predictions, np.array([1.0, 2.0]))
    assert np.isnan([fraction[:, 1], low[:, 1], high[:, 1]]).all()
    assert np.isfinite([fraction[:, 0], low[:, 0], high[:, 0]]).all()
    for draw in (figures.draw_null_tests, figures.draw_smoothing):
        draw({1.0: unknown}, mock=True).draw_without_rendering()
    figures.draw_calibration({"one": predictions}, mock=True).draw_without_rendering()
