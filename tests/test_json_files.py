import os

import pytest

from fieldlevel.errors import UserError
from fieldlevel.json_files import holds_keys, read_json, read_json_object, write_json


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = {"name": "σ", "numbers": [1, 2.5, None]}
    write_json(tmp_path / "record.json", record)
    assert read_json(tmp_path / "record.json") == record
    assert holds_keys(tmp_path / "record.json", "name", "numbers")
    assert not holds_keys(tmp_path / "record.json", "other")
    assert not holds_keys(tmp_path / "missing.json", "name")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\0" * 100, b"\xff\xfe", b"[" * 200_000, b'{"a":' * 200_000, b"9" * 10_000, b"nil", b'{"a": 1} 2'],
)
def test_damaged_records_are_told_in_one_line(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"record\.json.*take it away") as refused:
        read_json(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400 + len(str(path))
    assert not holds_keys(path, "a")


@pytest.mark.parametrize("content", ["[]", "1", '"text"', "null", "NaN"])
def test_a_record_must_be_an_object(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(UserError, match="not an object"):
        read_json_object(path)


def test_a_pipe_is_no_record(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe"):
        read_json(tmp_path / "pipe")
