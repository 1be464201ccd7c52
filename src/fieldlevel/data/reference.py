"""Label tables that CAMELS published: those beside the maps, and digests of the columns of two of them.

A network cannot tell shuffled or exchanged feedback columns from a hard problem, and no map shows them. A table that
repeats most columns of a published one row by row must repeat all. The package holds no table of CAMELS: of the latin
hypercubes of IllustrisTNG and SIMBA it knows a digest of each column, so whole columns alone can be compared with them,
and only where a folder has all 1,000 rows.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fieldlevel.arrays import BoolArray
from fieldlevel.data.cmd_format import SuiteFiles, list_names
from fieldlevel.data.labels import used_columns
from fieldlevel.data.parameter_tables import Float64Array, is_number
from fieldlevel.errors import UserError
from fieldlevel.files import read_bytes
from fieldlevel.layout import CAMELS_PARAMETERS, Layout
from fieldlevel.suites import base_set, facts_of, is_nbody, is_sobol, label_suite
from fieldlevel.wording import name_some

SEED_TABLE = re.compile(r"CosmoAstroSeed_(?P<suite>[^_]+)_(?P<box>[^_]+)_(?P<set_name>[^_]+)\.txt")
"""CAMELS' own tables: a name, the parameters, the seed."""

_NAMES = tuple(parameter.name for parameter in CAMELS_PARAMETERS)
"""Columns of the tables of the latin hypercubes."""
COLUMN_DIGESTS: Mapping[str, tuple[str, ...]] = {
    "IllustrisTNG": (
        "89c068e8fbc9b3037e6fe0f6c817863fb75a49621f0ae6cd7449e2e2bc62fb7a",
        "a21e26a27a49cc729e8ba8e252fd106f6c2d9b023a3cf15eb0762bc5147ac6c2",
        "9745845365edc0a6b0bbc9c6374bfa1ccc84c3fbaa28d702b34d31a17a335b9e",
        "2cecea238ca44c969ce7eb1b3db8672049ee7c929da07c094f913b3c2779020a",
        "fe6c7adcb7684293ac33fc57a2d32fe3a3c7d1deda90bc472f7e69957ce20b67",
        "510ec2a490bee244d4a1566e1deb28552714d1b4cbca7363bfe624324f79fae8",
    ),
    "SIMBA": (
        "6c6239c3c6d1a2c90a1b249b670f3b81bce3dd0eb700efd01b529ddde9a540ad",
        "d689a27913ffb869b30f940afa9d9a715a8d4fb51e0d56e940e6378b394dd8b4",
        "d2bb6d63c3d12a27a1ea4f5271c2650093686cfcfb50a76c29c866596792c5b6",
        "bee4b54abc3bb743aaaa2913608c0334bbd3f95331b6f7c93863bf3e25a39708",
        "5089abc435fe768c3f2db99b38c7017c88b8b3f8068ccff1d335ebbf4732cb5d",
        "a02620ec16feae58a693d7a8084486da3f7f84646d8417c656340fde47039191",
    ),
}
"""Of each column of the table of a suite's latin hypercube: `column_digest`."""
_FEWEST_ROWS = 4
_SHARE = 0.9
"""Of the rows in which a column agrees that is a copy of the published one."""
_TOLERANCE = 1e-4


def seed_tables(files: SuiteFiles) -> list[Path]:
    """CAMELS' own tables of a suite and set that lie beside its maps."""
    found = ((name, SEED_TABLE.fullmatch(name)) for name in list_names(files.directory))
    wanted = (label_suite(files.suite), base_set(files.set_name))
    return [files.directory / name for name, match in found if match and match.group("suite", "set_name") == wanted]


def column_digest(values: Float64Array) -> str:
    """SHA-256 of a column of a table, (n,), written with five decimals, a line a row.

    Example:
        >>> column_digest(np.array([0.309, 0.3026]))[:12]
        '0bcc0c12fd57'
    """
    return hashlib.sha256("".join(f"{value:.5f}\n" for value in values).encode()).hexdigest()


def is_verified(files: SuiteFiles, theta: Float64Array, layout: Layout) -> bool:
    """Whether a published table confirms every row."""
    columns = used_columns(files.suite, layout)
    tables = [table for _, table in _beside(files, layout) if len(table) >= len(theta)]
    known = _known_columns(files, theta, layout)
    return any(_agreement(theta, table, columns).all() for table in tables) or (bool(known) and all(known.values()))


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
    known = _known_columns(files, theta, layout)
    if any(known.values()) and not all(known.values()):
        source = f"the latin hypercube of {label_suite(files.suite)}"
        yield _told(files, source, [name for name, agrees in known.items() if not agrees])
    columns = used_columns(files.suite, layout)
    for source, table in _beside(files, layout):
        if len(table) < len(theta):
            continue
        agrees = _agreement(theta, table, columns)
        is_copy = (agrees.mean(axis=0) > _SHARE) & (theta[:, columns] != theta[0, columns]).any(axis=0)
        if is_copy.any() and not agrees.all():
            differing = [layout.names[column] for column in np.array(columns)[~agrees.all(axis=0)]]
            yield _told(files, source, differing, name_some(np.flatnonzero(~agrees.all(axis=1))))


def _known_columns(files: SuiteFiles, theta: Float64Array, layout: Layout) -> dict[str, bool]:
    """For each parameter that means something whether its column is the published one; empty where none is known."""
    digests = COLUMN_DIGESTS.get(label_suite(files.suite))
    if digests is None or base_set(files.set_name) != "LH" or layout.names != _NAMES:
        return {}
    columns = used_columns(files.suite, layout)
    return {layout.names[column]: column_digest(theta[:, column]) == digests[column] for column in columns}


def _told(files: SuiteFiles, source: str, differing: Sequence[str], rows: str = "") -> str:
    where = f", in rows {rows}" if rows else ""
    return (
        f"{files.parameters_path}: {', '.join(differing)} differ from {source}, which the other columns repeat{where}: "
        "shuffled, exchanged or changed; give the labels as they were published"
    )


def _agreement(theta: Float64Array, table: Float64Array, columns: Sequence[int]) -> BoolArray:
    ours, theirs = theta[:, columns], table[: len(theta), columns]
    return np.isclose(ours, theirs, rtol=_TOLERANCE, atol=1e-5)


def _beside(files: SuiteFiles, layout: Layout) -> Iterator[tuple[str, Float64Array]]:
    for path in seed_tables(files):
        if (beside := _read_seed_table(path, files, layout)) is not None:
            yield path.name, beside


def _read_seed_table(path: Path, files: SuiteFiles, layout: Layout) -> Float64Array | None:
    """Feedback in units of the fiducial value; None where the table has another form."""
    try:
        table = _parse(read_bytes(path).decode(errors="replace"), layout.n_parameters)
    except (UserError, ValueError, IndexError):
        return None
    units = facts_of(files.suite).feedback_units
    if not units or layout.names != _NAMES or is_nbody(files.suite):
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
