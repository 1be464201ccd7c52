import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from fieldlevel import figures
from fieldlevel.errors import UserError
from fieldlevel.figures import style
from fieldlevel.figures.style import colours_and_markers, plot_within, save_plot
from fieldlevel.layout import CAMELS_PARAMETERS
from fieldlevel.statistics.estimates import Estimate

STEPS = np.array([100.0, 200.0, 300.0])
HISTORY = {"step": STEPS, "training_loss": -STEPS / 100, "validation_loss": np.array([-1.0, -3.0, -2.0])}


def draw_each(four, examples, mock):
    one, other = four[:2]
    theta = one.predictions.theta
    error = Estimate(0.1, 0.01, 0.09, 0.11)
    curve = [(scale, {"Omega_m": error, "sigma_8": error}) for scale in (0.0, 1.0)]
    yield figures.draw_maps(examples, mock=mock)
    yield figures.draw_four_pairs([one, other], mock=mock)
    yield figures.draw_training_history({"MockTNG": HISTORY}, mock=mock)
    yield figures.draw_transfer([one], [other], mock=mock)
    yield figures.draw_smoothing({0.0: one, 1.0: other}, mock=mock)
    yield figures.draw_smoothing_pairs({("a", "b"): {0.0: one}, ("b", "a"): {0.0: other}}, mock=mock)
    yield figures.draw_robustness_matrix(four, {}, mock=mock)
    yield figures.draw_suite_matrices(four, mock=mock)
    yield figures.draw_total_mass(theta[:, 0] * 1e12, theta, theta[:, :2], mock=mock)
    yield figures.draw_information({"own suite": curve}, mock=mock)
    yield figures.draw_losses({"own suite": {1.0: -3.0, np.inf: -4.0}}, {}, {"own suite": 2.8}, mock=mock)
    yield figures.draw_calibration({"own suite": one.predictions}, mock=mock)
    yield figures.draw_null_tests({"original maps": one}, mock=mock)
    yield figures.draw_seed_spread({"pair": [one.scores, other.scores]}, mock=mock)
    yield figures.draw_corner(theta[:, None], CAMELS_PARAMETERS, joint=True, mock=mock)
    yield figures.draw_search(STEPS, ["COMPLETE"] * 3, {"lr": STEPS}, {"lr": 1.0}, mock=mock)


@pytest.fixture(scope="module")
def of_mock(four, examples):
    return list(draw_each(four, examples, mock=True))


def test_every_public_figure_is_drawn_here(of_mock):
    drawn = len(of_mock)
    assert drawn == len([name for name in figures.__all__ if name.startswith("draw_")])


def test_mock_figures_say_so_and_others_do_not(of_mock, four, examples, texts):
    assert all("MOCK DATA" in texts(figure) for figure in of_mock)
    assert not any("MOCK DATA" in texts(figure) for figure in draw_each(four, examples, mock=False))


def test_text_is_readable_at_the_width_of_a_page(of_mock):
    for figure in of_mock:
        assert figure.get_figwidth() <= figures.WIDTH_INCHES
        drawn = [t for t in figure.findobj(mpl.text.Text) if t.get_visible() and t.get_text()]
        assert min(text.get_fontsize() for text in drawn) >= 9


def test_drawing_leaves_the_callers_style_alone(four, examples):
    before = dict(mpl.rcParams)
    list(draw_each(four, examples, mock=True))
    assert dict(mpl.rcParams) == before


def test_figures_need_neither_pyplot_nor_torch():
    code = "import sys, fieldlevel.figures; sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_saved_figures_are_the_same_bytes_every_time(tmp_path):
    once = figures.save_figure(figures.draw_training_history({"MockTNG": HISTORY}, mock=True), tmp_path / "once")
    again = figures.save_figure(figures.draw_training_history({"MockTNG": HISTORY}, mock=True), tmp_path / "again")
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.pdf", "again.png", "once.pdf", "once.png"]
    assert b"CreationDate" not in once[0].read_bytes()
    assert once[1].read_bytes().startswith(b"\x89PNG")


def test_a_figure_is_laid_out_for_its_first_format_alone(tmp_path, monkeypatch):
    figure = figures.draw_training_history({"MockTNG": HISTORY}, mock=True)
    engine, laid_out = figure.get_layout_engine(), []
    execute = type(engine).execute
    monkeypatch.setattr(type(engine), "execute", lambda own, fig: (laid_out.append(fig), execute(own, fig))[1])
    save_plot(figure, tmp_path / "one.pdf")
    of_one = len(laid_out)
    figures.save_figure(figure, tmp_path / "both")
    assert len(laid_out) == 2 * of_one
    assert figure.get_layout_engine() is engine


def test_a_dot_in_the_name_is_not_a_suffix(tmp_path):
    paths = figures.save_figure(figures.draw_training_history({"MockTNG": HISTORY}, mock=True), tmp_path / "z=0.00")
    assert [path.name for path in paths] == ["z=0.00.pdf", "z=0.00.png"]


def test_no_two_looks_are_alike_in_colour_and_marker():
    looks = colours_and_markers(12)
    assert len(set(looks)) == 12
    assert len({colour for colour, _ in looks[:6]}) == len({marker for _, marker in looks[:6]}) == 6


def test_points_outside_the_limits_stand_at_the_edge():
    panel = Figure().subplots()
    y = np.array([-5.0, 0.0, 1.0, 7.0, np.nan])
    plot_within(panel, np.arange(5.0), y, (-1, 2), "o")
    below, above, within = panel.lines
    assert (below.get_marker(), list(below.get_xdata())) == ("v", [0])
    assert (above.get_marker(), list(above.get_xdata())) == ("^", [3])
    assert -1 < below.get_ydata()[0] < above.get_ydata()[0] < 2
    assert list(within.get_ydata()) == [0, 1]
    assert panel.get_ylim() == (-1, 2)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.draw_transfer([], [], mock=True),
        lambda: figures.draw_smoothing({}, mock=True),
        lambda: figures.draw_smoothing_pairs({}, mock=True),
        lambda: figures.draw_robustness_matrix([], {}, mock=True),
        lambda: figures.draw_suite_matrices([], mock=True),
        lambda: figures.draw_total_mass(np.zeros(0), np.zeros((0, 6)), np.zeros((0, 2)), mock=True),
        lambda: figures.draw_information({}, mock=True),
        lambda: figures.draw_calibration({}, mock=True),
        lambda: figures.draw_null_tests({}, mock=True),
        lambda: figures.draw_seed_spread({}, mock=True),
        lambda: figures.draw_seed_spread({"pair": []}, mock=True),
    ],
)
def test_nothing_to_draw_is_refused(draw):
    with pytest.raises(UserError, match="to draw; give at least one"):
        draw()


@pytest.mark.parametrize("colour", style.COLOURS)
def test_letters_in_the_colour_of_a_curve_can_be_read_on_white(colour):
    rgb = to_rgb(style.ink(colour))
    assert style.contrast(rgb, (1, 1, 1)) >= 4.5
    assert np.argsort(rgb, kind="stable").tolist() == np.argsort(to_rgb(colour), kind="stable").tolist()


def test_contrast_is_that_of_the_guidelines():
    assert style.contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    assert style.contrast(to_rgb("#767676"), (1, 1, 1)) == pytest.approx(4.54, abs=0.01)
