"""Which parameters a figure shows, and where their panels stand.

Most figures are about the cosmological parameters, a panel beside another; where there are more than two, two by two in
blocks below one another. A figure of all parameters shows the twelve first, cosmological ones before others, and says
so.
"""

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure, FigureBase

from fieldlevel.layout import Parameter

PANELS_ABREAST = 2
"""Panels of residuals and curves beside one another that still hold their text."""

MOST_SHOWN = 12
"""Parameters of a figure of all of them."""


def choose_parameters(parameters: Sequence[Parameter], most: int = MOST_SHOWN) -> tuple[Parameter, ...]:
    """All of them where they are few enough, else so many, cosmological ones first.

    Example:
        >>> first, second = Parameter("A_SN1"), Parameter("h", cosmological=True)
        >>> [parameter.name for parameter in choose_parameters([first, second], most=1)]
        ['h']
    """
    if len(parameters) <= most:
        return tuple(parameters)
    return tuple(sorted(parameters, key=lambda parameter: not parameter.cosmological)[:most])


def choice_in_words(n_shown: int, n_parameters: int) -> str | None:
    """What a figure says that does not show all parameters; None where it does."""
    if n_shown >= n_parameters:
        return None
    return f"{n_shown} of {n_parameters} parameters, cosmological ones first"


def blocks_of(figure: Figure, parameters: Sequence[Parameter]) -> Iterator[tuple[FigureBase, Sequence[Parameter]]]:
    """Parts of a figure below one another with the parameters whose panels stand there, two at most.

    The figure is its only part where one is enough.
    """
    blocks = [parameters[start : start + PANELS_ABREAST] for start in range(0, len(parameters), PANELS_ABREAST)]
    places = [figure] if len(blocks) == 1 else figure.subfigures(len(blocks), 1, squeeze=False).ravel().tolist()
    yield from zip(places, blocks, strict=True)


def n_blocks(parameters: Sequence[Parameter]) -> int:
    """How many parts `blocks_of` has."""
    return -(-len(parameters) // PANELS_ABREAST)
