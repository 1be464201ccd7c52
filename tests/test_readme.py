import re
from pathlib import Path

import pytest
import tyro

from fieldlevel.cli import parse
from fieldlevel.commands import Train
from fieldlevel.training.settings import check_train_spec

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    fenced = [part.partition("\n") for part in README.read_text().split("```")[1::2]]
    return [text for found, _, text in fenced if found == language]


def test_python_examples_run(tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(README.parent / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, str(README), "exec"), names)
    assert names["samples"].shape == (1000, 3, 6)


LINES = [line for block in blocks("") for line in block.splitlines() if "fieldlevel " in line]
COMMANDS = [line.split("#")[0].partition("fieldlevel ")[2].split() for line in LINES]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_parse(arguments):
    assert parse(arguments) is not tyro.MISSING


def test_trainings_can_be_done():
    trainings = [each for each in map(parse, COMMANDS) if isinstance(each, Train)]
    assert trainings
    for training in trainings:
        split = check_train_spec(training.spec).split.divide(1000)
        assert min(map(len, split[:3])) >= 50


def test_the_commands_were_found():
    of_files = {"check", "letter", "robustness", "train", "evaluate", "project"}
    assert {arguments[0] for arguments in COMMANDS} == {"infer", "demo"} | of_files


def test_it_is_short():
    assert len(README.read_text().split()) <= 900


def test_figures_exist():
    for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README.read_text()):
        assert (README.parent / target).exists()
