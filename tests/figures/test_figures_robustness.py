import numpy as np
import pytest
from matplotlib.colors import to_rgb

from fieldlevel.figures import draw_robustness_matrix
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.ratios import transfer_ratios


@pytest.fixture(scope="module")
def pairs(four, pair):
    return [*four, pair("MockTNG", "Nbody_MockTNG", 20, bias=0.3)]


def ratio(value):
    return {"Omega_m": Estimate(value, 0.1, value, value), "sigma_8": Estimate(1.0, 0.1, 1.0, 1.0)}


TRANSFER = {
    "MockTNG → MockSIMBA": ratio(2.0),
    "MockSIMBA → MockTNG": ratio(0.5),
    "MockTNG → Nbody_MockTNG": ratio(100.0),
}


def cells(panel):
    return {text.get_position(): text for text in panel.texts}


def test_rows_are_training_suites_and_colours_their_ratios(pairs):
    omega_m, sigma_8 = draw_robustness_matrix(pairs, TRANSFER, mock=True).axes[:2]
    assert [label.get_text() for label in omega_m.get_yticklabels()] == ["MockTNG", "MockSIMBA"]
    assert [label.get_text() for label in sigma_8.get_xticklabels()] == ["MockTNG", "MockSIMBA", "N-body\nMockTNG"]
    shown = np.ma.filled(omega_m.images[0].get_array(), np.nan)
    assert np.array_equal(shown, [[1, 2, 100], [0.5, 1, np.nan]], equal_nan=True)


def test_cells_hold_bias_rmse_and_ratio_with_errors(pairs):
    """All in units of the parameter: the ratio is that of the number above it, and so is the colour."""
    figure = draw_robustness_matrix(pairs, TRANSFER, mock=True)
    panel = figure.axes[1]
    scores = pairs[1].scores["sigma_8"]
    assert cells(panel)[1, 0].get_text().splitlines() == [
        f"bias {scores['bias'].text()}",
        f"RMSE {scores['rmse'].text()}",
        "ratio 1.00 ± 0.10",
    ]
    assert cells(panel)[0, 0].get_text().endswith("own suite")
    assert (2, 1) not in cells(panel)
    assert figure.axes[2].get_ylabel() == "ratio = RMSE / RMSE on own suite"


def test_the_ratio_is_that_of_the_rmse_in_the_cells(four):
    panel = draw_robustness_matrix(four, transfer_ratios(four, 20), mock=True).axes[0]
    own, other = (cells(panel)[column, 0].get_text().splitlines() for column in (0, 1))
    rmse = [float(lines[1].split()[1]) for lines in (own, other)]
    assert float(other[2].split()[1]) == pytest.approx(rmse[1] / rmse[0], rel=0.03)


def test_what_was_not_tested_is_hatched(pairs):
    assert draw_robustness_matrix(pairs, TRANSFER, mock=True).axes[0].patch.get_hatch()


def test_one_is_the_middle_of_the_colours(pairs):
    image = draw_robustness_matrix(pairs, TRANSFER, mock=True).axes[0].images[0]
    assert image.norm(1.0) == pytest.approx(0.5)
    assert image.norm(2.0) + image.norm(0.5) == pytest.approx(1)
    assert image.get_clim()[1] == 16


def test_text_stands_out_from_its_cell(pairs):
    panel = draw_robustness_matrix(pairs, TRANSFER, mock=True).axes[0]
    assert to_rgb(cells(panel)[0, 0].get_color()) == (0, 0, 0)
    assert to_rgb(cells(panel)[2, 0].get_color()) == (1, 1, 1)


def test_an_undefined_ratio_leaves_the_cell_without_colour(pairs):
    broken = PairResult("MockSIMBA", "Nbody_MockSIMBA", pairs[0].predictions, pairs[0].scores)
    transfer = {broken.name: ratio(np.inf)}
    panel = draw_robustness_matrix([pairs[3], broken], transfer, mock=True).axes[0]
    assert "ratio ∞" in cells(panel)[1, 0].get_text()


@pytest.mark.parametrize(("ratio", "ends"), [(3.0, (1, 4)), (0.3, (0.25, 4)), (40.0, (1, 16)), (0.02, (1 / 16, 16))])
def test_the_colour_bar_has_the_colours_in_use_alone(pairs, ratio, ends):
    """The colours themselves stay symmetric about 1."""
    crossing = next(pair for pair in pairs if pair.crosses_suites)
    transfer = {crossing.name: {name: Estimate(ratio, 0.1, 0, 0) for name in ("Omega_m", "sigma_8")}}
    *panels, bar = draw_robustness_matrix([crossing], transfer, mock=True).axes
    norm = panels[0].images[0].norm
    assert norm.vmin * norm.vmax == pytest.approx(1)
    assert np.allclose(bar.get_ylim(), ends)
