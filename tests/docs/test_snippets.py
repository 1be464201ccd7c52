"""Commands and Python of the pages: all are ones of the package, and those of the guides run, at toy size."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import tyro

from fieldlevel.cli import main, parse

ROOT = Path(__file__).parents[2]
SHELL = ("", "sh", "bash", "text")
GUIDES = ("quick-start", "cmd-data", "snapshots", "trust", "python")
"""Pages whose blocks are run from the first to the last."""
LONG = ("letter",)
"""Commands that other tests run."""


def test_commands_were_found(pages):
    found = {command.split()[1] for page in pages for command in page.commands(*SHELL)}
    assert {"check", "evaluate", "infer", "letter", "project", "robustness", "simulate", "train", "tune"} <= found


def test_commands_parse(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    if page.path.name == "extending.md":
        pytest.skip("tests/extending gives them, with the files that they name")
    for command in page.commands(*SHELL):
        words = shlex.split(re.sub(r"\$\w+/\$\w+", "1/8", re.sub(r'"\$\w+"', "3", command)))
        if "..." not in words and "COMMAND" not in words:
            assert parse(words[1:]) is not tyro.MISSING


def give(command: str, toy: dict[str, str]) -> None:
    words = [*shlex.split(command)[1:], *shlex.split(toy.get(command.split()[1], ""))]
    if words[0] not in LONG:
        assert main(words) == 0, command


@pytest.mark.parametrize("name", GUIDES)
def test_guide_runs(name, pages, place, toy):
    (page,) = (page for page in pages if page.path == Path("docs") / f"{name}.md")
    names: dict[str, object] = {"maps": np.load(ROOT / "examples" / "MockTNG.npy"), "numbers": [0, 1, 2]}
    if name == "trust":
        (place / "network").mkdir()
        packaged = ROOT / "src" / "fieldlevel" / "trained" / "MockTNG.safetensors"
        shutil.copy(packaged, place / "network" / "weights.safetensors")
    for language, block in page.blocks:
        if language == "python":
            exec(compile(block, str(page.path), "exec"), names)
        elif language == "sh":
            for line in block.splitlines():
                give(line, toy)
