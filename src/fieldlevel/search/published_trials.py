"""The best trials of a published Optuna database, to begin a search with.

The databases of the released CMD scripts are SQLite files of older versions of Optuna, some with trials that never
ended. They are read by SQL, from a copy: no version of Optuna has to know the others' tables, a file in use or
read-only will do, and the original stays as it is to the bit.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10915 (CMD and its hyper-parameter searches).
"""

import json
import math
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fieldlevel.errors import UserError, reason
from fieldlevel.files import check_regular

STUDY_NAME = "wd_dr_hidden_lr_o3"

PARAMETERS = {"lr": "learning_rate", "wd": "weight_decay", "dr": "dropout", "hidden": "hidden"}
"""Of the released searches, and what they are called here."""

MOST_BYTES = 2**30
"""Of a database; published ones have less than 1 MB."""

Point = dict[str, float | int]

_INSTRUCTIONS, _MOST_ROUNDS = 100_000, 300
"""Of SQLite's machine between two counts, and counts: some seconds; a published database takes one count."""

_MAGIC = b"SQLite format 3\x00"
_REMEDY = "give the SQLite file of a released search, <suite>_o3_<field>_all_steps_500_500_o3.db"


def published_trials(path: str | Path) -> list[Point]:
    """Hyper-parameters of the complete trials of a published database, the best first.

    Args:
        path: SQLite file of Optuna, of any version, with the study `wd_dr_hidden_lr_o3`; it is never changed.

    Returns:
        Learning rate, weight decay, dropout and width of each trial with a finite validation loss, lowest loss first.

    Raises:
        UserError: no such file, no database, no such study, or no complete trial in it.
    """
    database = Path(path)
    with _copied(database) as copy:
        try:
            with closing(sqlite3.connect(copy)) as connection:
                _limit_work(connection)
                rows = _read(connection, database)
        except (sqlite3.Error, OverflowError) as error:
            raise UserError(f"{database}: not a database of Optuna ({reason(error)}); {_REMEDY}") from None
    points = [point for _, values in sorted(rows.items(), key=lambda row: row[0]) if (point := _point(values))]
    if not points:
        told = f"{database}: the study {STUDY_NAME} has no complete trial of {', '.join(PARAMETERS)}"
        raise UserError(f"{told}; {_REMEDY}")
    return points


@contextmanager
def _copied(database: Path) -> Iterator[Path]:
    """A copy in a folder of its own, with what a process that had it open has not written into it yet."""
    check_regular(database, _REMEDY)
    try:
        with database.open("rb") as file:
            is_sqlite, size = file.read(16) == _MAGIC, database.stat().st_size
        if not is_sqlite or size > MOST_BYTES:
            raise UserError(f"{database}: not an SQLite database{_told_size(size)}; {_REMEDY}")
        with TemporaryDirectory(prefix="fieldlevel-") as folder:
            copy = Path(folder) / "database.db"
            shutil.copyfile(database, copy)
            for ending in ("-wal", "-journal"):
                beside = Path(f"{database.resolve()}{ending}")
                if beside.is_file() and beside.stat().st_size <= MOST_BYTES:
                    shutil.copyfile(beside, copy.with_name(copy.name + ending))
            yield copy
    except (OSError, ValueError) as error:
        raise UserError(f"{database}: cannot be read ({reason(error)}); {_REMEDY}") from None


def _told_size(size: int) -> str:
    return f" of a search, {size / 1e9:.3g} GB" if size > MOST_BYTES else ""


def _limit_work(connection: sqlite3.Connection) -> None:
    """End queries of tables that are made to be endless, as a view may be."""
    rounds = iter(range(_MOST_ROUNDS))
    connection.set_progress_handler(lambda: next(rounds, None) is None, _INSTRUCTIONS)


def _read(connection: sqlite3.Connection, database: Path) -> dict[tuple[float, int], dict[str, object]]:
    """Values of the parameters of each complete trial, by its validation loss and number in the tables."""
    studies = dict(connection.execute("SELECT study_name, study_id FROM studies"))
    if STUDY_NAME not in studies:
        named = ", ".join(sorted(str(name)[:60] for name in studies)[:3]) or "none"
        raise UserError(f"{database}: has no study {STUDY_NAME} (its studies: {named}); {_REMEDY}")
    study = studies[STUDY_NAME]
    if "MAXIMIZE" in _directions(connection, study):
        raise UserError(f"{database}: the study {STUDY_NAME} seeks the largest value, not the lowest loss; {_REMEDY}")
    of_trial: dict[int, tuple[float, int]] = {
        trial: (float(value), trial)
        for trial, value in connection.execute(_values_query(connection), (study,))
        if isinstance(value, float | int) and math.isfinite(value)
    }
    rows: dict[tuple[float, int], dict[str, object]] = {key: {} for key in of_trial.values()}
    for trial, name, value, distribution in connection.execute(
        "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params"
    ):
        if trial in of_trial:
            rows[of_trial[trial]][name] = _external(value, distribution)
    return rows


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}


def _directions(connection: sqlite3.Connection, study: int) -> set[str]:
    """A column of the studies up to Optuna 2.3, a table of its own after."""
    is_old = "direction" in _columns(connection, "studies")
    table = "studies" if is_old else "study_directions"
    return {row[0] for row in connection.execute(f"SELECT direction FROM {table} WHERE study_id = ?", (study,))}


def _values_query(connection: sqlite3.Connection) -> str:
    """The value of a trial was a column of the trials up to Optuna 2.3, when `trial_values` held those on the way."""
    complete = "study_id = ? AND state = 'COMPLETE'"
    if "value" in _columns(connection, "trials"):
        return f"SELECT trial_id, value FROM trials WHERE {complete}"
    finite = " AND value_type = 'FINITE'" if "value_type" in _columns(connection, "trial_values") else ""
    return (
        "SELECT trials.trial_id, trial_values.value FROM trials JOIN trial_values USING (trial_id) "
        f"WHERE {complete} AND objective = 0{finite}"
    )


def _external(value: object, distribution: object) -> object:
    """The value that the network had: of one of several choices the table holds the place."""
    try:
        choices: list[object] = json.loads(str(distribution))["attributes"]["choices"]
        return choices[int(str(value).removesuffix(".0"))]
    except (LookupError, TypeError, ValueError, RecursionError):
        return value


def _point(values: Mapping[str, object]) -> Point | None:
    """What a trial had, in the words of this package; None where that cannot train a network."""
    numbers = {
        own: float(value)
        for name, own in PARAMETERS.items()
        if isinstance(value := values.get(name), float | int) and math.isfinite(value)
    }
    if len(numbers) < len(PARAMETERS):
        return None
    is_usable = numbers["learning_rate"] > 0 and numbers["weight_decay"] >= 0 and 0 <= numbers["dropout"] < 1
    return numbers | {"hidden": round(numbers["hidden"])} if is_usable and numbers["hidden"] >= 1 else None
