import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.figures import draw_null_tests, draw_total_mass
from fieldlevel.layout import CAMELS_PARAMETERS

NAMES = ("original maps", "mean maps", "shuffled pixels", "random phases", "no monopole", "permuted labels", "PDF")


def dots(panel):
    """Within, below and above the panel."""
    return {line.get_marker(): np.array(line.get_data()) for line in panel.lines[1:]}


@pytest.fixture(scope="module")
def results(pair):
    return {name: pair("MockTNG", "MockTNG", 10, seed=i, bias=3.0 * (i == 2)) for i, name in enumerate(NAMES)}


def shown_panels(figure):
    return [panel for panel in figure.axes if panel.get_visible()]


def test_every_test_has_a_column_with_omega_m_above_sigma_8(results):
    five = {name: results[name] for name in NAMES[:5]}
    panels = np.array(draw_null_tests(five, mock=True).axes).reshape(2, 5)
    assert [panel.get_title().splitlines()[0] for panel in panels[0]] == list(NAMES[:5])
    for row, column in zip(panels, (0, 1), strict=True):
        predictions = results[NAMES[3]].predictions
        assert np.allclose(dots(row[3])["."], [predictions.theta[:, column], predictions.mean[:, column]])
        assert CAMELS_PARAMETERS[column].symbol in row[3].get_xlabel()


def test_r2_stands_above_the_panel_where_it_hides_nothing_and_the_diagonal_is_drawn(results):
    panels = np.array(draw_null_tests({NAMES[0]: results[NAMES[0]]}, mock=True).axes)
    for panel, parameter in zip(panels, ("Omega_m", "sigma_8"), strict=True):
        assert panel.get_title().endswith(f"= {results[NAMES[0]].scores[parameter]['r2'].text(with_error=False)}")
        assert not panel.texts
        assert np.array_equal(panel.lines[0].get_xdata(), panel.lines[0].get_ydata())


def test_means_far_outside_the_prior_are_not_lost(results):
    panel = draw_null_tests({NAMES[2]: results[NAMES[2]]}, mock=True).axes[0]
    assert dots(panel)["^"].shape[1] == 150
    assert dots(panel)["."].shape[1] == 0


def test_more_tests_than_fit_begin_another_block(results):
    figure = draw_null_tests(results, mock=True)
    titles = [panel.get_title().splitlines() for panel in shown_panels(figure)]
    assert [lines[0] for lines in titles if len(lines) > 1] == list(NAMES)
    assert len(shown_panels(figure)) == 14


def mass_of_maps():
    rng = np.random.default_rng(0)
    theta = np.tile([0.0, 0.8, 1, 1, 1, 1], (50, 1))
    theta[:, 0] = rng.permutation(np.linspace(0.1, 0.5, 50))
    return 1.4e12 * theta[:, 0], theta, np.stack([theta[:, 0], np.full(50, 0.8)], axis=1)


def test_a_mean_that_knows_omega_m_is_a_line_with_correlation_one():
    density, theta, fit = mass_of_maps()
    panel = draw_total_mass(density, theta, fit, mock=True).axes[0]
    scatter, guess = panel.lines
    assert np.allclose(np.sort(scatter.get_xdata()), np.sort(density / 1e11))
    assert np.allclose(scatter.get_ydata() * 14, scatter.get_xdata())
    assert (np.diff(guess.get_xdata()) > 0).all()
    assert np.allclose(guess.get_ydata() * 14, guess.get_xdata())
    text = panel.texts[0].get_text()
    assert text.startswith("$r$ = 1,")
    assert "= 0%" in text
    assert text.endswith("= 1")
    assert "monotone" in guess.get_label()


def test_correlation_keeps_its_sign_and_is_undefined_for_a_constant():
    density, theta, fit = mass_of_maps()
    omega_m, sigma_8 = draw_total_mass(-density, theta, fit, mock=True).axes
    assert "$r$ = −1," in omega_m.texts[0].get_text()
    assert "$r$ = undefined," in sigma_8.texts[0].get_text()


def test_arrays_of_other_lengths_are_refused():
    density, theta, fit = mass_of_maps()
    with pytest.raises(UserError, match="give one row a map"):
        draw_total_mass(density, theta, fit[:-1], mock=True)
