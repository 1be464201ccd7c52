"""The letters of the figures as part of a page: text and figures look alike on every machine.

The files are those of STIX that matplotlib draws figures with; a page holds the letters that occur in it alone.

References:
    STIX fonts, SIL Open Font License 1.1, which lets documents embed them.
"""

import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

FACES = {
    "STIXGeneral.ttf": ("normal", 400),
    "STIXGeneralItalic.ttf": ("italic", 400),
    "STIXGeneralBol.ttf": ("normal", 700),
}
"""Files with their style and weight."""

ALWAYS = "".join(map(chr, range(0x20, 0x7F))) + "↑↓↕▸▾"
"""Letters that a page has whatever it says, some from its style sheet."""


def embedded_fonts(text: str) -> str:
    """Rules of a style sheet with the letters of a text: the same ones for the same letters.

    Args:
        text: of the page.
    """
    letters = "".join(sorted({*text, *ALWAYS}))
    return "\n".join(_rules(letters))


def _rules(letters: str) -> Iterator[str]:
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for name, (style, weight) in FACES.items():
        content = base64.b64encode(_subset(folder / name, letters)).decode("ascii")
        yield (
            f"@font-face {{ font-family: Figures; font-style: {style}; font-weight: {weight}; "
            f"src: url(data:font/woff;base64,{content}) format('woff'); }}"
        )


def _subset(path: Path, letters: str) -> bytes:
    """A font of some letters, without the day on which it was made."""
    options = Options(layout_features=["kern"], hinting=False, notdef_outline=True, recalc_timestamp=False)
    options.drop_tables = [*options.drop_tables, "FFTM"]
    with TTFont(path, recalcTimestamp=False) as font:
        subsetter = Subsetter(options)
        subsetter.populate(text=letters)
        subsetter.subset(font)
        font.flavor = "woff"
        written = BytesIO()
        font.save(written)
    return written.getvalue()
