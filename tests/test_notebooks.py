"""The notebooks run from the first cell to the last, and are kept without outputs."""

import json
from pathlib import Path

import matplotlib as mpl
import pytest
from notebook_pages import notebook_page, read_notebook, run_notebook

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
N_FIGURES = {"infer-and-plot": 2, "own-snapshots": 1, "train-and-test": 1}


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == list(N_FIGURES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_becomes_a_page(path, monkeypatch):
    monkeypatch.setitem(mpl.rcParams, "backend", "agg")
    page, figures = notebook_page(path.stem, run_notebook(path))
    assert len(figures) == N_FIGURES[path.stem]
    assert all(figure.startswith(b"\x89PNG") and f"]({name})" in page for name, figure in figures.items())
    assert "```text\n" in page
    assert str(ROOT) not in page


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_kept_without_outputs(path):
    notebook = json.loads(path.read_text())
    assert notebook["nbformat"] == 4
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_begins_with_a_heading(path):
    assert read_notebook(path)[0].source.startswith("# ")


def test_a_cell_that_fails_is_told(tmp_path):
    cells = [{"cell_type": "code", "source": ["1 / 0"]}]
    (tmp_path / "wrong.ipynb").write_text(json.dumps({"cells": cells}))
    with pytest.raises(ZeroDivisionError):
        run_notebook(tmp_path / "wrong.ipynb")
