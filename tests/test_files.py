import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fieldlevel import files
from fieldlevel.errors import UserError
from fieldlevel.files import (
    check_regular,
    make_folder,
    make_place_for,
    open_own,
    read_bytes,
    read_text,
    write_bytes,
    write_text,
    written_aside,
)


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "table.csv"
    with written_aside(path) as aside:
        aside.write_text("rows")
        assert not path.exists()
        assert aside.suffix == path.suffix
    assert path.read_text() == "rows"


def test_an_error_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), written_aside(path) as aside:
        aside.write_text("half of the ne")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "plan.json", []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((os.fstat(file).st_ino, path.exists())))
    write_text(path, "{}")
    assert synced == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_two_writers_of_one_file_do_not_share_a_temporary_one(tmp_path):
    path, n_failed = tmp_path / "table.csv", []

    def write(letter: bytes) -> None:
        for _ in range(50):
            try:
                write_bytes(path, letter * 10_000)
            except OSError as error:
                n_failed.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert n_failed == []
    assert len(set(path.read_bytes())) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_taken_away_and_what_a_living_one_writes_stays(tmp_path):
    code = (
        "import os, sys, pathlib, fieldlevel.files as files\n"
        "with files.written_aside(pathlib.Path(sys.argv[1])): os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.txt")], check=False)
    assert len(list(tmp_path.glob(".part.*"))) == 1
    with written_aside(tmp_path / "b.txt") as living:
        assert list(tmp_path.glob(".part.*")) == [living]
        write_text(tmp_path / "c.txt", "")
        assert living.exists()


def test_names_of_others_are_not_taken_for_abandoned_files(tmp_path):
    for name in (".part.weights.safetensors", ".part.0123456-1-ab.x", "part.txt", ".part.-"):
        (tmp_path / name).touch()
    write_text(tmp_path / "a.txt", "")
    assert len(list(tmp_path.iterdir())) == 5


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "out.json"
    victim.write_text("mine")
    path.symlink_to(victim)
    write_text(path, "ours")
    assert (victim.read_text(), path.read_text(), path.is_symlink()) == ("mine", "ours", False)


def test_a_file_named_by_a_user_is_written_where_its_link_leads(tmp_path):
    target, path = tmp_path / "target.csv", tmp_path / "link.csv"
    path.symlink_to(target)
    assert make_place_for(path) == target
    target.write_text("old")
    assert make_place_for(path) == target
    assert target.read_text() == "old"


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/null", "/dev/full", "/dev/fd/1", "/proc/self/fd/1", "/dev/new"])
def test_devices_are_left_alone(tmp_path, place):
    before = Path(place).lstat() if os.path.lexists(place) else None
    link = tmp_path / "link"
    link.symlink_to(place)
    for path in (Path(place), link):
        with pytest.raises(UserError, match=r"devices|device or a pipe"):
            make_place_for(path)
    with pytest.raises(UserError):
        write_text(Path(place), "text")
    with pytest.raises(UserError, match=r"devices|is a file"):
        make_folder(Path(place) / "out")
    assert before is None or Path(place).lstat().st_mode == before.st_mode


def test_shared_memory_is_a_place_for_files():
    folder = Path("/dev/shm")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        pytest.skip("no shared memory here")
    path = folder / f"fieldlevel-{os.getpid()}"
    write_text(path, "text")
    path.unlink()


def test_a_pipe_is_neither_replaced_nor_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for refused in (write_text, lambda path, _: make_place_for(path)):
        with pytest.raises(UserError, match="device or a pipe"):
            refused(pipe, "text")
    for read in (read_bytes, read_text, check_regular):
        with pytest.raises(UserError, match="pipe or a device"):
            read(pipe)


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing", "cannot be read"), (".", "is a folder"), ("a\0b", "cannot be read"), ("loop", "cannot be read")],
)
def test_what_cannot_be_read_is_told_in_one_line(tmp_path, name, words):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match=words) as refused:
        read_text(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_files_that_are_too_large_or_no_text_are_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="larger than 99 bytes"):
        read_bytes(path, most=99)
    assert len(read_bytes(path, most=100)) == 100
    with pytest.raises(UserError, match="not a file of text"):
        read_text(path)


def test_a_sparse_file_of_terabytes_is_refused_at_once(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(2**42)
    with pytest.raises(UserError, match="larger than"):
        read_text(path, most=2**20)


def test_a_link_is_not_opened_as_our_own(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match="is a link"):
        open_own(tmp_path / "link", os.O_WRONLY | os.O_TRUNC)
    assert (tmp_path / "victim").read_text() == "mine"


def test_the_file_to_read_is_not_the_one_to_write(tmp_path):
    path = tmp_path / "maps.npy"
    path.touch()
    (tmp_path / "link.npy").symlink_to(path)
    for name in ("maps.npy", "link.npy"):
        with pytest.raises(UserError, match="is the file to read itself"):
            make_place_for(tmp_path / name, path)


def test_long_names_have_room_for_temporary_ones(tmp_path):
    path = tmp_path / ("x" * 250 + ".csv")
    write_text(path, "rows")
    assert path.read_text() == "rows"


def test_errors_of_the_operating_system_bear_a_name(tmp_path):
    path = tmp_path / "table.csv"
    with pytest.raises(OSError, match=r"table\.csv"), written_aside(path):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_sync_of_folders_is_good_enough(tmp_path, monkeypatch):
    sync = os.fsync

    def only_files(file: int) -> None:
        if Path(f"/proc/self/fd/{file}").resolve().is_dir():
            raise OSError(22, "Invalid argument")
        sync(file)

    monkeypatch.setattr(files.os, "fsync", only_files)
    write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"


@pytest.mark.parametrize("refused", [make_place_for, lambda path: write_text(path, "text")])
def test_names_that_are_too_long_are_refused(tmp_path, refused):
    with pytest.raises(UserError, match="too long"):
        refused(tmp_path / f"{'a' * 300}.csv")
    refused(tmp_path / f"{'a' * 250}.csv")


@pytest.mark.parametrize("refused", [make_folder, make_place_for, lambda path: write_text(path, "text")])
@pytest.mark.parametrize("name", ["a\0b", "a\0b/c"])
def test_names_that_no_file_can_have_are_refused(tmp_path, refused, name):
    with pytest.raises(UserError, match="no name that a file can have"):
        refused(tmp_path / name)
