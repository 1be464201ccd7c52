"""Tables of parameters: `params_<set>_<suite>.txt`, a row a simulation, columns as in the layout of its maps."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fieldlevel.data.cmd_format import LAYOUT_NAME, PARAMETERS_NAME
from fieldlevel.errors import DataError, UserError
from fieldlevel.files import read_bytes
from fieldlevel.layout import Layout
from fieldlevel.suites import facts_of, known_suites
from fieldlevel.wording import N_NAMED, name_some

Float64Array = npt.NDArray[np.float64]

_USUAL = Layout()
_MOST_SHOWN = 40
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)


def read_parameters(path: Path, layout: Layout = _USUAL) -> Float64Array:
    """Read the parameter table; text after `#` is a comment.

    Args:
        path: of the table.
        layout: whose parameters are the columns.

    Returns:
        Parameters, shape (n_simulations, P).

    Raises:
        DataError: file missing, empty or no file at all, a word that is not a number, a row of another number of
            columns.
    """
    try:
        content = read_bytes(path, f"every map file needs {PARAMETERS_NAME}")
    except UserError as error:
        raise DataError([str(error)]) from None
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    rows = [words for line in lines if (words := line.partition("#")[0].split())]
    if not rows:
        raise DataError([f"{path}: no rows; one row a simulation is expected: {name_columns(layout)}"])
    for number, words in enumerate(rows):
        if defect := _row_defect(number, words, layout):
            raise DataError([f"{path}: {defect}"])
    return np.array([[float(word) for word in words] for words in rows])


def name_columns(layout: Layout) -> str:
    """Names of the columns of a table; of very many the first ten.

    Example:
        >>> name_columns(Layout())
        'Omega_m sigma_8 A_SN1 A_AGN1 A_SN2 A_AGN2'
    """
    return " ".join(layout.names) if layout.n_parameters <= N_NAMED else name_some(layout.names)


def _row_defect(number: int, words: list[str], layout: Layout) -> str | None:
    if len(words) != layout.n_parameters:
        return f"row {number} has {len(words)} columns; {_columns_wanted(words, layout)}"
    wrong = next((word for word in words if not is_number(word)), None)
    remedy = "put # in front of a line of names" if wrong in layout.names else "mend the row"
    return wrong and f"row {number} holds {shorten(wrong)}, which is not a number; {remedy}"


def _columns_wanted(words: list[str], layout: Layout) -> str:
    names = name_columns(layout)
    if "," in "".join(words):
        return f"put blanks between {names}, not commas"
    if not is_number(words[0]) and len(words) >= layout.n_parameters + 2:
        return f"a table of CAMELS with a name in front and a seed at the end: keep {names} alone"
    if layout.names != _USUAL.names:
        return f"its layout has {layout.n_parameters}: {names}; give these, or mend the layout"
    divided = ", ".join(f"{each.name} by {describe_units(each.name)}" for each in known_suites() if each.feedback_units)
    return (
        f"sets with other than six columns are not supported without a file {LAYOUT_NAME} that names them; else give "
        f"{names}, the feedback in units of its fiducial value (in sets SB and tables of 28 columns divide that of "
        f"{divided})"
    )


def describe_units(suite: str) -> str:
    """Fiducial values of the feedback columns of a suite's tables of physical numbers.

    Example:
        >>> describe_units("IllustrisTNG")
        '3.6, 1, 7.4, 20'
    """
    return ", ".join(f"{unit:g}" for unit in facts_of(suite).feedback_units)


def is_number(word: str) -> bool:
    """Whether a word of a table is a number as tables have them: no underscores, no digits of other scripts."""
    return _NUMBER.fullmatch(word) is not None


def shorten(word: str) -> str:
    """A word of a file, quoted, its beginning only where it is long.

    Example:
        >>> shorten("zero"), len(shorten(50 * "z"))
        ("'zero'", 45)
    """
    return repr(word if len(word) <= _MOST_SHOWN else f"{word[:_MOST_SHOWN]}...")
