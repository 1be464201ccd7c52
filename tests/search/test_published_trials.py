"""Databases of Optuna in the tables of its versions, written here by SQL, as beginnings of a search."""

import hashlib
import os
import sqlite3
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import fieldlevel
from fieldlevel.cli import Tune, main, parse
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.search import tune
from fieldlevel.search.published_trials import STUDY_NAME, published_trials
from fieldlevel.search.space import FROM_DATABASE, PUBLISHED, starting_points
from fieldlevel.search.trial_tables import read_trials
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import to_json
from fieldlevel.training.state import HistoryRow, TrainedNetwork
from fieldlevel.training.train_spec import OptimiserSpec

Row = tuple[str, float | None, dict[str, float]]
"""State, value and parameters of a trial."""


def trial(value: float | None, lr: float = 1e-3, hidden: int = 8, state: str = "COMPLETE", **others: float) -> Row:
    return state, value, {"lr": lr, "wd": 1e-4, "dr": 0.2, "hidden": hidden} | others


TRIALS: list[Row] = [
    trial(-9.0, 1e-3, 6),
    trial(-11.5, 2e-3, 7),
    trial(None, 3e-3, 8, "RUNNING"),
    trial(-12.6, 4e-3, 9),
    trial(None, 9e-4, 9, "FAIL"),
    trial(-12.0, 3.5e-3, 10, dr=0.4),
    trial(-13.0, 2.5e-3, 12, "PRUNED"),
    trial(-11.0, 1.5e-3, 11),
    trial(-10.0, 1.2e-3, 12),
    trial(-1.0, 1e-5, 6, dr=0.9, wd=1e-8),
]
BEST = [9, 10, 7, 11, 12]
"""Widths of the five best, which tell the trials."""

DISTRIBUTION = '{"name": "LogUniformDistribution", "attributes": {"low": 1e-05, "high": 0.005}}'
COMMON = """
CREATE TABLE version_info (version_info_id INTEGER PRIMARY KEY, schema_version INTEGER, library_version VARCHAR(256));
CREATE TABLE trial_params (param_id INTEGER PRIMARY KEY, trial_id INTEGER, param_name VARCHAR(512), param_value FLOAT,
    distribution_json {text}, UNIQUE (trial_id, param_name));
CREATE TABLE trial_user_attributes (trial_user_attribute_id INTEGER PRIMARY KEY, trial_id INTEGER, key VARCHAR(512),
    value_json {text});
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
INSERT INTO alembic_version VALUES ('{version}');
INSERT INTO version_info VALUES (1, 12, '{library}');
"""
OLD = """
CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name VARCHAR(512) UNIQUE, direction VARCHAR(8) NOT NULL);
CREATE TABLE trials (trial_id INTEGER PRIMARY KEY, {number} study_id INTEGER, state VARCHAR(8) NOT NULL, value FLOAT,
    datetime_start DATETIME, datetime_complete DATETIME);
CREATE TABLE trial_values (trial_value_id INTEGER PRIMARY KEY, trial_id INTEGER, step INTEGER, value FLOAT,
    UNIQUE (trial_id, step));
"""
NEW = """
CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name VARCHAR(512) NOT NULL UNIQUE);
CREATE TABLE study_directions (study_direction_id INTEGER PRIMARY KEY, direction VARCHAR(8) NOT NULL,
    study_id INTEGER NOT NULL, objective INTEGER NOT NULL, UNIQUE (study_id, objective));
CREATE TABLE trials (trial_id INTEGER PRIMARY KEY, number INTEGER, study_id INTEGER, state VARCHAR(8) NOT NULL,
    datetime_start DATETIME, datetime_complete DATETIME);
CREATE TABLE trial_values (trial_value_id INTEGER PRIMARY KEY, trial_id INTEGER NOT NULL, objective INTEGER NOT NULL,
    value FLOAT {null}{kind}, UNIQUE (trial_id, objective));
CREATE TABLE trial_intermediate_values (trial_intermediate_value_id INTEGER PRIMARY KEY, trial_id INTEGER NOT NULL,
    step INTEGER NOT NULL, intermediate_value FLOAT, UNIQUE (trial_id, step));
"""


def write_old(
    path: Path, trials: Sequence[Row] = TRIALS, version: str = "v1.3.0.a", direction: str = "MINIMIZE"
) -> Path:
    """Tables of Optuna 0.9 to 2.3: values in `trials`, those on the way in `trial_values`."""
    number = "" if version == "v0.9.0.a" else "number INTEGER,"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(COMMON.format(text="VARCHAR(2048)", version=version, library="2.3.0"))
        database.executescript(OLD.format(number=number))
        database.execute("INSERT INTO studies VALUES (1, 'another', 'MAXIMIZE'), (2, ?, ?)", (STUDY_NAME, direction))
        for trial_id, (state, value, params) in enumerate(trials, 11):
            columns = "trial_id, study_id, state, value"
            database.execute(f"INSERT INTO trials ({columns}) VALUES (?, 2, ?, ?)", (trial_id, state, value))
            database.execute("INSERT INTO trial_values (trial_id, step, value) VALUES (?, 1, -99.0)", (trial_id,))
            insert_params(database, trial_id, params)
        database.execute("INSERT INTO trials (trial_id, study_id, state, value) VALUES (5, 1, 'COMPLETE', -50.0)")
        insert_params(database, 5, TRIALS[0][2])
        database.commit()
    return path


def write_new(
    path: Path, trials: Sequence[Row] = TRIALS, version: str = "v2.6.0.a", direction: str = "MINIMIZE"
) -> Path:
    """Tables of Optuna 2.4 to 4: values in `trial_values`, since 3.0 with what kind of number they are."""
    is_typed = version >= "v3"
    kind = ", value_type VARCHAR(7) NOT NULL" if is_typed else ""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(COMMON.format(text="TEXT", version=version, library="2.10.0"))
        database.executescript(NEW.format(kind=kind, null="" if is_typed else "NOT NULL"))
        database.execute("INSERT INTO studies VALUES (2, ?)", (STUDY_NAME,))
        database.execute("INSERT INTO study_directions VALUES (1, ?, 2, 0)", (direction,))
        for trial_id, (state, value, params) in enumerate(trials, 1):
            database.execute("INSERT INTO trials VALUES (?, ?, 2, ?, NULL, NULL)", (trial_id, trial_id - 1, state))
            if value is not None:
                told = (trial_id, value, "FINITE") if is_typed else (trial_id, value)
                marks = ", ?" if is_typed else ""
                database.execute(f"INSERT INTO trial_values VALUES (NULL, ?, 0, ?{marks})", told)
            insert_params(database, trial_id, params)
        database.commit()
    return path


def insert_params(database: sqlite3.Connection, trial_id: int, params: dict[str, float]) -> None:
    rows = [(trial_id, name, float(value), DISTRIBUTION) for name, value in params.items()]
    database.executemany("INSERT INTO trial_params VALUES (NULL, ?, ?, ?, ?)", rows)


def write_with_optuna(path: Path) -> Path:
    """By the version that is installed."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    study = optuna.create_study(study_name=STUDY_NAME, storage=storage)
    distributions = {
        "lr": optuna.distributions.FloatDistribution(1e-5, 5e-3, log=True),
        "wd": optuna.distributions.FloatDistribution(1e-8, 1e-1, log=True),
        "dr": optuna.distributions.FloatDistribution(0.0, 0.9),
        "hidden": optuna.distributions.IntDistribution(6, 12),
    }
    for state, value, params in TRIALS:
        if state == "RUNNING":
            study.ask(distributions)
            continue
        told = {"state": optuna.trial.TrialState[state], "params": params, "distributions": distributions}
        study.add_trial(optuna.trial.create_trial(value=value, **told))
    storage.engine.dispose()
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "v0.9": lambda path: write_old(path, version="v0.9.0.a"),
    "v1.3": write_old,
    "v2.4": lambda path: write_new(path, version="v2.4.0.a"),
    "v2.6": write_new,
    "v3.0": lambda path: write_new(path, version="v3.0.0.d"),
    "v3.2": lambda path: write_new(path, version="v3.2.0.a"),
    "installed": write_with_optuna,
}


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("version", WRITERS)
def test_complete_trials_of_every_version_come_in_the_order_of_their_loss(tmp_path, version):
    database = WRITERS[version](tmp_path / "published.db")
    before, files = sha(database), sorted(tmp_path.iterdir())
    trials = published_trials(database)
    assert [point["hidden"] for point in trials] == [*BEST, 6, 6]
    assert trials[0] == {"learning_rate": 4e-3, "weight_decay": 1e-4, "dropout": 0.2, "hidden": 9}
    assert trials[1]["dropout"] == 0.4
    assert sha(database) == before
    assert sorted(tmp_path.iterdir()) == files


def test_equal_losses_come_in_the_order_of_the_trials(tmp_path):
    database = write_new(tmp_path / "x.db", [trial(-1.0, hidden=h) for h in (9, 7, 8)])
    assert [point["hidden"] for point in published_trials(database)] == [9, 7, 8]


def test_widths_chosen_from_a_list_are_read_as_the_width_not_its_place(tmp_path):
    database = write_new(tmp_path / "x.db", [trial(-1.0, hidden=2)])
    with closing(sqlite3.connect(database)) as connection:
        choices = '{"name": "CategoricalDistribution", "attributes": {"choices": [6, 8, 12]}}'
        connection.execute("UPDATE trial_params SET distribution_json = ? WHERE param_name = 'hidden'", (choices,))
        connection.commit()
    assert published_trials(database)[0]["hidden"] == 12


@pytest.mark.parametrize(
    "row",
    [
        trial(None),
        trial(float("nan")),
        trial(float("inf")),
        trial(float("-inf")),
        trial(-20.0, lr=-1.0),
        trial(-20.0, lr=0.0),
        trial(-20.0, dr=1.5),
        trial(-20.0, wd=float("inf")),
        trial(-20.0, hidden=0),
        ("COMPLETE", -20.0, {"lr": 1e-3}),
        ("WAITING", -20.0, trial(0)[2]),
    ],
)
@pytest.mark.parametrize("write", [write_old, lambda path, rows: write_new(path, rows, "v3.2.0.a")])
def test_trials_that_cannot_train_a_network_are_passed_over(tmp_path, row, write):
    assert [point["hidden"] for point in published_trials(write(tmp_path / "x.db", [row, trial(-1.0, hidden=11)]))] == [
        11
    ]


def test_a_database_in_use_or_left_with_its_log_is_read_as_it_stands(tmp_path):
    database = write_new(tmp_path / "x.db", TRIALS[:2])
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("UPDATE trial_params SET param_value = 10 WHERE param_name = 'hidden'")
        writer.execute("BEGIN EXCLUSIVE")
        before = [sha(path) for path in sorted(tmp_path.iterdir())]
        assert [point["hidden"] for point in published_trials(database)] == [10, 10]
        assert [sha(path) for path in sorted(tmp_path.iterdir())] == before


def test_a_transaction_that_was_killed_is_not_believed(tmp_path):
    """A journal beside the database undoes it, in the copy alone."""
    database = write_new(tmp_path / "x.db", TRIALS[:2])
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size=1")
        writer.execute("BEGIN")
        writer.execute("UPDATE trial_params SET param_value = 10 WHERE param_name = 'hidden'")
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9999)"
        writer.execute(f"CREATE TABLE filler AS {numbers} SELECT i, hex(randomblob(500)) FROM n")
        killed = tmp_path / "killed"
        killed.mkdir()
        for name in ("x.db", "x.db-journal"):
            (killed / name).write_bytes((tmp_path / name).read_bytes())
        writer.execute("ROLLBACK")
    before = sha(killed / "x.db")
    assert [point["hidden"] for point in published_trials(killed / "x.db")] == [7, 6]
    assert sha(killed / "x.db") == before


def test_a_folder_that_may_not_be_written_and_a_link_will_do(tmp_path):
    (tmp_path / "read-only").mkdir()
    database = write_new(tmp_path / "read-only" / "x.db")
    database.chmod(0o400)
    database.parent.chmod(0o500)
    (tmp_path / "link.db").symlink_to(database)
    assert len(published_trials(tmp_path / "link.db")) == 7
    database.parent.chmod(0o700)


def other_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE results (x)")
        database.commit()


def other_study(path: Path) -> None:
    write_new(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE studies SET study_name = 'mine'")
        database.commit()


def endless_view(path: Path) -> None:
    write_new(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE trial_params")
        database.execute(
            "CREATE VIEW trial_params AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
            "SELECT i AS trial_id, 'lr' AS param_name, 1.0 AS param_value, '' AS distribution_json FROM n"
        )
        database.commit()


def names_not_of_text(path: Path) -> None:
    write_new(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE studies SET study_name = CAST(X'FF00FE' AS TEXT)")
        database.commit()


def cut(path: Path) -> None:
    write_new(path)
    os.truncate(path, path.stat().st_size // 3)


def overwritten(path: Path) -> None:
    content = bytearray(write_new(path).read_bytes())
    content[100:] = b"\xa5" * (len(content) - 100)
    path.write_bytes(content)


def sparse(path: Path) -> None:
    write_new(path)
    os.truncate(path, 2**40)


HOSTILE: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "absent": (lambda path: None, ["No such file"]),
    "empty": (lambda path: path.touch(), ["not an SQLite database"]),
    "text": (lambda path: path.write_text("lr,wd,dr,hidden\n"), ["not an SQLite database"]),
    "a folder": (lambda path: path.mkdir(), ["folder"]),
    "a pipe": (os.mkfifo, ["pipe"]),
    "a device": (lambda path: path.symlink_to("/dev/zero"), ["device"]),
    "a link to itself": (lambda path: path.symlink_to(path), ["cannot be read"]),
    "the beginning alone": (lambda path: path.write_bytes(b"SQLite format 3\x00"), ["not a database of Optuna"]),
    "a third": (cut, ["not a database of Optuna"]),
    "overwritten": (overwritten, ["not a database of Optuna"]),
    "a terabyte": (sparse, ["1.1e+03 GB"]),
    "other tables": (other_tables, ["not a database of Optuna", "studies"]),
    "another study": (other_study, ["no study wd_dr_hidden_lr_o3", "mine"]),
    "names that are no text": (names_not_of_text, ["not a database of Optuna"]),
    "an endless table": (endless_view, ["not a database of Optuna", "interrupted"]),
    "no trials": (lambda path: write_new(path, []), ["no complete trial of lr, wd, dr, hidden"]),
    "running ones alone": (lambda path: write_old(path, [trial(None, state="RUNNING")]), ["no complete trial"]),
    "a search for the largest value": (lambda path: write_new(path, direction="MAXIMIZE"), ["largest value"]),
    "an old search for the largest value": (lambda path: write_old(path, direction="MAXIMIZE"), ["largest value"]),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_published_database_is_refused_in_one_line(tmp_path, directory, capsys, kind):
    write, words = HOSTILE[kind]
    write(tmp_path / "published.db")
    command = ["tune", "--data", str(directory), "--out", str(tmp_path / "out"), "--begin-with"]
    assert main([*command, str(tmp_path / "published.db"), "--split.train", "0.75", "--split.validation", "0.125"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1, told
    assert all(word in told for word in ["published.db", *words]), told
    assert not (tmp_path / "out").exists()


def test_damaged_bytes_are_refused_or_do_not_matter(tmp_path):
    content, random = write_new(tmp_path / "x.db").read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        spoilt = bytearray(content)
        for place in random.integers(16, len(content), 20):
            spoilt[place] = int(random.integers(256))
        (tmp_path / "x.db").write_bytes(spoilt)
        try:
            published_trials(tmp_path / "x.db")
        except UserError as error:
            assert "\n" not in str(error)


# The search.


@pytest.fixture
def tuning(spec) -> TuneSpec:
    return TuneSpec(train=replace(spec, network=replace(spec.network, hidden=8)), n_trials=7, n_kept=2)


@pytest.fixture
def quick(monkeypatch) -> None:
    """Trials without any training."""

    def fake(trial, spec, training, validation, file, listener) -> TrainedNetwork:
        trial.set_user_attr("seconds", 1.0)
        loss = spec.optimiser.learning_rate
        history = (HistoryRow(spec.n_steps, 0.0, 0.0, loss, 1.0),)
        return TrainedNetwork(MomentNetwork(16, 1, dropout=0.0), history, loss)

    monkeypatch.setattr(tune, "train_trial", fake)


def widths(out: Path) -> list[int]:
    return [int(row["hidden"]) for row in read_trials(out)]


def test_a_search_begins_with_the_five_best_then_with_its_own_values(tuning, directory, tmp_path, quick):
    database = write_old(tmp_path / "published.db")
    fieldlevel.tune(tuning, directory, tmp_path / "out", begin_with=database)
    rows = read_trials(tmp_path / "out")
    assert widths(tmp_path / "out")[:6] == [*BEST, 8]
    assert [float(row["learning_rate"]) for row in rows[:6]] == [4e-3, 3.5e-3, 2e-3, 1.5e-3, 1.2e-3, 1e-2]
    assert len(rows) == 7


def test_the_released_search_begins_with_them_too(tuning, directory, tmp_path, quick):
    released = replace(tuning, search="released", n_trials=6)
    fieldlevel.tune(released, directory, tmp_path / "out", begin_with=write_new(tmp_path / "published.db"))
    assert widths(tmp_path / "out")[:5] == BEST


def test_points_outside_the_space_are_moved_to_its_edge_and_those_that_then_agree_are_one(spec):
    small = TuneSpec(train=replace(spec, network=replace(spec.network, hidden=4)))
    rows = [{"learning_rate": rate, "weight_decay": 1e-9, "dropout": 0.9, "hidden": 12} for rate in (1e-5, 1e-4, 1e-2)]
    first, second, own = starting_points(small, rows)
    assert first == {"learning_rate": 5e-4, "weight_decay": 1e-6, "dropout": 0.5, "hidden": 6}
    assert second == first | {"learning_rate": 1e-2}
    assert own["hidden"] == 4


def test_rates_of_adamw_are_not_given_to_muon(spec):
    muon = OptimiserSpec(method="Muon", learning_rate=4e-2, weight_decay=0.1)
    modern = TuneSpec(train=replace(spec, optimiser=muon, network=replace(spec.network, hidden=8)))
    point, own = starting_points(modern, [PUBLISHED])
    assert point == {"learning_rate": 4e-2, "weight_decay": 0.1, "dropout": PUBLISHED["dropout"], "hidden": 7}
    assert own["hidden"] == 8


def test_without_a_database_nothing_changes(spec):
    own, published = starting_points(TuneSpec())
    assert (own["hidden"], published) == (8, PUBLISHED)
    assert "begin_with" not in to_json(TuneSpec())
    assert starting_points(TuneSpec(search="released")) == []


def test_no_more_than_five_begin_a_search(spec):
    rows = [{"learning_rate": 1e-3 * n, "weight_decay": 1e-4, "dropout": 0.1, "hidden": 8} for n in range(1, 20)]
    points = starting_points(TuneSpec(train=replace(spec, network=replace(spec.network, hidden=8))), rows)
    assert len(points) == FROM_DATABASE + 1
    assert points[:5] == rows[:5]


def test_the_same_command_continues_and_a_finished_search_stays(tuning, directory, tmp_path, quick, monkeypatch):
    database, out = write_old(tmp_path / "published.db"), tmp_path / "out"
    fieldlevel.tune(replace(tuning, n_trials=3), directory, out, begin_with=database)
    fieldlevel.tune(tuning, directory, out, begin_with=write_new(tmp_path / "same-trials.db"))
    parts = [row | {"seconds": ""} for row in read_trials(out)]
    fieldlevel.tune(tuning, directory, tmp_path / "whole", begin_with=database)
    assert parts == [row | {"seconds": ""} for row in read_trials(tmp_path / "whole")]
    monkeypatch.setattr(tune, "train_trial", lambda *arguments: pytest.fail("a trial was run"))
    fieldlevel.tune(tuning, directory, out, begin_with=database)


def test_a_search_goes_on_with_its_own_beginning_only(tuning, directory, tmp_path, quick):
    database, other = write_old(tmp_path / "a.db"), write_new(tmp_path / "b.db", [trial(-1.0)])
    fieldlevel.tune(tuning, directory, tmp_path / "with", begin_with=database)
    fieldlevel.tune(tuning, directory, tmp_path / "without")
    for out, begin_with, words in [
        ("with", other, "with trials of another database"),
        ("with", None, "with a database"),
        ("without", database, "without one"),
    ]:
        before = read_trials(tmp_path / out)
        with pytest.raises(UserError, match=words):
            fieldlevel.tune(tuning, directory, tmp_path / out, begin_with=begin_with)
        assert read_trials(tmp_path / out) == before


def test_a_search_killed_before_it_knew_its_data_begins_anew(tuning, directory, tmp_path, quick, monkeypatch):
    real, calls = optuna.Study.set_user_attr, []

    def killed_second(study: optuna.Study, key: str, value: Any) -> None:
        calls.append(key)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(study, key, value)

    database, out = write_old(tmp_path / "published.db"), tmp_path / "out"
    monkeypatch.setattr(optuna.Study, "set_user_attr", killed_second)
    with pytest.raises(KeyboardInterrupt):
        fieldlevel.tune(tuning, directory, out, begin_with=database)
    assert calls == ["begin_with", "data_fingerprint"]
    fieldlevel.tune(tuning, directory, out, begin_with=database)
    assert widths(out)[:5] == BEST


def test_a_search_of_networks_on_summaries_has_no_use_for_it(tuning, directory, tmp_path):
    summaries = replace(tuning, train=replace(tuning.train, inputs="power spectrum", head_batches=0))
    with pytest.raises(UserError, match="networks on maps, but inputs = power spectrum"):
        fieldlevel.tune(summaries, directory, tmp_path / "out", begin_with=write_old(tmp_path / "x.db"))


def test_the_command_takes_a_database(directory, tmp_path, capsys, quick):
    database = write_old(tmp_path / "published.db")
    command = ["tune", "--data", str(directory), "--out", str(tmp_path / "out"), "--begin-with", str(database)]
    sizes = ["--split.train", "0.75", "--split.validation", "0.125", "--batch-size", "16", "--n-steps", "4"]
    parsed = parse([*command, *sizes])
    assert isinstance(parsed, Tune)
    assert parsed.begin_with == database
    assert main([*command, *sizes, "--n-trials", "2", "--device", "cpu"]) == 0
    assert widths(tmp_path / "out") == BEST[:2]
    assert "weights:" in capsys.readouterr().out


def test_reading_a_database_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert published_trials(str(write_with_optuna(tmp_path / "x.db")))
