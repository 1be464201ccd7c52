import numpy as np
import pytest
from matplotlib.colors import to_hex

from fieldlevel.errors import UserError
from fieldlevel.figures import choose_maps, draw_information, draw_losses, draw_smoothing, draw_smoothing_pairs
from fieldlevel.figures.scale_curves import BETWEEN_CURVES, N_SMOOTHED_SHOWN
from fieldlevel.figures.style import ink
from fieldlevel.statistics.estimates import Estimate


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
            assert to_hex(text.get_color()) == to_hex(ink(points.get_color()))
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
    assert np.allclose(points.get_xdata(), [0, 1, 2], atol=0.05)
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


CUT = [(np.inf, row(0.03, 0.02)), (1.0, row(0.2, 0.1)), (10.0, row(0.1, 0.05))]


def labels_above(panel):
    """Ticks of the axis above a panel."""
    (axis,) = panel.child_axes
    ticks = zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
    return {float(place): label.get_text() for place, label in ticks}


def test_maps_without_a_cut_stand_open_and_alone_where_they_end():
    panel = draw_information({"own suite": CUT}, "k_max", k_end=11.4, mock=True).axes[0]
    joined, alone = (container.lines[0] for container in panel.containers)
    assert np.allclose(joined.get_xydata(), [[1, 20], [10, 10]])
    assert np.allclose(alone.get_xydata(), [[11.4, 3]])
    assert to_hex(alone.get_markerfacecolor()) == "#ffffff" != to_hex(joined.get_markerfacecolor())
    assert labels_above(panel) == {11.4: "no cut: 11.4"}
    assert panel.get_xscale() == "log"
    assert "max" in panel.get_xlabel()


def test_wavenumbers_below_a_panel_are_plain_numbers():
    panel = draw_information({"own suite": CUT}, "k_max", k_end=11.4, mock=True).axes[0]
    low, high = panel.get_xlim()
    panel.figure.draw_without_rendering()
    shown = [label for label in panel.get_xticklabels() if low < label.get_position()[0] < high]
    assert [label.get_text() for label in shown] == ["1", "2", "5", "10"]


def test_curves_stand_beside_one_another_in_their_order_on_any_axis():
    for scale, at in (("smoothing", (0.0, 2.0)), ("k_max", (1.0, 10.0))):
        curves = {name: [(each, row(0.1, 0.1)) for each in at] for name in "abc"}
        panel = draw_information(curves, scale, mock=True).axes[0]
        places = np.array([container.lines[0].get_xdata() for container in panel.containers])
        assert np.allclose(places[1], at)
        on_paper = panel.transAxes.inverted().transform(panel.transData.transform(np.c_[places.ravel(), np.ones(6)]))
        distance = np.diff(on_paper[:, 0].reshape(3, 2), axis=0)
        assert np.allclose(distance, BETWEEN_CURVES)


def test_curves_of_one_cut_stand_nearer_to_one_another_than_to_the_next_cut():
    """40 h/Mpc and the end of 256 pixels, 45.5 h/Mpc, are a twentieth of a panel apart."""
    curve = [(cut, row(0.05, 0.03)) for cut in (5.0, 10.0, 20.0, 40.0, np.inf)]
    panel = draw_information({str(n): curve for n in range(4)}, "k_max", k_end=45.5, mock=True).axes[0]
    drawn = np.array([container.lines[0].get_xdata() for container in panel.containers[::2]])
    alone = np.array([container.lines[0].get_xdata()[0] for container in panel.containers[1::2]])
    places = np.log(np.column_stack([drawn, alone]))
    assert np.ptp(places, axis=0).max() < 0.5 * np.diff(places.mean(axis=0)).min()
    assert (np.diff(places, axis=0) > 0).all()


def test_losses_end_where_the_maps_of_each_curve_end_with_the_published_ones_dashed():
    curve, published = {np.inf: -6.0, 2.0: -3.0, 5.0: -4.0}, {1.0: -8.0, 7.0: -9.0, np.inf: -12.0}
    panel = draw_losses({"mine": curve}, {"theirs": published}, {"mine": 5.7, "theirs": 45.5}, mock=True).axes[0]
    mine, uncut, theirs, their_uncut = panel.lines
    assert mine.get_xydata().tolist() == [[2.0, -3.0], [5.0, -4.0]]
    assert uncut.get_xydata().tolist() == [[5.7, -6.0]]
    assert theirs.get_xydata().tolist() == [[1.0, -8.0], [7.0, -9.0]]
    assert their_uncut.get_xydata().tolist() == [[45.5, -12.0]]
    assert (mine.get_linestyle(), theirs.get_linestyle()) == ("-", "--")
    assert {line.get_linestyle() for line in (uncut, their_uncut)} == {"None"}
    assert {to_hex(line.get_markerfacecolor()) for line in (uncut, their_uncut)} == {"#ffffff"}
    assert labels_above(panel) == {5.7: "no cut: 5.7", 45.5: "no cut: 45.5"}


def test_maps_without_a_cut_need_the_wavenumber_where_they_end():
    with pytest.raises(UserError, match="own suite: maps without a cut; give the wavenumber where they end"):
        draw_information({"own suite": CUT}, "k_max", mock=True)
    with pytest.raises(UserError, match="theirs: maps without a cut"):
        draw_losses({"mine": {1.0: -1.0}}, {"theirs": {np.inf: -1.0}}, {"mine": 3.0}, mock=True)


def test_measures_that_are_no_fractions_keep_their_scale():
    panel = draw_information({"own suite": OWN}, metric="rmse", mock=True).axes[0]
    assert np.allclose(panel.containers[0].lines[0].get_ydata(), [0.03, 0.05, 0.06])
    assert "%" not in panel.get_ylabel()


@pytest.mark.parametrize("wrong", [{"scale": "pixels"}, {"metric": "mse"}])
def test_unknown_scales_and_measures_are_refused(wrong):
    with pytest.raises(UserError, match="choose from smoothing, k_max and rmse"):
        draw_information({"own suite": OWN}, mock=True, **wrong)
