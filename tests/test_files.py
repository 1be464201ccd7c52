import subprocess
import sys

import pytest

from fieldlevel.errors import UserError
from fieldlevel.files import claimed, write_text, written_aside


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
    code = "import sys, pathlib, fieldlevel.files as files\nwith files.claimed(pathlib.Path(sys.argv[1])): pass"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with claimed(tmp_path):
        refused = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "another run works in it" in refused.stderr
    subprocess.run(command, check=True)


def test_a_file_cannot_be_claimed(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"), claimed(tmp_path / "file"):
        pass
