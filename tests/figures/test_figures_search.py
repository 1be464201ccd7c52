import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.figures import draw_search

VALUES = np.array([-1.0, -3.0, -2.0, np.nan, -9.0, -4.0, 500.0, -3.5, -2.5, -3.9, np.nan])
STATES = [*("COMPLETE",) * 3, "failed", "PRUNED", *("complete",) * 5, "RUNNING"]
LR = np.array([1e-4, 1e-3, 2e-3, 1e-2, 1e-3, 5e-3, 1e-2, 4e-3, 3e-3, 4e-3, 1e-3])
PARAMETERS = {"lr": LR, "hidden": np.arange(11) + 6}
IMPORTANCE = {"hidden": 0.2, "lr": 0.8}


@pytest.fixture(scope="module")
def figure():
    return draw_search(VALUES, STATES, PARAMETERS, IMPORTANCE, mock=True)


def labelled(panel, name):
    return next(line for line in panel.lines if line.get_label() == name)


def at_edge(panel, marker):
    return [line.get_xdata().tolist() for line in panel.lines if line.get_marker() == marker and len(line.get_xdata())]


def test_the_best_so_far_counts_finished_trials_only(figure):
    best = labelled(figure.axes[0], "best so far: −4.00")
    assert best.get_ydata().tolist() == [-1, -3, -3, -3, -3, -4, -4, -4, -4, -4, -4]


def test_trials_are_drawn_by_state_and_counted(figure):
    panel = figure.axes[0]
    assert labelled(panel, "finished (8)").get_xdata().tolist() == [0, 1, 2, 5, 7, 8, 9]
    assert at_edge(panel, "v") == [[4]]
    assert labelled(panel, "failed (1)").get_xdata().tolist() == [3]
    assert not any(10 in line.get_xdata() for line in panel.lines if line.get_label() != "best so far: −4.00")


def test_a_diverged_trial_does_not_hide_the_others(figure):
    panel = figure.axes[0]
    assert panel.get_ylim()[1] < 100
    assert at_edge(panel, "^") == [[6]]


def test_importance_is_sorted_with_the_largest_on_top(figure):
    bars = figure.axes[1].patches
    assert [bar.get_width() for bar in bars] == [0.2, 0.8]
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["hidden", "lr"]
    assert figure.axes[1].get_xlabel() == "importance, best tenth"


def test_after_too_few_trials_there_is_no_importance():
    whole, without = (draw_search(VALUES, STATES, PARAMETERS, shares, mock=True) for shares in (IMPORTANCE, {}))
    assert len(without.axes) == len(whole.axes) - 1
    assert all(panel.has_data() for panel in without.axes if panel.get_visible())
    assert "importance, best tenth" not in [panel.get_xlabel() for panel in without.axes]


@pytest.mark.parametrize("n_trials", [2, 3, 5, 18, 47])
def test_trials_and_whole_numbers_have_ticks_at_whole_numbers(n_trials):
    layers = np.arange(n_trials) % 3
    figure = draw_search(-np.arange(n_trials) - 1.0, ["complete"] * n_trials, {"n_layers": layers}, {}, mock=True)
    history, slices = figure.axes[0], figure.axes[1]
    for panel in (history, slices):
        ticks = panel.get_xticks()
        assert len(ticks) >= 2
        assert (ticks == np.round(ticks)).all()
    assert slices.get_xlabel() == "layers"


def test_slices_mark_the_best_trial(figure):
    lr, hidden = figure.axes[2:4]
    assert (lr.get_xlabel(), lr.get_xscale(), hidden.get_xscale()) == ("lr", "log", "linear")
    star = next(line for line in lr.lines if line.get_marker() == "*")
    assert np.ravel(star.get_data()).tolist() == [5e-3, -4]
    dots = next(line for line in hidden.lines if line.get_marker() == "o")
    assert dots.get_xdata().tolist() == [6, 7, 8, 11, 13, 14, 15]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"states": ["COMPLETE", "LOST"]}, "unknown state LOST; choose from COMPLETE"),
        ({"states": ["COMPLETE"]}, "1 states for 2 trials"),
        ({"parameters": {"lr": np.ones(3)}}, "3 lr for 2 trials"),
        ({"values": np.full(2, np.nan)}, "no finished trial"),
        ({"parameters": {}}, "no hyper-parameter"),
    ],
)
def test_searches_that_cannot_be_drawn_are_refused(change, words):
    whole = {"values": VALUES[:2], "states": STATES[:2], "parameters": {"lr": LR[:2]}, "importance": {"lr": 1.0}}
    with pytest.raises(UserError, match=words):
        draw_search(**(whole | change), mock=True)
