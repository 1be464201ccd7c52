"""What networks say of maps against the number of particles that the maps were made of."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fieldlevel.figures.style import (
    BLACK,
    WIDTH_INCHES,
    colours_and_markers,
    columns_that_fit,
    mark_mock,
    refuse_empty,
    styled,
    typeset_parameter,
)
from fieldlevel.layout import Layout, Parameter

BESIDE = 0.05
"""Distance of the markers of two networks on one set, in factors of e of the number of particles."""
APART = 0.23
"""That of the markers of two sets of one number of particles, of few networks; a step of the number is 0.69."""
EDGE = 1.25
"""Factor from those that stand beside to the edge of the panel."""
STRIP = 0.026
"""Height of the strip below the markers that is left to each letter of their marks, of that of the markers."""
MOST_TICKS = 7
LEGEND_LINE_INCHES = 0.17


@dataclass(frozen=True)
class Answer:
    """What a network says of a set.

    Attributes:
        density: particles over those of the base set, above zero.
        is_random: whether they are a random part of all particles of the base.
        moments: mean error, its scatter over simulations (NaN of a single one) and mean standard deviation, in units of
            the parameter, by its name.
        mark: what is written below the markers of the set; nothing when empty.
    """

    density: float
    is_random: bool
    moments: Mapping[str, tuple[float, float, float]]
    mark: str = ""


def draw_kept_fractions(
    answers: Mapping[str, Mapping[str, Sequence[Answer]]], layout: Layout = Layout(), *, mock: bool
) -> Figure:
    """Draw mean error and scatter of networks against the particles that are left, with their own claim as a band.

    Answers to random parts of all particles are joined and filled, the others stand alone and are open, with their
    marks below; those of one number of particles and of different marks stand beside one another.

    Args:
        answers: by suite and by the name of the network.
        layout: with the parameters to draw, a column each.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no suite, no answer of one or no parameter.
    """
    refuse_empty(answers, "suite")
    refuse_empty(layout.parameters, "parameter")
    for suite, networks in answers.items():
        refuse_empty([each for found in networks.values() for each in found], f"answer of {suite}")
    every = [each for networks in answers.values() for found in networks.values() for each in found]
    places = _places(every)
    names = list(dict.fromkeys(name for networks in answers.values() for name in networks))
    looks = dict(zip(names, colours_and_markers(len(names)), strict=True))
    with styled():
        n_legend_columns = columns_that_fit(names)
        n_lines = -(-len(names) // n_legend_columns)
        figure = Figure(figsize=(WIDTH_INCHES, 2.3 * len(answers) + 0.5 + LEGEND_LINE_INCHES * n_lines))
        n_columns = len(layout.parameters)
        axes = figure.subplots(len(answers), n_columns, squeeze=False, sharex=True, sharey="col")
        for row, (suite, networks) in zip(axes, answers.items(), strict=True):
            row[0].set_title(suite, loc="left", pad=4)
            for panel, parameter in zip(row, layout.parameters, strict=True):
                for place, name in enumerate(networks):
                    shift = BESIDE * (place - (len(networks) - 1) / 2)
                    shown = [replace(each, density=_place(places, each)) for each in networks[name]]
                    _draw_network(panel, shown, parameter, looks[name], name, np.exp(shift))
                panel.axhline(0, color=BLACK, linewidth=0.8, zorder=1)
                panel.set_ylabel(f"{typeset_parameter(parameter)}: posterior mean $-$ truth")
        _frame(axes, {each.density for each in every}, places.values())
        _write_marks(axes, {_place(places, each): each.mark for each in every if each.mark})
        figure.legend(*_handles(axes.flat, names), loc="outside lower center", ncols=n_legend_columns)
        mark_mock(figure, mock)
    return figure


def _places(answers: Iterable[Answer]) -> dict[tuple[float, str], float]:
    """Where the sets stand, by number and mark: in the middle, else to the right, to the left, further right.

    What is a random part of all particles, or alone, is in the middle.
    """
    marks: dict[float, dict[str, None]] = {}
    for each in sorted(answers, key=lambda each: (not each.is_random, each.mark)):
        marks.setdefault(each.density, {})[each.mark] = None
    steps = [sign * step for step in range(1, 10) for sign in (1, -1)]
    return {
        (density, mark): density * np.exp(APART * step)
        for density, found in marks.items()
        for mark, step in zip(found, [0, *steps], strict=False)
    }


def _place(places: Mapping[tuple[float, str], float], answer: Answer) -> float:
    return places[answer.density, answer.mark]


def _write_marks(axes: np.ndarray, marks: Mapping[float, str]) -> None:
    """What stands alone by its name, below the markers of every panel."""
    if not marks:
        return
    for panel in axes[0]:
        low, high = panel.get_ylim()  # of a column
        panel.set_ylim(low - STRIP * (2 + max(map(len, marks.values()))) * (high - low), high)
    for panel in axes.flat:
        for place, mark in marks.items():
            panel.text(
                place, 0.03, mark, transform=panel.get_xaxis_transform(), rotation=90, ha="center", va="bottom",
                fontsize=6.5,
            )  # fmt: skip


def _draw_network(
    panel: Axes, answers: Sequence[Answer], parameter: Parameter, look: tuple[str, str], name: str, beside: float
) -> None:
    colour, marker = look
    drawn: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1, "capsize": 2}
    joined = sorted((each for each in answers if each.is_random), key=lambda each: each.density)
    alone = [each for each in answers if not each.is_random]
    if joined:
        density, error, scatter, std = _columns(joined, parameter)
        panel.fill_between(density * beside, error - std, error + std, color=colour, alpha=0.15, linewidth=0)
        panel.errorbar(density * beside, error, scatter, mec="white", mew=0.5, label=name, **drawn)
    if alone:
        density, error, scatter, std = _columns(alone, parameter)
        panel.errorbar(
            density * beside, error, scatter, mec=colour, mfc="white", label=None if joined else name,
            **drawn | {"linestyle": ""},
        )  # fmt: skip
        edges = beside * np.exp(BESIDE * np.array([-0.5, 0.5]))
        for at, middle, half in zip(density, error, std, strict=True):
            panel.fill_between(at * edges, middle - half, middle + half, color=colour, alpha=0.15, linewidth=0)


def _columns(answers: Sequence[Answer], parameter: Parameter) -> tuple[np.ndarray, ...]:
    """Density, mean error, its scatter and standard deviation, each (n,)."""
    rows = [(each.density, *each.moments[parameter.name]) for each in answers]
    return tuple(np.array(rows, dtype=float).T)


def _frame(axes: np.ndarray, densities: Iterable[float], drawn: Iterable[float]) -> None:
    """A logarithmic axis with the fractions as such below it, and room for what is drawn beside them."""
    places, beside = sorted(densities), list(drawn)
    shown = places if len(places) <= MOST_TICKS else [2.0**power for power in _powers(places)]
    for panel in axes.flat:
        panel.set_xscale("log")
        panel.set_xticks(shown, [_fraction(place) for place in shown])
        panel.set_xticks([], minor=True)
        panel.set_xlim(min(places[0] / 1.4, min(beside) / EDGE), max(places[-1] * 1.4, max(beside) * EDGE))
    for panel in axes[-1]:
        panel.set_xlabel("number of particles / that of the full simulation")


def _powers(places: Sequence[float]) -> range:
    low, high = (round(np.log2(place)) for place in (places[0], places[-1]))
    return range(low, high + 1, max(1, -(-(high - low + 1) // MOST_TICKS)))


def _fraction(number: float) -> str:
    """One over a whole number, or the number.

    Example:
        >>> _fraction(0.125), _fraction(8.0), _fraction(0.3), _fraction(2 / 3)
        ('1/8', '8', '0.3', '2/3')
    """
    simple = Fraction(number).limit_denominator(64)
    is_plain = simple.denominator == 1 or simple.numerator <= 2
    return str(simple) if is_plain and np.isclose(float(simple), number) else f"{number:.2g}"


def _handles(panels: Iterable[Axes], names: Sequence[str]) -> tuple[list[Any], list[str]]:
    found: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    return [found[name] for name in names], list(names)
