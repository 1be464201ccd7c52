"""The examples of docs/posterior.md run, and its commands are ones."""

import re
from pathlib import Path

import pytest

from fieldlevel.cli import parse

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "posterior.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def run(block: str, names: dict[str, object]) -> None:
    exec(compile(block, "docs/posterior.md", "exec"), names)


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the examples leave, but that of LtU-ILI, which no package brings."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python"):
        if "from ili." not in block:
            run(block, names)
    return names


def test_python_examples_run(names, tmp_path):
    assert names["samples"].shape == (10_000, 3, 6)
    assert (tmp_path / "posterior.png").stat().st_size
    assert len(names["together"]) == 1
    assert names["features"].shape == (3, names["embedding"].n_features)


@pytest.mark.filterwarnings("ignore")
def test_example_of_ltu_ili_runs(names):
    pytest.importorskip("ili.validation")
    (block,) = (block for block in blocks("python") if "from ili." in block)
    run(block, names)
    assert len(names["figures"]) == 4
    assert names["grid"].axes.shape == (6, 6)


@pytest.mark.parametrize("line", [line for line in PAGE.splitlines() if line.startswith("fieldlevel ")])
def test_commands_parse(line):
    assert parse(line.split()[1:]).weights is not None
