import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.figures.parameter_responses import draw_parameter_responses
from fieldlevel.layout import Layout, Parameter
from fieldlevel.simulate.sets import one_parameter
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.responses import OneParameterTable, Responses, measure_responses

LAYOUT = Layout()
ANSWERED = LAYOUT.select(["Omega_m", "sigma_8"]).parameters


def responses(n_seeds: int = 3) -> Responses:
    """A network that is right but for Omega_m, which it has 0.01 too high."""
    theta = np.array([row.parameters for row in one_parameter(LAYOUT, n_seeds, 3)])
    numbers = np.arange(len(theta))
    told = Predictions(theta, theta + 0.01 * (np.arange(6) == 0), np.full(theta.shape, 0.02), numbers, numbers)
    return measure_responses(told, OneParameterTable(theta, LAYOUT), ["Omega_m", "sigma_8"], 20)


def test_a_row_an_answer_and_a_panel_a_parameter_its_own_first():
    figure = draw_parameter_responses(
        {"one": responses(), "other": responses()}, ANSWERED, LAYOUT.parameters, mock=True
    )
    assert len(figure.axes) == 12
    assert [panel.get_xlabel() for panel in figure.axes[6:8]] == [f"${LAYOUT.parameters[i].symbol}$" for i in (1, 0)]
    assert [panel.get_ylabel() != "" for panel in figure.axes] == [True] + 5 * [False] + [True] + 5 * [False]
    assert figure.axes[2].get_xscale() == "log"


def test_points_are_mean_answers_and_the_truth_is_a_line():
    panels = draw_parameter_responses({"one": responses()}, ANSWERED, LAYOUT.parameters, mock=False).axes
    own, with_A_SN1 = panels[0], panels[2]
    (line,) = (each.lines[0] for each in own.containers)
    np.testing.assert_allclose(line.get_xdata(), [0.1, 0.3, 0.5])
    np.testing.assert_allclose(line.get_ydata(), [0.11, 0.31, 0.51])
    truth = with_A_SN1.lines[-1].get_ydata()
    np.testing.assert_allclose(truth, 0.3)
    limits = {tuple(panel.get_ylim()) for panel in panels[1:6]}
    assert len(limits) == 1


def test_networks_and_mock_data_are_named(texts):
    written = texts(draw_parameter_responses({"on A": responses(1)}, ANSWERED, LAYOUT.parameters, mock=True))
    assert {"on A", "MOCK DATA", "0.25", "4"} <= set(written)
    assert "MOCK DATA" not in texts(
        draw_parameter_responses({"on A": responses(1)}, ANSWERED, LAYOUT.parameters, mock=False)
    )


def test_of_many_parameters_the_first_twelve_are_drawn_in_lines_of_six():
    many = (*LAYOUT.parameters, *(Parameter(f"A_{i}", low=0.5, high=2.0, fiducial=1.0) for i in range(22)))
    figure = draw_parameter_responses({"one": responses()}, ANSWERED, many, mock=True)
    assert len(figure.axes) == 24


def test_nothing_is_refused():
    for given in (({}, ANSWERED, LAYOUT.parameters), ({"a": {}}, (), LAYOUT.parameters), ({"a": {}}, ANSWERED, ())):
        with pytest.raises(UserError, match="figure: no"):
            draw_parameter_responses(*given, mock=True)
