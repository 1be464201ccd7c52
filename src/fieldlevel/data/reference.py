"""Label tables that CAMELS published: those of the package and those beside the maps.

A network cannot tell shuffled or exchanged feedback columns from a hard problem, and no map shows them. A table that
repeats most columns of a published one row by row must repeat all.
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fieldlevel.data.camels_sets import is_sobol
from fieldlevel.data.cmd_format import Float64Array, SuiteFiles, is_number, list_names
from fieldlevel.data.labels import used_columns
from fieldlevel.errors import UserError
from fieldlevel.files import read_bytes
from fieldlevel.parameters import FEEDBACK_UNITS, LABEL_TABLES, PARAMETER_NAMES, hydro_twin, is_nbody
from fieldlevel.wording import name_some

SEED_TABLE = re.compile(r"CosmoAstroSeed_(?P<suite>[^_]+)_(?P<box>[^_]+)_(?P<set_name>[^_]+)\.txt")
"""CAMELS' own tables: a name, the parameters, the seed."""

_FEWEST_ROWS = 4
_SHARE = 0.9
"""Of the rows in which a column agrees that is a copy of the published one."""
_TOLERANCE = 1e-4


def seed_tables(files: SuiteFiles) -> list[Path]:
    """CAMELS' own tables of a suite and set that lie beside its maps."""
    found = ((name, SEED_TABLE.fullmatch(name)) for name in list_names(files.directory))
    wanted = (hydro_twin(files.suite), files.set_name)
    return [files.directory / name for name, match in found if match and match.group("suite", "set_name") == wanted]


def is_verified(files: SuiteFiles, theta: Float64Array) -> bool:
    """Whether a published table confirms every row."""
    tables = [table for _, table in _published(files) if len(table) >= len(theta)]
    return any(_agreement(files, theta, table).all() for table in tables)


def table_defects(files: SuiteFiles, theta: Float64Array) -> Iterator[str]:
    """Compare labels with the published tables of their suite and set.

    Args:
        files: where the labels come from.
        theta: parameters, shape (n_simulations, 6).

    Yields:
        One line a table: the columns that differ where others agree.
    """
    if len(theta) < _FEWEST_ROWS:
        return
    for source, table in _published(files):
        if len(table) < len(theta):
            continue
        agrees = _agreement(files, theta, table)
        columns = np.array(used_columns(files.suite))
        is_copy = (agrees.mean(axis=0) > _SHARE) & (theta[:, columns] != theta[0, columns]).any(axis=0)
        if is_copy.any() and not agrees.all():
            yield _told(files, source, columns, agrees)


def _told(files: SuiteFiles, source: str, columns: npt.NDArray[np.int64], agrees: npt.NDArray[np.bool_]) -> str:
    differs = [PARAMETER_NAMES[column] for column in columns[~agrees.all(axis=0)]]
    rows = name_some(np.flatnonzero(~agrees.all(axis=1)))
    return (
        f"{files.parameters_path}: {', '.join(differs)} differ from {source}, which the other columns repeat, in rows "
        f"{rows}: shuffled, exchanged or changed; give the labels as they were published"
    )


def _agreement(files: SuiteFiles, theta: Float64Array, table: Float64Array) -> npt.NDArray[np.bool_]:
    columns = used_columns(files.suite)
    ours, theirs = theta[:, columns], table[: len(theta), columns]
    return np.isclose(ours, theirs, rtol=_TOLERANCE, atol=1e-5)


def _published(files: SuiteFiles) -> Iterator[tuple[str, Float64Array]]:
    if files.set_name == "LH" and (table := packaged_table(hydro_twin(files.suite))) is not None:
        yield f"the latin hypercube of {LABEL_TABLES.get(hydro_twin(files.suite), hydro_twin(files.suite))}", table
    for path in seed_tables(files):
        if (beside := _read_seed_table(path, files)) is not None:
            yield path.name, beside


@cache
def packaged_table(suite: str) -> Float64Array | None:
    """The latin hypercube of a suite, if the package has it, shape (1000, 6)."""
    name = f"CosmoAstroSeed_{LABEL_TABLES.get(suite, suite)}_L25n256_LH.txt"
    place = resources.files("fieldlevel") / "simulate" / "data" / name
    if not re.fullmatch(r"\w+", suite) or not place.is_file():
        return None
    return _parse(place.read_text())


def _read_seed_table(path: Path, files: SuiteFiles) -> Float64Array | None:
    """Feedback in units of the fiducial value; None where the table has another form."""
    try:
        table = _parse(read_bytes(path).decode(errors="replace"))
    except (UserError, ValueError, IndexError):
        return None
    units = FEEDBACK_UNITS.get(hydro_twin(files.suite))
    is_long = is_sobol(files.set_name) or (table[:, 5] > 4).all()
    if units is not None and is_long and not is_nbody(files.suite):
        table[:, 2:] /= units
    return table


def _parse(text: str) -> Float64Array:
    rows = [words for line in text.splitlines() if (words := line.partition("#")[0].split())]
    wanted = [words[1 : len(PARAMETER_NAMES) + 1] for words in rows]
    if not wanted or any(len(words) != len(PARAMETER_NAMES) or not all(map(is_number, words)) for words in wanted):
        raise ValueError("not a table of CAMELS")
    return np.array([[float(word) for word in words] for words in wanted])
