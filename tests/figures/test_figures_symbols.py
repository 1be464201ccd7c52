"""Symbols and units of somebody else's are drawn, or their names in their place."""

import pytest
from matplotlib.figure import Figure

from fieldlevel.figures.style import styled, typeset_parameter, typeset_unit
from fieldlevel.layout import CAMELS_PARAMETERS, Parameter


def draw(tmp_path, text):
    with styled():
        figure = Figure()
        figure.text(0, 0, text)
        figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize("symbol", [r"\frac{", "$x$", r"\nosuch{x}", "x_1_2", "x^2^3", "{" * 70, "\\"])
def test_a_symbol_that_cannot_be_drawn_is_the_name(tmp_path, symbol):
    text = typeset_parameter(Parameter("A_wind", symbol=symbol))
    assert text == "A_wind"
    draw(tmp_path, f"{text}:  mean $-$ truth")


@pytest.mark.parametrize("suite", ["SIMBA", "my_own_suite", "a.b+c-d"])
def test_symbols_of_one_suite_alone_can_be_drawn(tmp_path, suite):
    for parameter in CAMELS_PARAMETERS:
        text = typeset_parameter(parameter.of_suite(suite))
        assert text.startswith("$")
        draw(tmp_path, text)


@pytest.mark.parametrize("unit", ["kg$x_1_2$", "$", r"\frac{", "a_b^c"])
def test_a_unit_is_text(tmp_path, unit):
    draw(tmp_path, f"  [{typeset_unit(unit)}]")
