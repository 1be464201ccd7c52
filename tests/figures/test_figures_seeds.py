import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.figures import draw_seed_spread
from fieldlevel.statistics.estimates import Estimate


def seed(value):
    return {name: {"rmse": Estimate(value, 0.0, 0.0, 0.0)} for name in ("Omega_m", "sigma_8")}


SCORES = {"a → a": [seed(0.01), seed(0.02), seed(0.06)], "a → b": [seed(0.05)]}


def test_every_seed_is_a_dot_below_mean_and_spread():
    panel = draw_seed_spread(SCORES, "rmse", mock=True).axes[0]
    dots = next(line for line in panel.lines if len(line.get_xdata()) == 3)
    assert np.allclose(dots.get_xdata(), [0.01, 0.02, 0.06])
    mean, _, (bar,) = panel.containers[0].lines
    assert mean.get_xdata()[0] == pytest.approx(0.03)
    ends = bar.get_segments()[0][:, 0]
    assert ends[1] - ends[0] == pytest.approx(2 * np.std([0.01, 0.02, 0.06], ddof=1))
    assert panel.texts[0].get_text() == "0.030 ± 0.026"


def test_one_seed_has_no_spread():
    panel = draw_seed_spread(SCORES, "rmse", mock=True).axes[1]
    assert panel.texts[1].get_text() == "0.05"


def test_pairs_stand_in_their_order_from_top_to_bottom():
    panel = draw_seed_spread(SCORES, "rmse", mock=True).axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["a → a", "a → b"]
    assert panel.yaxis_inverted()


def test_fractions_are_shown_in_per_cent(four):
    panel = draw_seed_spread({"pair": [four[0].scores]}, mock=True).axes[0]
    shown = panel.containers[0].lines[0].get_xdata()[0]
    assert shown == pytest.approx(100 * four[0].scores["Omega_m"]["rms_relative_error"].value)
    assert "%" in panel.get_xlabel()


def test_unknown_measures_are_refused():
    with pytest.raises(UserError, match="no measure 'mse'; choose from rmse"):
        draw_seed_spread(SCORES, "mse", mock=True)


def test_no_seed_covers_another_and_numbers_stand_beside_the_panel():
    panel = draw_seed_spread({"a → a": [seed(0.02)] * 5}, "rmse", mock=True).axes[0]
    heights = next(line for line in panel.lines if len(line.get_xdata()) == 5).get_ydata()
    assert (np.diff(heights) > 0.08).all()
    mean = panel.containers[0].lines[0].get_ydata()[0]
    assert mean < heights.min() + 0.2
    assert panel.texts[0].get_transform() == panel.get_yaxis_transform()
    assert panel.texts[0].get_position()[0] > 1
