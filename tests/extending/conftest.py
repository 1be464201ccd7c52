"""Toy suites in CMD format, and what docs/extending.md shows, as somebody outside of the package has it."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from toy import TOY, latin_hypercube, toy_maps

from fieldlevel import suites
from fieldlevel.cli import main
from fieldlevel.data import transform_spec
from fieldlevel.layout import Layout
from fieldlevel.study import experiments

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@dataclass(frozen=True)
class Page:
    """The blocks of the page.

    Attributes:
        files: by name, what Python and TOML blocks hold; their first line names them.
        layout: the file beside the maps of 28 parameters.
        commands: of the command line, as they stand there.
    """

    files: dict[str, str]
    layout: str
    commands: tuple[str, ...]


def read_page() -> Page:
    """Blocks between fences, by their language."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    named = [text for language, text in blocks if language in ("python", "toml")]
    files = {text.split("\n", 1)[0].removeprefix("# "): text for text in named}
    (layout,) = (text for language, text in blocks if language == "json")
    return Page(files, layout, tuple(text.strip() for language, text in blocks if language == "sh"))


@pytest.fixture(scope="session")
def page() -> Page:
    return read_page()


@pytest.fixture
def place(page, draft_figures, tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder with the files of the page, on the path of Python, in which commands are given; nothing stays.

    Letters draw each figure once.
    """
    for name, text in page.files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(suites, "_SUITES", dict(suites._SUITES))
    monkeypatch.setattr(transform_spec, "_REGISTERED", {})
    monkeypatch.setattr(experiments, "_REGISTERED", [])
    monkeypatch.setattr("fieldlevel.cli._cores", lambda: 1)
    with draft_figures():
        yield tmp_path
    for name in page.files:
        sys.modules.pop(name.removesuffix(".py"), None)


@pytest.fixture
def command(page, place, monkeypatch) -> Callable[..., int]:
    """Gives a command of the page, of toy size; some variables may stand in front of it."""

    def give(text: str, *more: str) -> int:
        assert text in page.commands
        words = shlex.split(text)
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            monkeypatch.setenv(name, value)
        given = [str(path) for word in words[1:] for path in (sorted(place.glob(word)) if "*" in word else [word])]
        return main([*given, *TOY[given[0]], *more])

    return give


@pytest.fixture
def write_suite(place) -> Callable[..., Path]:
    """Writer of a sound suite of some layout in the folder `cmd`; suites of one seed share their labels."""

    def write(suite: str, layout: Layout = Layout(), set_name: str = "LH", n: int = 10, seed: int = 0) -> Path:
        folder = place / "cmd"
        folder.mkdir(exist_ok=True)
        theta = latin_hypercube(layout, n, seed)
        maps = toy_maps(theta, layout, 16, seed=sum(map(ord, suite)))
        np.save(folder / f"Maps_Mtot_{suite}_{set_name}_z=0.00.npy", maps)
        np.savetxt(folder / f"params_{set_name}_{suite}.txt", theta, fmt="%.8g")
        return folder

    return write
