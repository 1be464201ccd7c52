"""Headers of .npy files: of maps in a data folder, and of maps given to `infer`."""

import numpy as np
from artefacts import copy
from contract import cases
from hostile import byte_damage, damaged_bytes
from hypothesis import strategies as st

from fieldlevel.data.suite import check_directory, list_suites, open_suite

MAPS = "Maps_Mtot_MockTNG_LH_z=0.00.npy"

SHAPES = [
    "(120, 16, 16)",
    "(120, 16, 16",
    "()",
    "(120,)",
    "(120, 256)",
    "(0, 16, 16)",
    "(120, 0, 16)",
    "(120, 0, 0)",
    "(-1, 16, 16)",
    "(120, -16, -16)",
    "(True, 16, 16)",
    "(1, True, True)",
    "(120, 16, 16, 1)",
    "(15, 16, 16)",
    "(119, 16, 16)",
    "(1180591620717411303424, 16, 16)",
    "(1, 1180591620717411303424, 16)",
    "(4294967296, 4294967296, 4294967296)",
    "(9223372036854775807, 16, 16)",
    "(2**70, 16, 16)",
    "(120.0, 16, 16)",
    "('a', 16, 16)",
    "[120, 16, 16]",
    "{}",
    "None",
    "120",
    "(120, 16, 17)",
    "(480, 8, 8)",
    "(30, 32, 32)",
    "(1, 30720, 1)",
    "(1,)*40",
    "(" + "1, " * 40 + ")",
    "(" + "1, " * 70 + ")",
    "(120, 16, 16j)",
    "(120, 16, None)",
    "((120,), 16, 16)",
    "(9" + "0" * 4500 + ", 16, 16)",
    "(0x78, 16, 16)",
    "(1_20, 16, 16)",
    "(120L, 16L, 16L)",
    "(-0, 16, 16)",
    "(120, 16, 16, 0)",
    "(-120, -16, 16)",
]
DTYPES = [
    "'<f4'",
    "'>f4'",
    "'<f8'",
    "'<f2'",
    "'<i4'",
    "'|b1'",
    "'|O'",
    "'|S4'",
    "'<U1'",
    "'<c8'",
    "'|V4'",
    "'<M8[ns]'",
    "'<m8'",
    "'f'",
    "'<f16'",
    "''",
    "'x'",
    "None",
    "4",
    "[('a', '<f4')]",
    "[('a', '<f2'), ('b', '<f2')]",
    "[]",
    "[('a', '|O')]",
    "'<f4,<f4'",
    "{'names': ['a'], 'formats': ['<f4']}",
    "('<f4', (2,))",
    "[('a', [('b', '<f4')])]",
    "'<f4' * 1000",
    "'|V0'",
    "'|S0'",
    "'(16,16)f4'",
    "[(1, 2)]",
    "[('a', '<f4', -1)]",
    "[('a', '<f4', (2**40,))]",
    "'|u1'",
    "'<u4'",
    "'=f4'",
    "'float32'",
    "'<f4\\0'",
]
ORDERS = ["False", "True", "None", "1", "'x'", "[]", "2**70"]
TEXTS = [
    "",
    " ",
    "{",
    "{}",
    "{[]:1}",
    "[]",
    "None",
    "1",
    "'x'",
    "{'descr': '<f4'}",
    "{'descr': '<f4', 'fortran_order': False}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (120, 16, 16), 'more': 1}",
    "{**{}}",
    "{'descr'",
    "(",
    "((((((((((",
    "[" * 2000,
    "(" * 9000,
    "{'a':" * 100,
    "-" * 9000 + "1",
    "'" * 3 + "x",
    "x" * 9000,
    "\0" * 100,
    "\n" * 50,
    "__import__('os').abort()",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (120, 16, 16), }" + " " * 60000,
    "{1: 2, 'descr': 3, None: 4}",
    "# only a comment",
    "é",
    "{'descr': '<f4', 'shape': (120, 16, 16), 'fortran_order': lambda: 0}",
    "1e999",
    "{'descr': '<f4', 'descr': '<f8'}",
    "f'{1}'",
    "\\",
    "'''",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (120, 16, 16)}\n  indent",
    "{{}}",
    "{{1: 2}: 3}",
    "{()}",
    "9" * 5000,
]
VERSIONS = [(1, 0), (2, 0), (3, 0), (0, 0), (1, 1), (4, 0), (255, 255)]
LENGTHS = [None, 0, 1, 5, 65535, 2**31, 2**32 - 1, -1]
BODIES = ["whole", "none", "cut", "byte", "double"]

literals = st.builds(
    "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}".format,
    st.sampled_from(DTYPES),
    st.sampled_from(ORDERS),
    st.sampled_from(SHAPES),
)
one_wrong = st.one_of(
    st.sampled_from(SHAPES).map("{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}".format),
    st.sampled_from(DTYPES).map("{{'descr': {}, 'fortran_order': False, 'shape': (120, 16, 16), }}".format),
    st.sampled_from(ORDERS).map("{{'descr': '<f4', 'fortran_order': {}, 'shape': (120, 16, 16), }}".format),
)
headers = st.tuples(
    st.one_of(one_wrong, one_wrong, literals, st.sampled_from(TEXTS)),
    st.sampled_from([(1, 0), (1, 0), (1, 0), *VERSIONS]),
    st.sampled_from([None, None, None, *LENGTHS]),
    st.sampled_from(["whole", "whole", *BODIES]),
)
targets = st.sampled_from(["check", "check_directory", "open_suite", "infer", "infer", "evaluate", "train"])


SOUND = "{'descr': '<f4', 'fortran_order': False, 'shape': (120, 16, 16), }"
FAILED = [
    ("{{}}", (1, 0), None, "cut"),
    (SOUND, (2, 0), -1, "byte"),
    (SOUND, (1, 0), -1, "whole"),
    (SOUND.replace("False", "lambda: 0"), (1, 0), None, "whole"),
    (SOUND.replace("False", "2**70"), (1, 0), None, "whole"),
    (SOUND.replace("120, 16", "1, 1180591620717411303424"), (1, 0), None, "cut"),
    (SOUND.replace("120, 16, 16", "120L, 16L, 16L"), (1, 0), None, "whole"),
    (SOUND.replace("120", "9" * 4500), (1, 0), None, "whole"),
]


def npy(text: str, version: tuple[int, int], length: int | None, body: bytes, part: str) -> bytes:
    """An .npy file with any header."""
    header = text.encode("utf-8", errors="surrogatepass")
    size = len(header) if length is None else length % 2**32
    n_bytes = 2 if version[0] <= 1 else 4
    told = (size % 2 ** (8 * n_bytes)).to_bytes(n_bytes, "little")
    bodies = {"whole": body, "none": b"", "cut": body[:-5], "byte": b"\0", "double": body * 2}
    return b"\x93NUMPY" + bytes(version) + told + header + bodies[part]


def try_maps(bench, valid, kind: str, content: bytes, target: str, drawn: object) -> None:
    """Put a map file in its place and use it."""
    with bench.case(kind, (drawn, target)) as case:
        data = copy(valid.data, case.folder / "data")
        path = data / MAPS
        path.write_bytes(content)
        if target == "check":
            case.command("check", data, names=[MAPS])
        elif target == "check_directory":
            case.check(data)
            case.library(lambda: list_suites(data), MAPS)
        elif target == "open_suite":
            case.library(lambda: open_suite(data, "MockTNG", check=False).fingerprint, MAPS)
        elif target == "infer":
            case.command("infer", valid.weights, path, "--out", case.out / "x.csv", names=[MAPS])
        elif target == "evaluate":
            command = ("evaluate", valid.weights, "--data", data, "--suite", "MockTNG", "--out", case.out)
            case.command(*command, names=[MAPS])
        else:
            case.command(
                "train", "--data", data, "--n-steps", 1, "--out", case.out, names=[MAPS, "split", "simulations"]
            )


@cases(
    24,
    500,
    header=headers,
    target=targets,
    seeds=[{"header": header, "target": target} for header in FAILED for target in ("check_directory", "infer")],
)
def test_headers(bench, valid, header, target):
    text, version, length, part = header
    body = (valid.data / MAPS).read_bytes()[128:]
    try_maps(bench, valid, "npy headers", npy(text, version, length, body, part), target, header)


@cases(12, 250, damage=byte_damage, in_header=st.booleans(), target=targets)
def test_bytes(bench, valid, damage, in_header, target):
    content = (valid.data / MAPS).read_bytes()
    how, where, junk = damage
    damage = (how, where * 140 / len(content), junk) if in_header else damage
    try_maps(bench, valid, "npy bytes", damaged_bytes(content, damage), target, damage)


def test_what_is_damaged_was_sound(valid):
    assert check_directory(valid.data) == []
    assert np.load(valid.data / MAPS).shape == (120, 16, 16)
