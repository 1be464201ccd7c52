import os

import pytest

from fieldlevel.study.store import Store


def test_all_bytes_are_on_the_disk_before_a_folder_gets_its_final_name(tmp_path, monkeypatch):
    """And the name itself before anybody is told of it."""
    told = []
    flush = os.fsync

    def watched(file: int) -> None:
        told.append((os.fstat(file).st_ino, (tmp_path / "run-0123").exists()))
        flush(file)

    def work(folder) -> None:
        (folder / "deep").mkdir()
        for path in (folder / "weights", folder / "deep" / "table"):
            path.write_text("much")

    monkeypatch.setattr(os, "fsync", watched)
    final = Store(tmp_path).ensure("run", "0123", work)
    inside = {path.stat().st_ino for path in (final, *final.rglob("*"))}
    assert len(inside) == 4
    assert {inode for inode, is_final in told if not is_final} == inside
    assert [inode for inode, is_final in told if is_final] == [tmp_path.stat().st_ino]


def test_disk_that_fails_leaves_the_run_unfinished(tmp_path, monkeypatch):
    def fail(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        Store(tmp_path).ensure("run", "0123", lambda folder: (folder / "weights").touch())
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [".run-0123.partial"]
