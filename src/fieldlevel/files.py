"""Files that are complete or absent, and folders that one process works in at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fieldlevel.errors import UserError


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


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes that claim the same folder out of it; a claim ends with its process, however that dies.

    Args:
        folder: made if need be.

    Raises:
        UserError: another process works in it, or it is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(f"{folder}: is a file; name a folder with --out") from None
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another run works in it; wait for it, or name another folder") from None
        yield
