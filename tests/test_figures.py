import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.text import Text

from fieldlevel.experiments.metrics import PairResult, Predictions, evaluate
from fieldlevel.figures import (
    N_SHOWN,
    choose_maps,
    draw_four_pairs,
    draw_maps,
    draw_training_history,
    save_figure,
)
from fieldlevel.parameters import MAXIMA, MINIMA

STEPS = np.array([100.0, 200.0, 300.0])
HISTORY = {"step": STEPS, "training_loss": -STEPS / 100, "validation_loss": np.array([-1.0, -3.0, -2.0])}


def predictions_of(simulation, seed=0):
    rng = np.random.default_rng(seed)
    n = len(simulation)
    theta = MINIMA + rng.random((n, 6)) * (MAXIMA - MINIMA)
    std = 0.05 * np.ones((n, 6))
    return Predictions(theta, theta + std * rng.normal(size=(n, 6)), std, np.asarray(simulation), np.arange(n))


def pair(train, test, n_simulations=60):
    predictions = predictions_of(np.repeat(np.arange(n_simulations), 15))
    return PairResult(train, test, predictions, evaluate(predictions, 50))


def examples():
    rng = np.random.default_rng(0)
    return {suite: 10 ** rng.normal(11, 0.3, (3, 16, 16)) for suite in ("MockTNG", "MockSIMBA")}


def draw_each(mock):
    yield draw_maps(examples(), mock=mock)
    yield draw_four_pairs([pair("MockTNG", "MockTNG"), pair("MockTNG", "MockSIMBA")], mock=mock)
    yield draw_training_history({"MockTNG": HISTORY}, mock=mock)


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def test_mock_figures_say_so_and_others_do_not():
    assert all("MOCK DATA" in texts(figure) for figure in draw_each(mock=True))
    assert not any("MOCK DATA" in texts(figure) for figure in draw_each(mock=False))


def test_maps_share_one_scale_with_a_unit_and_a_ruler():
    figure = draw_maps(examples(), box_size_mpc_h=50.0, mock=True)
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == 6
    assert len({image.get_clim() for image in images}) == 1
    assert images[0].get_extent() == [0, 50, 0, 50]
    assert any("Mpc" in text and "odot" in text for text in texts(figure))
    ruler = figure.axes[0].lines[0].get_xdata()
    assert ruler[1] - ruler[0] == pytest.approx(5)


def test_maps_are_drawn_by_suite_from_top_to_bottom():
    figure = draw_maps(examples(), mock=True)
    first, last = (next(a for a in figure.axes if a.get_ylabel() == s) for s in ("MockTNG", "MockSIMBA"))
    assert first.get_position().y0 > last.get_position().y0
    assert np.array_equal(first.images[0].get_array(), np.log10(examples()["MockTNG"][0]).T)


def test_error_bars_are_the_posterior_of_the_chosen_maps():
    shown = pair("MockTNG", "MockSIMBA")
    panel = draw_four_pairs([shown], mock=True).axes[1]
    points, _, (bars,) = panel.containers[0].lines
    chosen = choose_maps(shown.predictions, N_SHOWN)
    theta, residual = shown.predictions.theta[chosen, 1], (shown.predictions.mean - shown.predictions.theta)[chosen, 1]
    assert np.allclose(points.get_xdata(), theta)
    assert np.allclose(points.get_ydata(), residual)
    lengths = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
    assert np.allclose(lengths, 2 * shown.predictions.std[chosen, 1])


def test_every_tested_map_is_a_dot_and_zero_a_line():
    panel = draw_four_pairs([pair("MockTNG", "MockTNG")], mock=True).axes[0]
    zero, dots = panel.lines[:2]
    assert list(zero.get_ydata()) == [0, 0]
    assert len(dots.get_xdata()) == 900


def test_panels_hold_their_numbers():
    shown = pair("MockTNG", "MockSIMBA")
    panel = draw_four_pairs([shown], mock=True).axes[0]
    scores = shown.scores["Omega_m"]
    numbers = [text.get_text().split("= ")[1] for text in panel.texts]
    assert numbers == [
        scores["rms_relative_error"].text(percent=True, with_error=False),
        scores["r2"].text(with_error=False),
        scores["reduced_chi2"].text(with_error=False),
    ]


def test_chosen_maps_come_from_different_simulations():
    predictions = predictions_of(np.random.default_rng(1).permutation(np.repeat(np.arange(50), 15)))
    chosen = choose_maps(predictions, 40)
    assert len(np.unique(predictions.simulation[chosen])) == len(chosen) == 40
    assert np.array_equal(chosen, choose_maps(predictions, 40))
    assert len(np.unique(predictions.map_index[chosen] % 15)) > 5


def test_few_simulations_give_as_even_a_choice_as_possible():
    predictions = predictions_of(np.repeat([4, 9, 11], [15, 15, 2]))
    counts = np.unique(predictions.simulation[choose_maps(predictions, 20)], return_counts=True)[1]
    assert sorted(counts) == [2, 9, 9]
    assert np.array_equal(choose_maps(predictions, 100), np.arange(32))


def test_history_marks_the_lowest_validation_loss():
    panel = draw_training_history({"MockTNG": HISTORY}, mock=True).axes[0]
    assert (200.0, -3.0) in [(x[0], y[0]) for x, y in (line.get_data() for line in panel.lines) if len(x) == 1]
    assert "MockTNG: lowest −3.00" in [text.get_text() for text in panel.get_legend().get_texts()]


def test_saved_figures_are_the_same_bytes_every_time(tmp_path):
    once = save_figure(draw_training_history({"MockTNG": HISTORY}, mock=True), tmp_path / "once")
    again = save_figure(draw_training_history({"MockTNG": HISTORY}, mock=True), tmp_path / "again")
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.pdf", "again.png", "once.pdf", "once.png"]
    assert b"CreationDate" not in once[0].read_bytes()
    assert once[1].read_bytes().startswith(b"\x89PNG")


def test_a_dot_in_the_name_is_not_a_suffix(tmp_path):
    paths = save_figure(draw_training_history({"MockTNG": HISTORY}, mock=True), tmp_path / "z=0.00")
    assert [path.name for path in paths] == ["z=0.00.pdf", "z=0.00.png"]


def test_drawing_leaves_the_callers_style_alone():
    before = dict(mpl.rcParams)
    list(draw_each(mock=True))
    assert dict(mpl.rcParams) == before


def test_figures_need_neither_pyplot_nor_torch():
    code = "import sys, fieldlevel.figures; sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
