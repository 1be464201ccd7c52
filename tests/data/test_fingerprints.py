"""The fingerprint of the data covers every pixel, is read once, and is never remembered of a file that changed."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.data import digests, soundness
from fieldlevel.data.npy_files import read_header
from fieldlevel.data.pixels import survey_pixels
from fieldlevel.data.suite import check_suite, is_old_fingerprint, open_suite

MAPS = "Maps_Mtot_MockTNG_LH_z=0.00.npy"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder in which every file is worth a record, and a process that remembers nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "_LARGE", 0)
    forget(monkeypatch)
    return tmp_path / "cache"


def forget(monkeypatch) -> None:
    monkeypatch.setattr(digests, "_known", {})
    monkeypatch.setattr(soundness, "_surveys", {})
    monkeypatch.setattr(soundness, "_verdicts", {})


@pytest.fixture
def reads(monkeypatch) -> list[Path]:
    paths, survey = [], soundness.survey_pixels
    monkeypatch.setattr(soundness, "survey_pixels", lambda path, *rest: paths.append(path) or survey(path, *rest))
    return paths


def fingerprint(directory: Path) -> str:
    return open_suite(directory, "MockTNG", check=False).fingerprint


@pytest.mark.parametrize("number", [0, 1, 62, 118, 119])
@pytest.mark.parametrize("restore", [True, False])
def test_one_pixel_of_any_map_counts_even_with_its_old_time(write_suite, cache, number, restore):
    path = write_suite() / MAPS
    before, times = fingerprint(path.parent), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    maps = np.lib.format.open_memmap(path, mode="r+")
    maps[number, 7, 9] *= np.float32(1.001)
    maps.flush()
    del maps
    if restore:
        os.utime(path, ns=times)
    assert fingerprint(path.parent) != before


def test_a_copy_and_another_header_have_the_same_fingerprint(write_suite, tmp_path):
    directory = write_suite()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "params_LH_MockTNG.txt").write_bytes((directory / "params_LH_MockTNG.txt").read_bytes())
    with (copy / MAPS).open("wb") as file:
        maps = np.load(directory / MAPS)
        np.lib.format.write_array_header_2_0(file, np.lib.format.header_data_from_array_1_0(maps))
        file.write(maps.tobytes())
    assert fingerprint(copy) == fingerprint(directory)


def test_checking_and_fingerprint_read_a_file_once(write_suite, cache, reads, monkeypatch):
    directory = write_suite()
    suite = open_suite(directory, "MockTNG")
    first = suite.fingerprint
    assert check_suite(suite.files) == []
    assert len(reads) == 1
    forget(monkeypatch)  # as a later process
    assert fingerprint(directory) == first
    assert len(reads) == 1
    assert check_suite(suite.files) == []
    assert len(reads) == 2


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"digest": "x"}', '{"stamp": [1], "digest": 5}', "[" * 9999, "\x00"]
)
def test_records_that_are_damaged_are_not_believed(write_suite, cache, reads, monkeypatch, content):
    directory = write_suite()
    first = fingerprint(directory)
    (record,) = cache.rglob("*.json")
    record.write_text(content)
    forget(monkeypatch)
    assert fingerprint(directory) == first
    assert len(reads) == 2


def test_a_record_of_another_state_of_the_file_is_not_believed(write_suite, cache, reads, monkeypatch):
    directory = write_suite()
    first = fingerprint(directory)
    (record,) = cache.rglob("*.json")
    known = json.loads(record.read_text())
    record.write_text(json.dumps(known | {"digest": "0" * 64, "stamp": [*known["stamp"][:-1], 0]}))
    forget(monkeypatch)
    assert fingerprint(directory) == first


@pytest.mark.parametrize("where", ["/dev/null", "/proc/none", "/dev/full/x", "relative", "file"])
def test_without_a_cache_folder_files_are_read_again(write_suite, cache, reads, monkeypatch, tmp_path, where):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", where if where != "file" else str(tmp_path / "file"))
    directory = write_suite()
    first = fingerprint(directory)
    forget(monkeypatch)
    assert fingerprint(directory) == first
    assert len(reads) == 2
    assert not (tmp_path / "relative").exists()


def test_nothing_is_written_beside_the_data(write_suite, cache):
    directory = write_suite()
    names = sorted(path.name for path in directory.iterdir())
    directory.chmod(stat.S_IRUSR | stat.S_IXUSR)
    fingerprint(directory)
    directory.chmod(stat.S_IRWXU)
    assert sorted(path.name for path in directory.iterdir() if path.name != "cache") == names


def test_the_fingerprint_tells_of_its_progress(write_suite, cache):
    events = []
    suite = open_suite(write_suite(), "MockTNG", check=False)
    suite.digest_maps(events.append)
    assert (events[-1].done, events[-1].total) == (120, 120)
    assert len(suite.fingerprint) == 32
    assert not is_old_fingerprint(suite.fingerprint)
    assert is_old_fingerprint("0123456789abcdef")


def test_digests_do_not_depend_on_blocks_or_threads(write_suite, monkeypatch):
    path = write_suite() / MAPS
    whole = survey_pixels(path, read_header(path))
    monkeypatch.setattr("fieldlevel.data.npy_files._BLOCK_BYTES", 7 * 1024)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    parts = survey_pixels(path, read_header(path))
    assert parts.digest == whole.digest
    np.testing.assert_array_equal(parts.digests, whole.digests)
    np.testing.assert_array_equal(parts.mean, whole.mean)
