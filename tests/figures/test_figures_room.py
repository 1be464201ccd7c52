"""Letters of many suites and of long names: nothing overlaps, nothing is cut off."""

from itertools import pairwise, product

import numpy as np
import pytest
from matplotlib.figure import Figure

from fieldlevel.figures.scale_curves import draw_information
from fieldlevel.figures.style import columns_that_fit, styled, turn_labels
from fieldlevel.figures.suite_matrix import MATRIX, frame_matrix
from fieldlevel.statistics.estimates import Estimate

SUITES = {
    "two": ("MockTNG", "MockSIMBA"),
    "three": ("IllustrisTNG", "My_Suite.long-name", "Obsidian"),
    "four": ("IllustrisTNG", "SIMBA", "Astrid", "Magneticum"),
}


def information(suites):
    row = {name: Estimate(0.1, 0.01, 0.09, 0.11) for name in ("Omega_m", "sigma_8")}
    curve = [(scale, row) for scale in (5.0, 10.0, np.inf)]
    pairs = [f"{one} → {other}" for one, other in product(suites, repeat=2)]
    return draw_information(dict.fromkeys(pairs, curve), "k_max", k_end=45.0, mock=True)


@pytest.mark.parametrize("suites", SUITES.values(), ids=SUITES)
def test_the_legend_of_all_pairs_is_inside_the_figure(suites):
    figure = information(suites)
    with styled():
        figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("suites", SUITES.values(), ids=SUITES)
def test_no_curve_is_beyond_the_panel(suites):
    for panel in information(suites).axes[:2]:
        low, high = panel.get_xlim()
        at = np.concatenate([line.get_xdata() for line in panel.lines if len(line.get_xdata()) > 0])
        at = at[at > 1]  # lines across the panel are in units of its width
        assert low < at.min()
        assert at.max() < high


@pytest.mark.parametrize("suites", SUITES.values(), ids=SUITES)
@pytest.mark.parametrize("n_abreast", [1, 2])
def test_names_below_a_matrix_do_not_overlap(suites, n_abreast):
    with styled():
        figure = Figure(figsize=(7.1, 4.0), layout="none")
        panel = figure.add_axes((0.2, 0.3, MATRIX / n_abreast, 0.6))
        panel.imshow(np.zeros((len(suites),) * 2), aspect="auto")
        frame_matrix(panel, suites, suites)
        turn_labels(panel, suites, MATRIX * 7.1 / n_abreast / len(suites))
        figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in panel.get_xticklabels()]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_a_legend_has_as_many_columns_as_fit():
    assert columns_that_fit(["A → A"] * 9) == 3
    assert columns_that_fit(["A" * 40 + " → " + "B" * 40] * 9) == 1
    assert columns_that_fit(["A"]) == 1
