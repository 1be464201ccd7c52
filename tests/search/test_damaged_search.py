"""A search never begins again over its own trials, and never tells of files that are not there."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from fieldlevel.cli import main
from fieldlevel.errors import UserError
from fieldlevel.search.tune import tune
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.training.train_spec import OptimiserSpec


@pytest.fixture
def tuning(spec) -> TuneSpec:
    return TuneSpec(train=replace(spec, n_steps=2, validate_every=1), n_trials=3, n_kept=2)


@pytest.fixture
def finished(tuning, directory, tmp_path):
    tune(tuning, directory, tmp_path / "out", "cpu")
    return tmp_path / "out"


def tables(out):
    return {path.name: path.read_text() for path in out.glob("trials.csv")}


def test_a_journal_that_is_gone_or_empty_is_not_begun_again(tuning, directory, finished, tmp_path):
    """Whatever else is left beside it."""
    journal, told = finished / "journal.log", tables(finished)
    whole = journal.read_bytes()
    for change, words in ((journal.unlink, "is gone"), (lambda: journal.write_bytes(b""), "is empty")):
        journal.write_bytes(whole)
        change()
        with pytest.raises(UserError, match=rf"journal.log: {words}, but .* is there; bring it back, or delete .*out"):
            tune(tuning, directory, finished, "cpu")
        assert tables(finished) == told
    kept = next(finished.glob("trial-*")).name
    for name in ("trials.csv", "spec.json", kept):
        other = tmp_path / f"only {name}"
        other.mkdir()
        copy = shutil.copytree if (finished / name).is_dir() else shutil.copy
        copy(finished / name, other / name)
        with pytest.raises(UserError, match=r"journal.log: is gone, but"):
            tune(tuning, directory, other, "cpu")
    journal.write_bytes(whole)
    tune(tuning, directory, finished, "cpu")
    assert tables(finished) == told


def test_a_journal_that_is_a_link_is_not_written_through(tuning, directory, tmp_path):
    (tmp_path / "victim").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "journal.log").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match=r"journal\.log: is a link"):
        tune(tuning, directory, tmp_path / "out", "cpu")
    assert (tmp_path / "victim").read_bytes() == b""


def test_a_journal_cut_to_its_beginning_is_refused(tuning, directory, finished):
    journal = finished / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    for n in (1, len(lines) // 2, len(lines) - 1):
        journal.write_bytes(b"".join(lines[:n]))
        with pytest.raises(UserError, match=r"journal.log: .*bring the journal back, or delete"):
            tune(tuning, directory, finished, "cpu")


def test_a_journal_without_its_last_line_end_is_whole(tuning, directory, finished):
    """As editors leave it: the event counts, and the next one begins a line of its own."""
    journal, told = finished / "journal.log", tables(finished)
    whole = journal.read_bytes()
    journal.write_bytes(whole.rstrip(b"\n"))
    tune(tuning, directory, finished, "cpu")
    assert tables(finished) == told
    assert journal.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in journal.read_bytes().splitlines())


def test_a_journal_in_one_line_is_refused_and_stays(tuning, directory, finished):
    journal = finished / "journal.log"
    joined = journal.read_bytes().replace(b"\n", b"")
    journal.write_bytes(joined)
    with pytest.raises(UserError, match=r"journal.log: line 1 is damaged"):
        tune(tuning, directory, finished, "cpu")
    assert journal.read_bytes() == joined


EVENTS = [
    b"[" * 100_000,
    b'{"op_code": ' + b"9" * 5000 + b"}",
    b'{"op_code": "x"}',
    b'{"op_code": 1e400}',
    b'{"op_code": 4, "worker_id": "w", "study_id": 0, "datetime_start": "never"}',
    b'{"op_code": null}',
    b'{"op_code": 0, "worker_id": "w", "study_name": 3, "directions": "x"}',
    b"\0\0\0\0",
    b"\xff\xfe",
]


def test_strange_events_are_told_in_one_line(tuning, directory, finished, tmp_path):
    journal = finished / "journal.log"
    whole = journal.read_bytes()
    for event in EVENTS:
        journal.write_bytes(whole + event + b"\n")
        with pytest.raises(UserError, match=r"journal.log: .*delete .*out") as error:
            tune(tuning, directory, finished, "cpu")
        assert "\n" not in str(error.value), event
        assert len(str(error.value)) < 800, event


CHANGES = [
    (b'"values":[', b'"values":["x",'),
    (b'"values":[', b'"values":[NaN,'),
    (b'"user_attr":{"worker":"', b'"user_attr":{"worker":"../../'),
    (b'"user_attr":{"worker":"', b'"user_attr":{"worker":3,"other":"'),
    (b'"param_value_internal":', b'"param_value_internal":1e400, "old":'),
    (b'"param_name":"dropout"', b'"param_name":"n_layers"'),
    (b'"directions":[1]', b'"directions":[2]'),
    (b'"directions":[1]', b'"directions":[1,1]'),
]


def test_changed_events_are_told_in_one_line(tuning, directory, finished):
    journal = finished / "journal.log"
    whole = journal.read_bytes()
    for old, new in CHANGES:
        assert old in whole, old
        journal.write_bytes(whole.replace(old, new))
        with pytest.raises(UserError, match=r"journal.log: .*") as error:
            tune(tuning, directory, finished, "cpu")
        assert "\n" not in str(error.value), new


def test_weights_that_were_deleted_are_made_again(tuning, directory, finished):
    kept = sorted(finished.glob("trial-*/weights.safetensors"))
    whole, told = [path.read_bytes() for path in kept], tables(finished)
    shutil.rmtree(kept[0].parent)
    kept[1].unlink()
    paths = tune(tuning, directory, finished, "cpu")
    assert sorted(paths) == kept
    assert all(path.exists() for path in paths)
    assert [path.read_bytes()[-1000:] for path in kept] == [content[-1000:] for content in whole]
    assert tables(finished) == told
    assert list(finished.rglob("resume.pt")) == []


@pytest.mark.parametrize("name", ["spec.json", "trials.csv", "importance.json"])
def test_foreign_files_are_left_alone(tuning, directory, tmp_path, name):
    (tmp_path / "out").mkdir()
    for text in ("mine", "", "{}", "a,b\n1,2\n", '{"a":' * 100_000):
        (tmp_path / "out" / name).write_text(text)
        with pytest.raises(UserError, match=rf"{name}: is there already and was not written by this command"):
            tune(tuning, directory, tmp_path / "out", "cpu")
        assert (tmp_path / "out" / name).read_text() == text


def test_a_pipe_for_a_journal_is_refused_at_once(tuning, directory, tmp_path):
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "journal.log")
    with pytest.raises(UserError, match=r"journal.log: is "):
        tune(tuning, directory, tmp_path / "out", "cpu")


def test_the_released_space_is_one_of_adamw(tuning, directory, tmp_path):
    muon = replace(tuning.train, optimiser=OptimiserSpec(method="Muon"))
    with pytest.raises(UserError, match="search = released: its space is one of AdamW, not of Muon"):
        tune(replace(tuning, train=muon, search="released"), directory, tmp_path / "out", "cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--search", "released"], "its space is one of AdamW"),
        (
            ["--preset", "released", "--search", "released", "--network.hidden", "9"],
            "network.hidden = 9: would have no",
        ),
        (
            ["--preset", "released", "--search", "released", "--optimiser.learning-rate", "1e-3"],
            "optimiser.learning_rate = 0.001: would have no effect",
        ),
        (["--n-trials", "100000000000"], "n_trials = 100000000000: allowed are"),
        (["--search-seed", str(2**70)], "search-seed = "),
        (["--perceptron.n-layers", "2"], "perceptron.n_layers = 2: would have no effect"),
        (["--inputs", "one-point PDF", "--network.hidden", "3"], "network.hidden = 3: would have no effect"),
    ],
)
def test_settings_given_in_vain_are_refused(directory, tmp_path, capsys, flags, words):
    assert main(["tune", "--data", str(directory), "--out", str(tmp_path / "out"), "--device", "cpu", *flags]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
