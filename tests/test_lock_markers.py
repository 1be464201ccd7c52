"""Lock files of a file system without flock: those of dead holders are taken over, those of living ones never."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fieldlevel
from fieldlevel import lock_markers
from fieldlevel.lock_markers import Watch, beating, read_marker, take_away

# A process of another machine: filelock asks for the name of this one.
START = """
import errno, fcntl, os, pathlib, socket, sys, time
def flock(*_): raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = flock
host = sys.argv[2]
socket.gethostname = lambda: host
from fieldlevel import lock_markers, locks
lock_markers.SECONDS_BETWEEN_BEATS, lock_markers.SECONDS_WATCHED, lock_markers.SECONDS_TO_DEATH = 0.05, 1.0, 2.0
locks.SECONDS_BETWEEN_LOOKS = 0.1
path = pathlib.Path(sys.argv[1])
"""
HOLD = START + "with locks.locked(path):\n    print('held', flush=True)\n    sys.stdin.read()\n"
TRY = START + "with locks.locked(path) as is_ours: print(is_ours)\n"
WAIT = START + "with locks.locked(path, wait=True) as is_ours: print(is_ours)\n"
COUNT = (
    START
    + "counter = path.with_name('counter')\n"
    + "for _ in range(10):\n"
    + "    with locks.locked(path, wait=True):\n"
    + "        n = int(counter.read_text())\n"
    + "        time.sleep(0.002)\n"
    + "        counter.write_text(str(n + 1))\n"
)


def begin(code: str, path: Path, host: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(fieldlevel.__file__).parents[1])}
    command = [sys.executable, "-c", code, str(path), host]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(code: str, path: Path, host: str) -> str:
    with begin(code, path, host) as process:
        return process.communicate(timeout=60)[0].strip()


@pytest.fixture
def holder(tmp_path):
    """A process of another machine that holds a lock."""
    with begin(HOLD, tmp_path / ".lock", "elsewhere") as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_of_another_machine_is_taken_over_only_when_its_holder_is_dead(holder, tmp_path):
    path = tmp_path / ".lock"
    time.sleep(2.2)  # it is held for longer than a dead one would be
    assert told(TRY, path, "here") == "False"
    with begin(WAIT, path, "here") as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(3)
        os.kill(holder.pid, signal.SIGKILL)
        assert waiting.communicate(timeout=60)[0] == "True\n"
    assert list(tmp_path.iterdir()) == []


def test_who_does_not_wait_watches_an_old_lock_and_takes_it(holder, tmp_path):
    path = tmp_path / ".lock"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    time.sleep(2)
    assert told(TRY, path, "here") == "True"
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_is_wrong_takes_no_lock_from_a_living_holder(holder, tmp_path):
    path = tmp_path / ".lock"
    os.utime(path, (1, 1))
    assert told(TRY, path, "here") == "False"


def test_one_of_many_takes_over_at_a_time(tmp_path):
    path = tmp_path / ".lock"
    (tmp_path / "counter").write_text("0")
    path.write_text("7\nelsewhere\n")
    os.utime(path, (1, 1))
    processes = [begin(COUNT, path, f"host-{n}") for n in range(4)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 4
    assert (tmp_path / "counter").read_text() == "40"
    assert [each.name for each in tmp_path.iterdir()] == ["counter"]


@pytest.fixture
def brief(monkeypatch):
    """No sign of life is needed for long."""
    for name in ("SECONDS_BETWEEN_BEATS", "SECONDS_WATCHED", "SECONDS_TO_DEATH"):
        monkeypatch.setattr(lock_markers, name, 0.0)


def is_over(path: Path) -> bool:
    watch = Watch()
    watch.look(path)
    return watch.is_over


def test_a_running_process_of_this_machine_is_alive_however_long_it_is_silent(tmp_path, brief):
    path = tmp_path / ".lock"
    path.write_text(f"{os.getpid()}\n{socket.gethostname()}\n")
    os.utime(path, (1, 1))
    assert not is_over(path)


@pytest.mark.parametrize("host", ["elsewhere", f"{socket.gethostname()}?pidns-f000"])
def test_of_another_machine_or_container_the_beats_tell(tmp_path, brief, host):
    path = tmp_path / ".lock"
    path.write_text(f"{os.getpid()}\n{host}\n")
    os.utime(path, (1, 1))
    assert is_over(path)


@pytest.mark.parametrize("content", ["", "\n", "seven\nelsewhere\n", "7", "7\n", "7\n\n", "99999999999\nelsewhere\n"])
def test_what_names_no_holder_is_left_alone(tmp_path, brief, content):
    path = tmp_path / ".lock"
    path.write_text(content)
    assert read_marker(path) is None
    assert not is_over(path)
    with beating(path):
        pass
    assert path.read_text() == content


def test_another_lock_than_the_one_that_was_watched_is_not_taken_away(tmp_path):
    path = tmp_path / ".lock"
    path.write_text("7\nelsewhere\n")
    os.utime(path, (1, 1))
    seen = read_marker(path)
    os.utime(path)
    take_away(path, seen)
    assert read_marker(path) is not None
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]


def test_who_died_taking_a_lock_away_is_followed(tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    path.write_text("7\nelsewhere\n")
    seen = read_marker(path)
    begun = tmp_path / f".lock.{seen.place[1]}-{seen.touched}-0.taken"
    begun.touch()
    take_away(path, seen)
    assert path.exists()  # as somebody else is at it
    monkeypatch.setattr(lock_markers, "SECONDS_TO_DEATH", 5.0)
    os.utime(begun, (1, 1))
    take_away(path, seen)
    assert list(tmp_path.iterdir()) == []


def test_a_heart_beats_for_its_own_file_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_markers, "SECONDS_BETWEEN_BEATS", 0.01)
    path = tmp_path / ".lock"
    path.write_text("7\nelsewhere\n")
    with beating(path):
        os.utime(path, (1, 1))
        time.sleep(0.3)
        assert path.stat().st_mtime > 1
        path.rename(tmp_path / "aside")
        path.write_text("8\nelsewhere\n")
        time.sleep(0.05)
        os.utime(path, (1, 1))
        time.sleep(0.3)
        assert path.stat().st_mtime == 1
