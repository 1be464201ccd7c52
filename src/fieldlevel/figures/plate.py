"""A figure and what is said of it."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plate:
    """A figure and what is said of it.

    Attributes:
        stem: name of its files.
        heading: its name in the report.
        caption: what it shows, in sentences.
        description: the same for who cannot see it.
        draw: makes it.
        place: where it stands in the report; those of one place stand in the order of their experiments.
    """

    stem: str
    heading: str
    caption: str
    description: str
    draw: Callable[[], Figure]
    place: int = 85
