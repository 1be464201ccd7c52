"""A row of panels, one a parameter, with one legend below: the frame that several figures share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fieldlevel.figures.style import WIDTH_INCHES, columns_that_fit, mark_mock, styled, typeset_parameter
from fieldlevel.layout import Parameter


@contextmanager
def parameter_row(
    parameters: Sequence[Parameter], xlabel: str, ylabel: str, *, mock: bool
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure and its panels, to be drawn into; titles, labels, legend and mark come after that.

    Args:
        parameters: one panel each.
        xlabel: of all panels.
        ylabel: of the first.
        mock: whether to write MOCK DATA into the figure.
    """
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 3.2))
        axes = list(figure.subplots(1, len(parameters), squeeze=False)[0])
        yield figure, axes
        for panel, parameter in zip(axes, parameters, strict=True):
            panel.set_title(typeset_parameter(parameter), loc="left", pad=4)
            panel.set_xlabel(xlabel)
        axes[0].set_ylabel(ylabel)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=columns_that_fit(labels))
        mark_mock(figure, mock)
