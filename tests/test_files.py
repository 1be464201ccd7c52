import pytest

from fieldlevel.files import write_text, written_aside


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
