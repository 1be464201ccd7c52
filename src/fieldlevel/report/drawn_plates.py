"""Figures of a report: drawn once, saved as files, and kept for dark pages."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from fieldlevel.figures.dark import darken
from fieldlevel.figures.plate import Plate
from fieldlevel.figures.style import laid_out, save_figure, styled
from fieldlevel.files import make_folder

DARK_DPI = 150
"""Dots per inch of the figures that a page shows on dark ground."""


@dataclass(frozen=True)
class ReportFigure:
    """A PNG to embed.

    Attributes:
        path: the PNG file.
        caption: what it shows, in sentences.
        description: the same for who cannot see it.
        dark: the PNG that dark pages show instead; the same one where it is empty.
    """

    path: Path
    caption: str
    description: str
    dark: bytes = b""


def draw_plates(folder: Path, plates: Iterable[Plate]) -> dict[str, ReportFigure]:
    """Draw figures and save them as PDF and PNG.

    Args:
        folder: where to save them; made if need be.
        plates: the figures with what is said of them.

    Returns:
        What a report embeds, by heading.
    """
    make_folder(folder)
    return {plate.heading: _draw(folder, plate) for plate in plates}


def _draw(folder: Path, plate: Plate) -> ReportFigure:
    figure = plate.draw()
    path = save_figure(figure, folder / plate.stem)[1]
    return ReportFigure(path, plate.caption, plate.description, _dark_png(figure))


def _dark_png(figure: Figure) -> bytes:
    written = BytesIO()
    with styled(), laid_out(figure):
        darken(figure).savefig(written, format="png", dpi=DARK_DPI, metadata={"Software": None})
    return written.getvalue()
