from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.figures.kept_fractions import APART, BESIDE, Answer, draw_kept_fractions
from fieldlevel.layout import Layout

TWO = Layout().select(["Omega_m", "sigma_8"])


def answer(density, error, is_random=True, scatter=0.01):
    return Answer(density, is_random, dict.fromkeys(TWO.names, (error, scatter, 0.02)))


PLAIN = [answer(1.0, 0.0), answer(0.5, 0.1), answer(0.25, 0.2), answer(8.0, -0.1, is_random=False)]
REMEDIED = [answer(1.0, 0.01), answer(0.5, 0.02, scatter=np.nan)]
BOTH = {suite: {"trained on LH": PLAIN, "trained on LHthinned": REMEDIED} for suite in ("A", "B")}


def test_a_row_a_suite_and_a_column_a_parameter():
    figure = draw_kept_fractions(BOTH, TWO, mock=True)
    assert len(figure.axes) == 4
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["A", "", "B", ""]
    assert "sigma_8" in figure.axes[1].get_ylabel()


def test_random_parts_are_joined_and_the_others_stand_alone():
    panel = draw_kept_fractions(BOTH, TWO, mock=True).axes[0]
    joined, alone, remedied = (each.lines[0] for each in panel.containers)
    assert np.allclose(joined.get_ydata(), [0.2, 0.1, 0.0])
    assert joined.get_linestyle() == "-"
    assert np.allclose(alone.get_ydata(), [-0.1])
    assert alone.get_linestyle() in ("None", "")
    assert alone.get_markerfacecolor() == "white"
    assert np.allclose(remedied.get_ydata(), [0.02, 0.01])
    assert remedied.get_xdata()[1] > joined.get_xdata()[2]


def test_bars_are_the_scatter_and_bands_the_claim():
    panel = draw_kept_fractions({"A": {"trained on LH": PLAIN[:3]}}, TWO, mock=True).axes[0]
    (bars,) = panel.containers[0].lines[2]
    assert np.ptp(bars.get_segments()[0][:, 1]) == pytest.approx(0.02)
    band = panel.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(0.22)
    assert band[:, 1].min() == pytest.approx(-0.02)


def test_fractions_stand_below_the_axis(texts):
    written = texts(draw_kept_fractions(BOTH, TWO, mock=True))
    assert {"1/4", "1/2", "1", "8", "MOCK DATA"} <= set(written)
    assert "MOCK DATA" not in texts(draw_kept_fractions(BOTH, TWO, mock=False))
    assert {"trained on LH", "trained on LHthinned"} <= set(written)


def test_sets_of_one_number_of_particles_stand_beside_one_another(texts):
    """Those that are no random part with their marks, in every panel at one place for all networks."""
    others = [replace(answer(0.125, 0.1 * place, False), mark=mark) for place, mark in enumerate(("lattice", "128³"))]
    networks = {"trained on LH": [*PLAIN, answer(0.125, 0.3), *others], "trained on LHthinned": others}
    figure = draw_kept_fractions({"A": networks}, TWO, mock=True)
    panel = figure.axes[0]
    joined, alone, _ = (each.lines[0] for each in panel.containers)
    at = dict(zip(np.round(alone.get_ydata(), 3), alone.get_xdata(), strict=True))
    random = joined.get_xdata()[0]
    apart = np.exp(APART)
    assert at[0.1] / random == pytest.approx(apart)
    assert random / at[0.0] == pytest.approx(apart)
    assert at[-0.1] / random == pytest.approx(64)
    marks = {each.get_text(): each.get_position()[0] for each in panel.texts}
    assert set(marks) == {"lattice", "128³"}
    assert marks["128³"] == pytest.approx(at[0.1] * np.exp(BESIDE / 2))
    low, high = panel.get_xlim()
    assert low < min(at.values()) < max(at.values()) < high
    assert texts(figure).count("lattice") == 2


def test_nothing_is_refused():
    for answers in ({}, {"A": {}}, {"A": {"trained on LH": []}}):
        with pytest.raises(UserError, match="figure: no"):
            draw_kept_fractions(answers, TWO, mock=True)
