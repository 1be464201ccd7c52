"""Files that are complete or absent: written under another name in the same folder, renamed when done."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error it takes the final name at once.

    Args:
        path: the final name; a file of that name is replaced.

    Yields:
        The path to write to, hidden and of the same ending.
    """
    aside = path.with_name(f".part.{path.name}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file aside and rename it."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
