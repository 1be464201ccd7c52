import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_rgb

from fieldlevel.errors import UserError
from fieldlevel.figures import draw_suite_matrices
from fieldlevel.layout import Layout
from fieldlevel.statistics.transfer_matrix import transfer_matrix


def many(pair, n):
    """Networks of n suites: biased by 5% of the prior and overconfident away from home."""
    suites = [f"Suite{number}" for number in range(n)]
    return [
        pair(a, b, 6, seed=n * i + j, bias=0.05 * (j - i), claimed=1.0 if i == j else 0.5)
        for i, a in enumerate(suites)
        for j, b in enumerate(suites)
    ]


@pytest.fixture(scope="module")
def three(pair):
    return many(pair, 3)


def cells(panel):
    """Text of each cell by its row and column."""
    return {text.get_position()[::-1]: text for text in panel.texts}


def panels_of(figure):
    return np.array([panel for panel in figure.axes if panel.images]).reshape(3, 2)


def first_number(text):
    return float(text.split()[0].replace("−", "-"))


def test_a_row_a_measure_and_a_column_a_parameter_with_its_numbers_in_the_cells(three):
    matrix = transfer_matrix(three)
    panels = panels_of(draw_suite_matrices(three, matrix, mock=True))
    for column, (name, width) in enumerate({"Omega_m": 0.4, "sigma_8": 0.4}.items()):
        for i, train in enumerate(("Suite0", "Suite1", "Suite2")):
            for j, test in enumerate(("Suite0", "Suite1", "Suite2")):
                cell = matrix[train, test][name]
                texts = [cells(panel)[i, j].get_text() for panel in panels[:, column]]
                assert first_number(texts[0]) == pytest.approx(100 * cell.bias.value / width, rel=0.05, abs=0.05)
                assert first_number(texts[1]) == pytest.approx(cell.rmse_ratio.value, abs=0.005)
                assert first_number(texts[2]) == pytest.approx(cell.reduced_chi2.value, rel=0.005, abs=0.005)
                assert [panel.images[0].get_array()[i, j] for panel in panels[:, column]] == pytest.approx(
                    [100 * cell.bias.value / width, cell.rmse_ratio.value, cell.reduced_chi2.value]
                )


def test_the_ideal_is_the_middle_of_the_colours_which_a_row_shares(three):
    panels = panels_of(draw_suite_matrices(three, mock=True))
    for row, ideal in zip(panels, (0.0, 1.0, 1.0), strict=True):
        assert row[0].images[0].norm is row[1].images[0].norm
        assert row[0].images[0].norm(ideal) == pytest.approx(0.5)
        assert isinstance(row[0].images[0].norm, LogNorm) == (ideal == 1)
        assert {panel.images[0].get_cmap().name for panel in row} == {"PuOr_r"}


def test_numbers_stand_out_from_their_cells(three):
    panel = panels_of(draw_suite_matrices(three, mock=True))[0, 0]
    assert to_rgb(cells(panel)[1, 1].get_color()) == (0, 0, 0)
    assert to_rgb(cells(panel)[0, 2].get_color()) == (1, 1, 1)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_from_two_to_eight_suites_the_numbers_fit_into_their_cells(pair, n):
    pairs = many(pair, n)
    figure = draw_suite_matrices(pairs, transfer_matrix(pairs, 10), mock=True)
    figure.draw_without_rendering()
    for panel in panels_of(figure).ravel():
        box = panel.get_window_extent()
        assert len(panel.texts) == n * n
        for text in panel.texts:
            extent = text.get_window_extent()
            assert extent.width < box.width / n
            assert extent.height < box.height / n


def test_only_few_suites_have_room_for_errors(pair):
    for n, has_errors in ((2, True), (5, False)):
        pairs = many(pair, n)
        panel = panels_of(draw_suite_matrices(pairs, transfer_matrix(pairs, 10), mock=True))[2, 0]
        assert all(("±" in text.get_text()) == has_errors for text in panel.texts)


def test_what_was_not_tested_is_hatched_and_what_is_undefined_a_dash(three):
    panels = panels_of(draw_suite_matrices(three[:2], mock=True))
    assert set(cells(panels[0, 0])) == {(0, 0), (0, 1)}
    assert cells(panels[1, 0])[0, 1].get_text() == "–"
    panels = panels_of(draw_suite_matrices([three[0], three[4]], mock=True))
    assert set(cells(panels[0, 0])) == {(0, 0), (1, 1)}
    assert panels[0, 0].patch.get_hatch()


def test_other_parameters_may_be_asked_for(three):
    figure = draw_suite_matrices(three, names=["A_SN2", "sigma_8"], mock=True)
    symbols = [parameter.symbol for parameter in Layout().select(["A_SN2", "sigma_8"]).parameters]
    assert [panel.get_title() for panel in panels_of(figure)[0]] == [f"${symbol}$" for symbol in symbols]
    with pytest.raises(UserError, match="not all networks infer h; choose from Omega_m, sigma_8"):
        draw_suite_matrices(three, names=["h"], mock=True)
