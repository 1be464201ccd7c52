import numpy as np
import pytest
from matplotlib.colors import to_hex

from fieldlevel.errors import UserError
from fieldlevel.experiments.metrics import Estimate
from fieldlevel.figures import choose_maps, draw_information, draw_losses, draw_smoothing, draw_smoothing_pairs
from fieldlevel.figures.smoothing import N_SMOOTHED_SHOWN


@pytest.fixture(scope="module")
def smoothed(pair):
    return {float(pixels): pair("MockTNG", "MockTNG", width=0.02 * (1 + pixels)) for pixels in (3, 1, 0, 2)}


def row(omega_m, sigma_8, error=0.01):
    return {name: Estimate(value, error, value, value) for name, value in (("Omega_m", omega_m), ("sigma_8", sigma_8))}


OWN = [(2.0, row(0.06, 0.03)), (0.0, row(0.03, 0.02)), (1.0, row(0.05, 0.025))]
OTHER = [(0.0, row(0.04, 0.03)), (2.0, row(0.07, 0.04, np.nan))]


def test_accuracies_are_written_in_the_colours_of_their_smoothings(smoothed):
    panels = draw_smoothing(smoothed, mock=True).axes
    for panel, name in zip(panels, ("Omega_m", "sigma_8"), strict=True):
        written = panel.get_legend().get_texts()
        drawn = [container.lines[0] for container in panel.containers]
        for pixels, text, points in zip(range(4), written, drawn, strict=True):
            accuracy = smoothed[pixels].scores[name]["mean_relative_std"].text(percent=True, with_error=False)
            assert text.get_text().startswith(f"{pixels} px:")
            assert text.get_text().endswith(f"= {accuracy}")
            assert to_hex(text.get_color()) == to_hex(points.get_color())
        assert len({points.get_color() for points in drawn}) == len({points.get_marker() for points in drawn}) == 4


def test_smoothings_stand_side_by_side_around_the_truth(smoothed):
    panel = draw_smoothing(smoothed, mock=True).axes[0]
    predictions = smoothed[0.0].predictions
    chosen = choose_maps(predictions, N_SMOOTHED_SHOWN)
    places = np.array([container.lines[0].get_xdata() for container in panel.containers])
    assert places.shape == (4, N_SMOOTHED_SHOWN)
    assert np.allclose(places.mean(axis=0), predictions.theta[chosen, 0])
    assert (np.diff(places, axis=0) > 0).all()
    assert np.ptp(places, axis=0).max() < 0.01
    assert np.allclose(panel.containers[0].lines[0].get_ydata(), (predictions.mean - predictions.theta)[chosen, 0])


def test_pairs_are_rows_with_one_scale(smoothed):
    results = {("MockTNG", "MockTNG"): smoothed, ("MockTNG", "MockSIMBA"): {0.0: smoothed[0.0]}}
    figure = draw_smoothing_pairs(results, mock=True)
    assert [panel.get_title("left") for panel in figure.axes[::2]] == [
        "trained on MockTNG, tested on MockTNG",
        "trained on MockTNG, tested on MockSIMBA",
    ]
    assert [len(panel.containers) for panel in figure.axes] == [4, 4, 1, 1]
    assert figure.axes[0].get_ylim() == figure.axes[2].get_ylim()


def test_information_is_drawn_in_per_cent_with_its_errors_from_coarse_to_fine():
    omega_m, sigma_8 = draw_information({"own suite": OWN, "other suite": OTHER}, mock=True).axes
    points, _, (bars,) = omega_m.containers[0].lines
    assert list(points.get_xdata()) == [0, 1, 2]
    assert np.allclose(points.get_ydata(), [3, 5, 6])
    assert np.allclose([segment[1, 1] - segment[0, 1] for segment in bars.get_segments()], 2)
    assert np.allclose(sigma_8.containers[1].lines[0].get_ydata(), [3, 4])
    assert omega_m.get_ylim()[0] == 0
    assert "%" in omega_m.get_ylabel()


def test_published_values_are_lines_within_the_panel():
    figure = draw_information({"own suite": OWN}, published={"the letter": {"Omega_m": 0.2}}, mock=True)
    omega_m, sigma_8 = figure.axes
    line = next(line for line in omega_m.lines if line.get_label() == "the letter")
    assert np.allclose(line.get_ydata(), 20)
    assert omega_m.get_ylim()[1] > 20
    assert not any(line.get_label() == "the letter" for line in sigma_8.lines)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["own suite", "the letter"]


def test_maps_without_a_cut_stand_beyond_the_largest_wavenumber():
    curve = [(np.inf, row(0.03, 0.02)), (1.0, row(0.2, 0.1)), (10.0, row(0.1, 0.05))]
    panel = draw_information({"own suite": curve}, "k_max", mock=True).axes[0]
    place = panel.containers[0].lines[0].get_xdata()
    assert list(place[:2]) == [1, 10]
    assert 10 < place[2] < 100
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "10", "no cut"]
    assert panel.get_xscale() == "log"
    assert "max" in panel.get_xlabel()


def test_losses_are_drawn_from_the_lowest_cut_to_none_with_the_published_ones_dashed():
    curve, published = {np.inf: -6.0, 2.0: -3.0, 5.0: -4.0}, {1.0: -8.0, np.inf: -12.0}
    panel = draw_losses({"mine": curve}, {"theirs": published}, mock=True).axes[0]
    mine, theirs = panel.lines
    assert mine.get_xydata().tolist() == [[2.0, -3.0], [5.0, -4.0], [8.0, -6.0]]
    assert theirs.get_xydata().tolist() == [[1.0, -8.0], [8.0, -12.0]]
    assert theirs.get_linestyle() == "--"
    assert [text.get_text() for text in panel.get_xticklabels()] == ["1", "2", "5", "no cut"]


def test_measures_that_are_no_fractions_keep_their_scale():
    panel = draw_information({"own suite": OWN}, metric="rmse", mock=True).axes[0]
    assert np.allclose(panel.containers[0].lines[0].get_ydata(), [0.03, 0.05, 0.06])
    assert "%" not in panel.get_ylabel()


@pytest.mark.parametrize("wrong", [{"scale": "pixels"}, {"metric": "mse"}])
def test_unknown_scales_and_measures_are_refused(wrong):
    with pytest.raises(UserError, match="choose from smoothing, k_max and rmse"):
        draw_information({"own suite": OWN}, mock=True, **wrong)
