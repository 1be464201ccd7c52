"""Notebooks run without Jupyter, and made into pages of Markdown with what their cells show."""

import ast
import contextlib
import io
import json
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DPI = 110
"""Of figures on pages."""


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook.

    Attributes:
        is_code: or text in Markdown.
        source: as it stands there.
        said: what it printed, and its last value.
        figure: its last value as PNG, where that is a figure.
    """

    is_code: bool
    source: str
    said: str = ""
    figure: bytes | None = None


def read_notebook(path: Path) -> list[Cell]:
    """Cells of a notebook, not run."""
    cells = json.loads(path.read_text())["cells"]
    return [Cell(cell["cell_type"] == "code", "".join(cell["source"])) for cell in cells]


@contextlib.contextmanager
def beside_examples() -> Iterator[None]:
    """In an empty folder that has examples/ where notebooks/ has it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "examples").symlink_to(ROOT / "examples")
        (Path(folder) / "notebooks").mkdir()
        with contextlib.chdir(Path(folder) / "notebooks"):
            yield


def run_notebook(path: Path) -> list[Cell]:
    """Cells of a notebook after its run, from the first to the last, in a folder that is taken away."""
    names: dict[str, Any] = {"__name__": path.stem}
    with beside_examples():
        return [_run(cell, names) if cell.is_code else cell for cell in read_notebook(path)]


def _run(cell: Cell, names: dict[str, Any]) -> Cell:
    tree, value = ast.parse(cell.source), None
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(tree, str(names["__name__"]), "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), str(names["__name__"]), "eval"), names)
    if hasattr(value, "savefig"):
        return Cell(True, cell.source, _here(said.getvalue()), _drawn(value))
    return Cell(True, cell.source, _here(said.getvalue() + ("" if value is None else repr(value))))


def _here(text: str) -> str:
    """A text without the place of the repository."""
    return text.replace(f"{ROOT}/", "")


def _drawn(figure: Any) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    return picture.getvalue()


def notebook_page(name: str, cells: list[Cell]) -> tuple[str, dict[str, bytes]]:
    r"""A page of Markdown, and its figures by the names that it gives them.

    Example:
        >>> page, figures = notebook_page("sum", [Cell(False, "# Sum"), Cell(True, "1 + 1", "2")])
        >>> page.split("\n\n")[2:4]
        ['```python\n1 + 1\n```', '```text\n2\n```']
    """
    parts, figures = [], {}
    for number, cell in enumerate(cells):
        parts.append(f"```python\n{cell.source}\n```" if cell.is_code else cell.source)
        if cell.said:
            parts.append(f"```text\n{cell.said.rstrip()}\n```")
        if cell.figure is not None:
            figures[f"{name}-{number}.png"] = cell.figure
            parts.append(f"![What the cell draws]({name}-{number}.png)")
    return "\n\n".join([parts[0], f"*The notebook: [{name}.ipynb]({name}.ipynb).*", *parts[1:], ""]), figures
