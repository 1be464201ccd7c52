"""The notebooks run from the first cell to the last, and are kept without outputs."""

import json
from pathlib import Path

import matplotlib as mpl
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def beside_examples(tmp_path, monkeypatch) -> Path:
    """A folder in the place of notebooks/."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


def cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["infer-and-plot", "own-snapshots", "train-and-test"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_runs(path, beside_examples, monkeypatch):
    monkeypatch.setitem(mpl.rcParams, "backend", "agg")
    names: dict[str, object] = {"__name__": "notebook"}
    for number, cell in enumerate(cells(path, "code")):
        exec(compile("".join(cell["source"]), f"{path.stem}, code cell {number}", "exec"), names)
    assert names["predictor"].predict is not None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_kept_without_outputs(path):
    assert json.loads(path.read_text())["nbformat"] == 4
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(path, "code"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_begins_with_a_heading(path):
    assert "".join(cells(path, "markdown")[0]["source"]).startswith("# ")
