"""Headers of .npy files that no array can have: one clear error, whoever reads them."""

import contextlib
import os
import re
import socket

import numpy as np
import pytest

from fieldlevel.cli import main
from fieldlevel.data.npy_files import read_header
from fieldlevel.data.suite import check_directory
from fieldlevel.errors import UserError

NAME = "Maps_Mtot_MockTNG_LH_z=0.00.npy"


def npy(header: bytes, version: tuple[int, int] = (1, 0), body: bytes = b"", length: int | None = None) -> bytes:
    size = len(header) if length is None else length
    return b"\x93NUMPY" + bytes(version) + size.to_bytes(2 if version == (1, 0) else 4, "little") + header + body


def described(shape: str = "(15, 16, 16)", descr: str = "'<f4'", order: str = "False") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()


HOSTILE = {
    "negative": npy(described("(-15, 16, 16)")),
    "boolean": npy(described("(True, 16, 16)")),
    "2^70": npy(described(f"({2**70}, 16, 16)")),
    "2^70 times nothing": npy(described(f"({2**70}, 0, 16)")),
    "product beyond 2^63": npy(described(f"({2**40}, {2**40}, 16)")),
    "no tuple": npy(described("15")),
    "list": npy(described("[15, 16, 16]")),
    "fraction": npy(described("(1.5, 16, 16)")),
    "text in shape": npy(described("('15', 16, 16)")),
    "many axes": npy(described(f"({'1, ' * 3000})")),
    "unhashable key": npy(b"{[]: 1}"),
    "set": npy(b"{1, 2}"),
    "list of all": npy(b"[1, 2]"),
    "keys missing": npy(b"{'descr': '<f4'}"),
    "keys too many": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}"),
    "keys of another kind": npy(b"{1: 2, 3: 4, 5: 6}"),
    "call": npy(b"{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': (1,)}"),
    "nested": npy(b"(" * 9000),
    "minus signs": npy(b"-" * 9000 + b"1"),
    "nothing": npy(b""),
    "blanks": npy(b" " * 64),
    "zero bytes": npy(b"\0" * 64),
    "not text": npy(b"\xff\xfe\x00" * 20),
    "not UTF-8": npy(b"\xff\xfe\x00" * 20, (3, 0)),
    "too long": npy(b" " * 20_000),
    "longer than the file": npy(described(), length=60_000),
    "4 GB long": npy(described(), (2, 0), length=2**32 - 1),
    "version 9": npy(described(), (9, 0)),
    "magic alone": b"\x93NUMPY",
    "no type": npy(described(descr="'<f3'")),
    "type of no letter": npy(described(descr="'<q9'")),
    "type of a number": npy(described(descr="4")),
    "type with a comma": npy(described(descr="'<f4,<f4'")),
    "records": npy(described(descr="[('a', '<f4')]")),
    "dates of no unit": npy(described(descr="'<M8[parsec]'")),
    "order of a number": npy(described(order="1")),
    "empty": b"",
    "ZIP": b"PK\x03\x04" + b"\0" * 60,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_damaged_headers_are_one_line_everywhere(write_suite, name, capsys):
    path = write_suite() / NAME
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ValueError, match=r"header|version|begin|numbers"):
        read_header(path)
    (defect,) = check_directory(path.parent)
    assert str(path) in defect and "not a .npy file" in defect and "\n" not in defect and len(defect) < 500
    assert main(["infer", "MockTNG", str(path), "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert str(path) in told and len(told.splitlines()) == 1 and len(told) < 500


BODIES = {
    "empty body": npy(described()),
    "no maps": npy(described("(0, 16, 16)")),
    "no pixels": npy(described("(15, 0, 0)")),
    "one number": npy(described("()"), body=bytes(4)),
    "promise of 2^50 bytes": npy(described(f"({2**40}, 16, 16)")),
    "bytes": npy(described(descr="'|S4'"), body=bytes(15 * 256 * 4)),
    "complex": npy(described(descr="'<c8'"), body=bytes(15 * 256 * 8)),
}


@pytest.mark.parametrize("name", BODIES)
def test_headers_that_promise_what_is_not_there_are_one_line_everywhere(write_suite, name, capsys):
    path = write_suite() / NAME
    path.write_bytes(BODIES[name])
    defects = check_directory(path.parent)
    assert defects and all("\n" not in defect for defect in defects)
    assert main(["infer", "MockTNG", str(path), "--device", "cpu"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("shape", ["(2, 3)", "(2L, 3L)", "(2, 3, )"])
def test_headers_of_every_version_are_read(tmp_path, version, shape):
    path = tmp_path / "maps.npy"
    path.write_bytes(npy(described(shape), version, bytes(24)))
    header = read_header(path)
    assert (header.shape, header.fortran_order, header.dtype) == ((2, 3), False, np.dtype("<f4"))
    assert header.offset + 24 == path.stat().st_size


@pytest.mark.parametrize("kind", ["<f4", ">f8", "|u1", "<i8", "|b1", "<c16", "<U3"])
def test_headers_that_numpy_writes_are_read(tmp_path, kind):
    array = np.zeros((3, 4), kind)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    header = read_header(tmp_path / "a.npy")
    assert (header.shape, header.fortran_order, header.dtype) == (array.shape, True, array.dtype)


def special(path, kind):
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "socket":
        with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    elif kind == "broken link":
        path.symlink_to("nowhere")
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(2**42)


@pytest.mark.parametrize("name", [NAME, "params_LH_MockTNG.txt"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop", "socket", "broken link", "sparse"])
def test_only_files_are_read(write_suite, name, kind):
    path = write_suite() / name
    special(path, kind)
    (defect,) = check_directory(path.parent)
    assert str(path) in defect and "; " in defect


def test_a_pipe_in_the_place_of_a_map_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "maps.npy")
    with pytest.raises(UserError, match="pipe or a device"):
        read_header(tmp_path / "maps.npy")


def test_a_hole_is_named_before_any_pixel_is_read(write_suite):
    path = write_suite() / NAME
    header = np.lib.format.header_data_from_array_1_0(np.zeros((0,), "<f4")) | {"shape": (2**31, 16, 16)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 2**31 * 1024)
    count, hole = check_directory(path.parent)
    assert "2147483648 maps" in count
    assert re.search(r"pixels that are zero in maps \d to 2147483647: never written", hole)
