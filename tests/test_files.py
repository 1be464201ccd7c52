import subprocess
import sys

import pytest

from fieldlevel.errors import UserError
from fieldlevel.files import write_text, written_aside
from fieldlevel.locks import claimed, locked


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "table.csv"
    with written_aside(path) as aside:
        aside.write_text("rows")
        assert not path.exists()
    assert path.read_text() == "rows"


def test_an_error_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), written_aside(path) as aside:
        aside.write_text("half of the ne")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_claimed_by_one_process_at_a_time(tmp_path):
    code = "import sys, pathlib, fieldlevel.locks as files\nwith files.claimed(pathlib.Path(sys.argv[1])): pass"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with claimed(tmp_path):
        refused = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "another run works in it" in refused.stderr
    subprocess.run(command, check=True)


def test_a_folder_that_stayed_empty_is_taken_away_if_the_claim_made_it(tmp_path):
    for name, work in (("new", None), ("worked", "table.csv"), ("old", None)):
        if name == "old":
            (tmp_path / name).mkdir()
        with pytest.raises(ZeroDivisionError), claimed(tmp_path / name):
            if work:
                write_text(tmp_path / name / work, "rows")
            raise ZeroDivisionError
    assert {path.name for path in tmp_path.iterdir()} == {"worked", "old"}


def test_a_file_cannot_be_claimed(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"), claimed(tmp_path / "file"):
        pass


def test_a_lock_is_held_by_one_at_a_time_and_can_be_waited_for(tmp_path):
    path = tmp_path / "lock"
    with locked(path) as first, locked(path) as second:
        assert (first, second) == (True, False)
    with locked(path, wait=True) as third:
        assert third


def test_a_lock_leaves_nothing_behind_and_takes_no_other_away(tmp_path):
    path = tmp_path / "lock"
    with locked(path):
        assert path.exists()
    assert not path.exists()
    with locked(path):
        path.unlink()
        with locked(path) as second:
            assert second
            with locked(path) as third:
                assert not third
            assert path.exists()


def test_many_processes_that_wait_hold_the_lock_one_after_the_other(tmp_path):
    code = (
        "import sys, time, pathlib, fieldlevel.locks as files\n"
        "counter, lock = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])\n"
        "for _ in range(40):\n"
        "    with files.locked(lock, wait=True):\n"
        "        counter.write_text(str(int(counter.read_text()) + 1))\n"
    )
    (tmp_path / "counter").write_text("0")
    command = [sys.executable, "-c", code, str(tmp_path / "counter"), str(tmp_path / "lock")]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert (tmp_path / "counter").read_text() == "160"
