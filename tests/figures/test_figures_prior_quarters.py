import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.figures.prior_quarters import draw_error_bars
from fieldlevel.inference.marginal_cdf import pit_of_predictions
from fieldlevel.layout import CAMELS_PARAMETERS
from fieldlevel.statistics.error_bars import judge_error_bars

TWO = CAMELS_PARAMETERS[:2]


@pytest.fixture(scope="module")
def found(predict):
    def judge(claimed):
        tested = predict(np.repeat(np.arange(60), 3), claimed=claimed)
        pit, mean = pit_of_predictions(tested)
        return judge_error_bars(pit, mean, tested.simulation, tested.layout.names, 50)

    return {"A": judge(1.0), "B": judge(0.5)}


def test_panels_show_what_was_measured(found, texts):
    figure = draw_error_bars(found, TWO, mock=True)
    assert len(figure.axes) == 4
    first = figure.axes[0].containers[0].lines[0].get_ydata()
    assert first.tolist() == [quarter[0].value for quarter in found["A"]["Omega_m"].quarters]
    assert figure.axes[2].patches[0].get_data().values.tolist() == [e.value for e in found["A"]["Omega_m"].histogram]
    assert [each.get_text() for each in figure.legends[0].get_texts()] == ["A", "B"]
    assert "MOCK DATA" in " ".join(texts(figure))


def test_no_point_is_beyond_its_panel(found):
    figure = draw_error_bars(found, TWO, mock=False)
    for panel in figure.axes:
        low, high = panel.get_ylim()
        for line in panel.lines:
            y = np.asarray(line.get_ydata(), dtype=float)
            assert ((y >= low) & (y <= high)).all()


def test_parameters_without_truth_leave_their_panels_empty(found):
    figure = draw_error_bars({"A": {"sigma_8": found["A"]["sigma_8"]}}, TWO, mock=False)
    assert not figure.axes[0].containers and figure.axes[1].containers


def test_nothing_is_no_figure(found):
    with pytest.raises(UserError, match="no tested networks to draw"):
        draw_error_bars({}, TWO, mock=False)
    with pytest.raises(UserError, match="no parameter to draw"):
        draw_error_bars(found, (), mock=False)
