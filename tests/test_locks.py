import os
import signal
import subprocess
import sys
import time

import pytest

from fieldlevel.errors import UserError
from fieldlevel.files import write_text
from fieldlevel.locks import claimed, locked, refuse_foreign

WITHOUT_FLOCK = (
    "import errno, fcntl, os, sys, pathlib, warnings\n"
    "warnings.simplefilter('error')\n"
    "def flock(*_): raise OSError(errno.ENOSYS, 'Function not implemented')\n"
    "fcntl.flock = flock\n"
    "from fieldlevel.locks import claimed, locked\n"
    "place = pathlib.Path(sys.argv[1])\n"
)


def run(code, *arguments, check=True):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=check, capture_output=True, text=True)


def test_a_folder_is_claimed_by_one_process_at_a_time(tmp_path):
    code = "import sys, pathlib\nfrom fieldlevel.locks import claimed\nwith claimed(pathlib.Path(sys.argv[1])): pass"
    with claimed(tmp_path):
        assert "another run works in it" in run(code, tmp_path, check=False).stderr
    run(code, tmp_path)


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


def test_files_of_others_are_not_replaced(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text("mine")
    ours = {"metrics.json": lambda path: path.read_text() == "ours"}
    with pytest.raises(UserError, match="was not written by this command"), claimed(tmp_path, ours):
        pass
    path.write_text("ours")
    with claimed(tmp_path, ours):
        pass
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="was not written by this command"):
        refuse_foreign(tmp_path, ours)


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
        "import sys, time, pathlib, fieldlevel.locks as locks\n"
        "counter, lock = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])\n"
        "for _ in range(40):\n"
        "    with locks.locked(lock, wait=True):\n"
        "        counter.write_text(str(int(counter.read_text()) + 1))\n"
    )
    (tmp_path / "counter").write_text("0")
    command = [sys.executable, "-c", code, str(tmp_path / "counter"), str(tmp_path / "lock")]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert (tmp_path / "counter").read_text() == "160"


def test_a_lock_is_no_link(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match="cannot be written"), locked(tmp_path / "lock"):
        pass
    assert (tmp_path / "victim").read_text() == "mine"


def test_without_locks_of_the_file_system_a_file_serves(tmp_path):
    held = WITHOUT_FLOCK + (
        "with claimed(place):\n"
        "    with locked(place / '.lock') as is_ours: assert not is_ours\n"
        "    assert (place / '.lock').exists()\n"
        "assert not list(place.glob('.*'))\n"
        "with locked(place / '.lock', wait=True) as is_ours: assert is_ours\n"
    )
    assert run(held, tmp_path).stderr == ""


def test_without_locks_of_the_file_system_a_killed_holder_holds_nothing(tmp_path):
    holder = WITHOUT_FLOCK + "with claimed(place):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    claim = WITHOUT_FLOCK + "with claimed(place): pass\n"
    assert "another run works in it" in run(claim, tmp_path, check=False).stderr
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    for _ in range(100):
        if not (told := run(claim, tmp_path, check=False).stderr):
            break
        time.sleep(0.1)
    assert told == ""
