"""Every field of every spec with extreme values, from the command line and from Python.

What a setting allows begins to work, and is then interrupted: a case shows that it begins, or is refused.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from artefacts import FLAGS, LETTER_FLAGS, PROJECT, PROJECT_FLAGS, SIMULATE_FLAGS, TRAIN, TUNE, copy, one_core
from contract import cases
from hypothesis import strategies as st

from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.mapmaking.projection import project_snapshots
from fieldlevel.progress import Progress
from fieldlevel.search.tune import tune
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.study.letter_data import prepare_data
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.trainer import train

NUMBERS = [
    0,
    1,
    2,
    3,
    7,
    15,
    16,
    17,
    1000,
    65536,
    2**31 - 1,
    2**31,
    2**32,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
    -1,
    -(2**63),
    -(10**30),
    0.0,
    -0.0,
    0.5,
    1.0,
    1.5,
    0.999999,
    1e-300,
    5e-324,
    1e-9,
    1e9,
    1e20,
    1e300,
    float("nan"),
    float("inf"),
    float("-inf"),
]
TEXTS = [
    "",
    " ",
    "x",
    "LH",
    "CV",
    "1P",
    "EX",
    "mine",
    "Mtot",
    "Mgas",
    "Mstar",
    "HI",
    "B",
    "MockTNG",
    "MockSIMBA",
    "Nbody_MockTNG",
    "IllustrisTNG",
    "../x",
    "/etc/passwd",
    "/dev/zero",
    "a/b",
    "a b",
    "\n",
    "\x1b[31m",
    "=cmd",
    "<b>x</b>",
    "[red]x",
    "é",
    "日本",
    "A" * 300,
    "B" * 5000,
    "none",
    "None",
    "true",
    "1,2",
    "auto",
    "float32",
    "smoothing",
    "k_max",
    "mean map",
    "power spectrum",
    "-",
    "--",
    "%d",
    "{}",
    "\\",
    "'",
    "*",
    "?",
    "~",
    "$HOME",
    ".",
    "..",
    "\udcff",
]
PYTHON: list[Any] = [
    None,
    True,
    False,
    b"x",
    [],
    {},
    (),
    [1],
    ["x"],
    ("Mtot", "Mtot"),
    ("Mgas",),
    {"a": 1},
    1j,
    object,
    Ellipsis,
    Decimal("1"),
    Fraction(1, 2),
    Path("x"),
    range(2),
    "1",
    "0.5",
    np.int64(1),
    np.int64(16),
    np.float64(0.5),
    np.float32(0.5),
    np.array(1),
    np.array([1]),
    np.bool_(True),
    np.str_("LH"),
    lambda: 0,
    SimulateSpec(),
    TRAIN,
    "\0",
    (1.0,),
    (float("nan"),),
    (-1.0,),
    (1e-9,),
    (2.0, 2.0),
]
DIRECT = {
    "simulate": SimulateSpec(n_simulations=1, n_particles=8, n_mesh=8, n_pixels=16, n_neighbours=4, step_error=1.0),
    "project": PROJECT,
    "train": TRAIN,
    "tune": TUNE,
    "letter": LetterSpec(
        smoothing=(1.0,),
        k_max=(1.0,),
        only=("mean map",),
        summary_trials=0,
        train=TRAIN,
        suites=("MockTNG", "MockSIMBA"),
    ),
}
KINDS = {"simulate": SimulateSpec, "project": ProjectSpec, "train": TrainSpec, "tune": TuneSpec, "letter": LetterSpec}


def names_of(kind: type, prefix: str = "") -> list[str]:
    """Dotted names of the settings of a spec, without those that hold others."""
    found = []
    for each in dataclasses.fields(kind):
        default = each.default if each.default is not dataclasses.MISSING else each.default_factory()
        if dataclasses.is_dataclass(default):
            found += names_of(type(default), f"{prefix}{each.name}.")
        else:
            found.append(prefix + each.name)
    return found


SETTINGS = {name: names_of(kind) for name, kind in KINDS.items()}


def with_value(spec: Any, name: str, value: Any) -> Any:
    first, _, rest = name.partition(".")
    return dataclasses.replace(spec, **{first: with_value(getattr(spec, first), rest, value) if rest else value})


def flag(command: str, name: str) -> str:
    """The option of a setting, as the command line spells it."""
    parts = name.removeprefix("train.") if command == "tune" else name
    special = {"set_name": "set", "seed": "search-seed"} if (command, name) == ("tune", "seed") else {"set_name": "set"}
    *groups, last = parts.split(".")
    return "--" + ".".join([*(group.replace("_", "-") for group in groups), special.get(last, last).replace("_", "-")])


class _Begun:
    """A listener that interrupts the work once it has begun."""

    def __init__(self) -> None:
        self.heard = 0

    def __call__(self, event: Progress) -> None:
        self.heard += 1
        if event.unit in ("steps", "simulations") or self.heard > 3:
            raise KeyboardInterrupt


@contextmanager
def _interrupted_display() -> Iterator[_Begun]:
    yield _Begun()


commands = st.sampled_from(sorted(KINDS))
cases_of_settings = commands.flatmap(
    lambda command: st.tuples(
        st.just(command),
        st.sampled_from(SETTINGS[command]),
        st.one_of(st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.sampled_from([1, 0.5, 16])),
    )
)
cases_in_python = commands.flatmap(
    lambda command: st.tuples(
        st.just(command),
        st.sampled_from(SETTINGS[command]),
        st.one_of(
            *(
                st.sampled_from(range(len(values))).map(lambda n, values=values: (id(values), n))
                for values in (NUMBERS, TEXTS, PYTHON)
            )
        ),
    )
)


@cases(24, 700, case=cases_of_settings)
def test_command_line(bench, valid, case):
    command, name, value = case
    with bench.case("settings, command line", case) as here, pytest.MonkeyPatch.context() as patch:
        patch.setattr("fieldlevel.console.progress_display", _interrupted_display)
        given = (flag(command, name), value) if value != "" else (f"{flag(command, name)}=",)
        words = {
            *name.split("."),
            flag(command, name).rpartition(".")[2].lstrip("-"),
            "memory",
            "interrupted",
            "simulations",
            str(value)[:20],
        }
        with one_core():
            here.command(*arguments(command, valid, here), *given, names=[*words, *related(name)], may_interrupt=True)


def related(name: str) -> list[str]:
    """Other settings that the same refusal may tell of."""
    groups = {
        "n_pixels": ["k_max", "maps"],
        "suite": ["Maps_", "suite"],
        "field": ["Maps_", "logarithm"],
        "set_name": ["Maps_", "set"],
        "n_steps": ["squared_error_steps"],
        "squared_error_steps": ["n_steps"],
        "other_seeds": ["seeds"],
        "seeds": ["seeds"],
        "suites": ["suites", "Maps_"],
        "fields": ["no particles", "field"],
        "slab_thickness_mpc_h": ["slabs"],
        "n_slabs": ["slabs"],
        "length_unit": ["snapshot"],
        "parameters": ["set ", "cannot be read"],
        "transform": ["transform"],
        "kind": ["transform", "scale"],
        "scale": ["transform", "kind"],
        "inputs": ["inputs", "head_batches"],
    }
    return ["--", *groups.get(name.rpartition(".")[2], [])]


def arguments(command: str, valid: Any, case: Any) -> list[object]:
    """A command that works as it stands."""
    if command == "simulate":
        return ["simulate", "--out", case.out, "--n-simulations", 1, *SIMULATE_FLAGS]
    if command == "project":
        return ["project", copy(valid.snapshot, case.folder / "snapshot_090.hdf5"), "--out", case.out, *PROJECT_FLAGS]
    if command == "letter":
        return ["letter", "--data", valid.data, "--out", case.out, *LETTER_FLAGS]
    more = ("--n-trials", 2, "--n-kept", 1) if command == "tune" else ()
    return [command, "--data", valid.data, "--out", case.out, *FLAGS, *more]


@cases(24, 700, case=cases_in_python)
def test_python(bench, valid, case):
    command, name, (which, number) = case
    value = next(values for values in (NUMBERS, TEXTS, PYTHON) if id(values) == which)[number]
    with bench.case("settings, Python", (command, name, value)) as here:
        words = [*name.split("."), "memory", *related(name), *([shown] if (shown := str(value)[:20]) else [])]
        here.library(lambda: _begin(command, with_value(DIRECT[command], name, value), valid, here), *words)


def _begin(command: str, spec: Any, valid: Any, case: Any) -> None:
    listener = _Begun()
    try:
        if command == "simulate":
            simulate_suite(spec, case.out, "cpu", listener=listener)
        elif command == "project":
            project_snapshots([valid.snapshot], spec, case.out, "cpu", listener=listener)
        elif command == "letter":
            prepare_data(spec, valid.data, case.out, "cpu", listener=listener)
        elif command == "train":
            train(spec, valid.data, case.out, "cpu", listener)
        else:
            tune(spec, valid.data, case.out, "cpu", listener)
    except KeyboardInterrupt:
        assert listener.heard


OTHER = [
    "--device",
    "--workers",
    "--shard",
    "--scale",
    "--preset",
    "--out",
    "--data",
    "--config",
    "--simulations",
    "--keep-snapshots",
    "--only",
    "--suites",
    "--fields",
    "--no-such",
    "--train",
    "--help",
    "--version",
    "-h",
    "-x",
    "--",
    "train",
    "infer",
    "",
]


@cases(
    16,
    300,
    command=st.sampled_from([*sorted(KINDS), "check", "evaluate", "infer", "shrink", "import", "nothing", ""]),
    words=st.lists(
        st.one_of(st.sampled_from(OTHER), st.sampled_from(TEXTS), st.sampled_from(NUMBERS).map(str)), max_size=4
    ),
)
def test_usage(bench, valid, command, words):
    """Words in any order: nothing runs, as no data folder is sound there."""
    with bench.case("usage", (command, words)) as here, pytest.MonkeyPatch.context() as patch:
        patch.chdir(here.folder)
        patch.setattr("fieldlevel.console.progress_display", _interrupted_display)
        for name in ("simulate", "letter"):
            patch.setattr(f"fieldlevel.cli._{name}", _nothing)
        here.out = here.folder
        with one_core():
            here.command(command, *words, may_interrupt=True)


def _nothing(_command: object) -> int:
    raise KeyboardInterrupt
