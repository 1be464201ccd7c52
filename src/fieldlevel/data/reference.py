"""Label tables that CAMELS published: those of the package and those beside the maps.

A network cannot tell shuffled or exchanged feedback columns from a hard problem, and no map shows them. A table that
repeats most columns of a published one row by row must repeat all.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from fieldlevel.arrays import BoolArray
from fieldlevel.data.cmd_format import SuiteFiles, list_names
from fieldlevel.data.labels import used_columns
from fieldlevel.data.parameter_tables import Float64Array, is_number
from fieldlevel.errors import UserError
from fieldlevel.files import read_bytes
from fieldlevel.layout import CAMELS_PARAMETERS, Layout
from fieldlevel.suites import facts_of, hydro_twin, is_nbody, is_sobol
from fieldlevel.wording import name_some

SEED_TABLE = re.compile(r"CosmoAstroSeed_(?P<suite>[^_]+)_(?P<box>[^_]+)_(?P<set_name>[^_]+)\.txt")
"""CAMELS' own tables: a name, the parameters, the seed."""

_PACKAGED = tuple(parameter.name for parameter in CAMELS_PARAMETERS)
"""Columns of the tables of the package."""
_FEWEST_ROWS = 4
_SHARE = 0.9
"""Of the rows in which a column agrees that is a copy of the published one."""
_TOLERANCE = 1e-4


def seed_tables(files: SuiteFiles) -> list[Path]:
    """CAMELS' own tables of a suite and set that lie beside its maps."""
    found = ((name, SEED_TABLE.fullmatch(name)) for name in list_names(files.directory))
    wanted = (hydro_twin(files.suite), files.set_name)
    return [files.directory / name for name, match in found if match and match.group("suite", "set_name") == wanted]


def is_verified(files: SuiteFiles, theta: Float64Array, layout: Layout) -> bool:
    """Whether a published table confirms every row."""
    columns = used_columns(files.suite, layout)
    tables = [table for _, table in _published(files, layout) if len(table) >= len(theta)]
    return any(_agreement(theta, table, columns).all() for table in tables)


def table_defects(files: SuiteFiles, theta: Float64Array, layout: Layout) -> Iterator[str]:
    """Compare labels with the published tables of their suite and set.

    Args:
        files: where the labels come from.
        theta: parameters, shape (n_simulations, P).
        layout: whose they are.

    Yields:
        One line a table: the columns that differ where others agree.
    """
    if len(theta) < _FEWEST_ROWS:
        return
    columns = used_columns(files.suite, layout)
    for source, table in _published(files, layout):
        if len(table) < len(theta):
            continue
        agrees = _agreement(theta, table, columns)
        is_copy = (agrees.mean(axis=0) > _SHARE) & (theta[:, columns] != theta[0, columns]).any(axis=0)
        if is_copy.any() and not agrees.all():
            yield _told(files, source, [layout.names[column] for column in columns], agrees)


def _told(files: SuiteFiles, source: str, names: Sequence[str], agrees: BoolArray) -> str:
    differs = [names[int(column)] for column in np.flatnonzero(~agrees.all(axis=0))]
    rows = name_some(np.flatnonzero(~agrees.all(axis=1)))
    return (
        f"{files.parameters_path}: {', '.join(differs)} differ from {source}, which the other columns repeat, in rows "
        f"{rows}: shuffled, exchanged or changed; give the labels as they were published"
    )


def _agreement(theta: Float64Array, table: Float64Array, columns: Sequence[int]) -> BoolArray:
    ours, theirs = theta[:, columns], table[: len(theta), columns]
    return np.isclose(ours, theirs, rtol=_TOLERANCE, atol=1e-5)


def _published(files: SuiteFiles, layout: Layout) -> Iterator[tuple[str, Float64Array]]:
    is_packaged = files.set_name == "LH" and layout.names == _PACKAGED
    if is_packaged and (table := packaged_table(hydro_twin(files.suite))) is not None:
        yield f"the latin hypercube of {_whose(files.suite)}", table
    for path in seed_tables(files):
        if (beside := _read_seed_table(path, files, layout)) is not None:
            yield path.name, beside


def _whose(suite: str) -> str:
    """The suite whose latin hypercube a suite has."""
    return facts_of(suite).label_table or hydro_twin(suite)


def packaged_table(suite: str) -> Float64Array | None:
    """The latin hypercube of a suite, if the package has it, shape (1000, 6)."""
    return _table_of(_whose(suite))


@cache
def _table_of(suite: str) -> Float64Array | None:
    name = f"CosmoAstroSeed_{suite}_L25n256_LH.txt"
    place = resources.files("fieldlevel") / "simulate" / "data" / name
    if not re.fullmatch(r"\w+", suite) or not place.is_file():
        return None
    return _parse(place.read_text(), len(_PACKAGED))


def _read_seed_table(path: Path, files: SuiteFiles, layout: Layout) -> Float64Array | None:
    """Feedback in units of the fiducial value; None where the table has another form."""
    try:
        table = _parse(read_bytes(path).decode(errors="replace"), layout.n_parameters)
    except (UserError, ValueError, IndexError):
        return None
    units = facts_of(files.suite).feedback_units
    if not units or layout.names != _PACKAGED or is_nbody(files.suite):
        return table
    if is_sobol(files.set_name) or (table[:, 5] > 4).all():
        table[:, 2:] /= units
    return table


def _parse(text: str, n_columns: int) -> Float64Array:
    rows = [words for line in text.splitlines() if (words := line.partition("#")[0].split())]
    wanted = [words[1 : n_columns + 1] for words in rows]
    if not wanted or any(len(words) != n_columns or not all(map(is_number, words)) for words in wanted):
        raise ValueError("not a table of CAMELS")
    return np.array([[float(word) for word in words] for words in wanted])
