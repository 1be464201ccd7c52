"""Closed, full and broken streams, encodings, names with anything in them."""

import io
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import fieldlevel
from fieldlevel import console, streams
from fieldlevel.cli import main
from fieldlevel.errors import UserError, printable

SOURCE = str(Path(fieldlevel.__file__).parents[1])


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A folder that `check` calls unsound; its name has a byte of no encoding, a symbol and a code for terminals."""
    folder = os.fsencode(tmp_path_factory.mktemp("data")) + b"/na\xffme\x1b[31m\xcf\x83"
    Path(os.fsdecode(folder)).mkdir()
    return os.fsdecode(folder)


def shell(line: str, folder: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash, in which F is the command and D a folder."""
    environment = os.environ | {"PYTHONPATH": SOURCE, "D": folder} | environment
    script = f'set -o pipefail; F="{sys.executable} -m fieldlevel"; {line}'
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ('$F check "$D" >&-', 2, b""),
        ('$F check "$D" >&- 2>&- <&-', 2, b""),
        ("$F check /nonexistent 2>&-", 2, b""),
        ("$F check /nonexistent 2>/dev/full", 2, b""),
        ("$F nonsense 2>/dev/full", 2, b""),
        ("$F nonsense >&- 2>&-", 2, b""),
        ("$F --help >&-", 0, b""),
        ("$F --help >/dev/full", 1, b"fieldlevel: standard output: No space left on device"),
        ('$F check "$D" >/dev/full', 1, b"fieldlevel: standard output: No space left on device"),
        ('$F check "$D" >/dev/full 2>/dev/full', 1, b""),
        ("$F --help | true", 0, b""),
        ("$F simulate --help | head -1", 0, b""),
        ('$F check "$D" | true', 2, b""),
        ("$F nonsense 2>&1 | true", 2, b""),
    ],
)
def test_streams_do_not_stand_in_the_way(line, code, told, empty):
    ran = shell(line, empty)
    assert (ran.returncode, ran.stderr.count(b"\n")) == (code, 1 if told else 0)
    assert ran.stderr.startswith(told)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "utf-8:strict"},
        {"PYTHONIOENCODING": "cp037"},
    ],
)
def test_any_encoding_takes_any_name(environment, empty):
    ran = shell('$F check "$D"; $F train --data d --config "$D" >&2; $F --help', empty, **environment)
    assert ran.returncode == 0
    assert b"Traceback" not in ran.stderr
    if environment.get("PYTHONIOENCODING") != "cp037":
        assert rb"na\xffme\x1b[31m" in ran.stdout
        assert rb"na\xffme\x1b[31m" in ran.stderr
        assert b"\x1b" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_tables_are_spelled_where_symbols_are_lacking(encoding, monkeypatch, tmp_path):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors="fieldlevel.spelled"))
    scores = {"Omega_m": {key: {"value": 0.5, "error": 0.1} for key in console._MEASURES}}
    console.print_scores("σ\udcff\x1b[2J[red]", scores, tmp_path / "x\ny")
    sys.stdout.flush()
    printed = raw.getvalue().decode(encoding)
    assert r"\xff\x1b[2J[red]" in printed
    assert "\x1b" not in printed
    assert r"x\ny" in printed
    expected = {"ascii": "+- 10.0%", "latin-1": "± 10.0%", "utf-8": "± 10.0%"}
    assert expected[encoding] in printed
    assert ("mean sigma/mu" in printed) == (encoding != "utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\nb\tc\x00", r"a\nb\tc\x00"),
        ("\x1b[2J\x07\x9b", r"\x1b[2J\x07\x9b"),
        ("\u202egpj.exe\u200b", r"\u202egpj.exe\u200b"),
        ("caf\u00e9 σ", "café σ"),
        ("\udcff\udc80", r"\xff\x80"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_cannot_be_seen_is_escaped(text, shown):
    assert printable(text) == shown


def test_a_warning_is_one_line(monkeypatch, capsys):
    def warn(*_):
        warnings.warn("of\nmany\nlines", RuntimeWarning, stacklevel=1)
        raise UserError("after that")

    monkeypatch.setattr("fieldlevel.inference.map_files.infer_file", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["infer", "MockTNG", "maps.npy"]) == 2
    assert capsys.readouterr().err == "fieldlevel: warning: of many lines\nfieldlevel: after that\n"
    assert warnings.showwarning is not streams.show_warning


@pytest.mark.parametrize("errno", [28, 122, 27, 30, 13, 24])
def test_an_error_of_the_system_names_what_was_done_and_the_way_out(errno, monkeypatch, tmp_path, capsys):
    def fail(*_):
        raise OSError(errno, os.strerror(errno))

    monkeypatch.setattr("fieldlevel.inference.map_files.infer_file", fail)
    np.save(tmp_path / "maps.npy", np.ones((1, 16, 16)))
    assert main(["infer", "MockTNG", str(tmp_path / "maps.npy")]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"fieldlevel: infer: {os.strerror(errno)}; ")
    assert told.count("\n") == 1


def test_the_version_is_told():
    assert shell("$F --version").stdout == f"fieldlevel {fieldlevel.__version__}\n".encode()


def test_a_limit_on_the_size_of_files_names_the_file(tmp_path):
    ran = shell('ulimit -f 0; $F shrink MockTNG "$D/small.safetensors"', str(tmp_path))
    assert ran.returncode == 1
    told = ran.stderr.decode()
    assert re.match(
        rf"fieldlevel: {tmp_path}/small\.(calibration\.json|safetensors): File too large; raise the limit", told
    )
    assert ran.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["simulate", "--n-simulations", "1"], ["project", "x"], ["shrink", "MockTNG"]])
def test_a_zero_byte_in_a_name_is_refused(command, capsys):
    place = ["a\0b"] if command[0] == "shrink" else ["--out", "a\0b"]
    assert main([*command, *place]) == 2
    told = capsys.readouterr().err
    assert (told.count("\n"), "\0" in told) == (1, False)


def test_a_shard_of_five_thousand_digits_is_refused(capsys):
    assert main(["simulate", "--shard", f"1/{'9' * 5000}"]) == 2
    assert capsys.readouterr().err.startswith("fieldlevel: shard '1/999")
