"""Networks and penalties of somebody's own."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def bring_own_parts(tmp_path, monkeypatch) -> Iterator[Callable[[str], Path]]:
    """Puts a copy of `own_parts` under a name on the path of Python, for a test."""
    names = []

    def bring(name: str) -> Path:
        path = tmp_path / "path" / f"{name}.py"
        path.parent.mkdir()
        path.write_text((Path(__file__).parent / "own_parts.py").read_text())
        monkeypatch.syspath_prepend(path.parent)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of a module that is changed within a second
        names.append(name)
        return path

    yield bring
    for name in names:
        sys.modules.pop(name, None)
