"""What is installed without extras predicts; each extra brings what its work imports; a missing one is named."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fieldlevel.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PREDICTING = {"torch", "numpy", "safetensors", "pydantic"}
ABSENT = "import json, sys\nsys.modules.update(dict.fromkeys(json.loads(sys.argv.pop(1))))\n"
"""Makes modules as if they were not installed."""

PREDICT = """
import numpy as np
import fieldlevel
network, maps = fieldlevel.load("MockTNG", "cpu"), np.load(sys.argv[1])[:1]
mean, std = network.predict(maps)
samples = network.posterior(maps).sample(10)
print(mean.shape, std.shape, samples.shape)
"""

REFUSE = """
import fieldlevel
from fieldlevel.cli import main
codes = [main(words.split()) for words in sys.argv[1:]]
try:
    fieldlevel.tune
except fieldlevel.UserError as error:
    print(error)
print(codes)
"""

IMPORT = """
import importlib, os
import torch
for modules, absent in json.loads(sys.argv[1]):
    if os.fork() == 0:
        sys.modules.update(dict.fromkeys(absent))
        [importlib.import_module(module) for module in modules]
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0, modules
"""

WORK = {
    "simulate": ["fieldlevel.simulate.mock_suite"],
    "snapshots": [
        "fieldlevel.mapmaking.projection",
        "fieldlevel.numerics.neighbours_numba",
        "fieldlevel.numerics.discs_numba",
    ],
    "tune": ["fieldlevel.search.tune", "fieldlevel.search.published_trials"],
    "report": ["fieldlevel.figures", "fieldlevel.report.making"],
    "letter": ["fieldlevel.report.making", "fieldlevel.search.tune", "fieldlevel.simulate.mock_suite"],
}
"""What each extra is for."""


def direct(extra: str) -> set[str]:
    """Packages that an extra names itself, without those of extras in it."""
    found: set[str] = set()
    for each in map(Requirement, PROJECT["optional-dependencies"][extra]):
        found |= set().union(*map(direct, each.extras)) if each.name == "fieldlevel" else {each.name}
    return found


def base() -> set[str]:
    return {Requirement(each).name for each in PROJECT["dependencies"]}


def closure(names: Iterable[str]) -> set[str]:
    """These distributions and all that they require."""
    found: set[str] = set()
    waiting = list(map(canonicalize_name, names))
    while waiting:
        if (name := waiting.pop()) in found:
            continue
        found.add(name)
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        needed = [each for each in map(Requirement, required) if not each.marker or each.marker.evaluate({"extra": ""})]
        waiting += [canonicalize_name(each.name) for each in needed]
    return found


def absent_with(names: Iterable[str]) -> list[str]:
    """Modules that are installed here and would not be with these distributions alone."""
    there = closure(names) | {"fieldlevel"}
    owners = metadata.packages_distributions()
    return [module for module, whose in owners.items() if not there & set(map(canonicalize_name, whose))]


def run(code: str, absent: list[str], *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ABSENT + code, json.dumps(absent), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)


def test_a_prediction_needs_four_packages(tmp_path):
    absent = absent_with(PREDICTING)
    assert {"scipy", "numba", "h5py", "optuna", "matplotlib", "tyro", "rich"} <= set(absent)
    done = run(PREDICT, absent, str(ROOT / "examples" / "MockTNG.npy"), folder=tmp_path)
    assert done.stdout == "(1, 6) (1, 6) (10, 1, 6)\n", done.stderr


@pytest.fixture(scope="module")
def without_extras(tmp_path_factory) -> subprocess.CompletedProcess[str]:
    """Commands with what comes without extras."""
    folder = tmp_path_factory.mktemp("base")
    maps = ROOT / "examples" / "MockTNG.npy"
    commands = (
        f"infer MockTNG {maps} --out posterior.csv --device cpu",
        f"infer MockTNG {maps} --out other.csv --plot plot.pdf --device cpu",
        "simulate --out mock",
        "project snapshot.hdf5 --out cmd",
        "tune --data cmd",
        "letter",
        "robustness",
    )
    done = run(REFUSE, absent_with(base()), *commands, folder=folder)
    assert {each.name for each in folder.iterdir()} <= {"posterior.csv"}, done.stderr
    return done


def test_without_extras_maps_are_inferred_and_the_rest_ends_with_2(without_extras):
    assert without_extras.stdout.splitlines()[-1] == "[0, 2, 2, 2, 2, 2, 2]", without_extras.stderr
    assert "Traceback" not in without_extras.stderr


@pytest.mark.parametrize("extra", ["report", "simulate", "snapshots", "tune", "letter"])
def test_each_refusal_names_its_extra(without_extras, extra):
    told = " ".join(without_extras.stderr.split())
    assert f"is not installed; pip install 'fieldlevel[{extra}]', or pip install" in told


def test_a_public_name_that_needs_an_extra_says_so_in_a_line(without_extras):
    line = "optuna is not installed; pip install 'fieldlevel[tune]', or pip install optuna"
    assert line in without_extras.stdout.splitlines()


def test_each_extra_brings_what_its_work_imports(tmp_path):
    cases = [(modules, absent_with(base() | direct(extra))) for extra, modules in WORK.items()]
    done = run(IMPORT, [], json.dumps(cases), folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_packages_are_known_by_their_extras():
    for package, extra in EXTRAS.items():
        assert package in direct(extra)
    named = set().union(*(direct(extra) for extra in {*WORK, "hdf5", "flows", "getdist", "pandas", "sbi", "all"}))
    assert named == set(EXTRAS)
    assert direct("all") == named - {"sbi"}
