"""Files that are complete or absent, and what one process works in at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fieldlevel.errors import UserError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error it takes the final name at once.

    Args:
        path: the final name; a file of that name is replaced.

    Yields:
        The path to write to, hidden and of the same ending.

    Raises:
        OSError: with the name of the file, e.g. where the disk is full; a file that stood there is as it was.
    """
    aside = _beside(path)
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        aside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".part.{path.name}")


def write_text(path: Path, text: str) -> None:
    """Write a text file aside and rename it."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a binary file aside and rename it."""
    with written_aside(path) as aside:
        aside.write_bytes(content)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        UserError: it is a file, or may not be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{folder}: is a file, or in one; name a folder with --out") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); name another folder with --out") from None


def make_place_for(path: Path, *inputs: Path) -> None:
    """Make the folder of a file that is about to be written, and see that the file can be.

    Args:
        path: the file; one of that name is left as it is until it is replaced.
        inputs: files that are read for it.

    Raises:
        UserError: it is a folder, a device or one of the inputs, its folder is a file, or it may not be written.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is a device or a pipe, which a file would replace; name another file")
    if path.exists() and any(path.samefile(each) for each in inputs):
        raise UserError(f"{path}: is the file to read itself; give the new one another name")
    make_folder(path.parent)
    try:
        _beside(path).touch()
        _beside(path).unlink()
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another file") from None


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a lock against other processes; it ends with its process, however that dies.

    Args:
        path: an empty file that exists while the lock is held.
        wait: until another process that holds the lock lets go.

    Yields:
        Whether the lock was got; always with `wait`.
    """
    file = _acquire(path, wait)
    try:
        yield file is not None
    finally:
        if file is not None:
            if _is_open_as(file, path):
                path.unlink()
            os.close(file)


def _acquire(path: Path, wait: bool) -> int | None:
    """Descriptor of the locked file; one that its last holder took away while we waited is no lock."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        if _is_open_as(file, path):
            return file
        os.close(file)


def _is_open_as(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes that claim the same folder out of it; a claim ends with its process, however that dies.

    Args:
        folder: made if need be; one that was made and stayed empty, as the work was refused, is taken away again.

    Raises:
        UserError: another process works in it, or it is a file.
    """
    is_new = not folder.exists()
    make_folder(folder)
    try:
        with locked(folder / ".lock") as is_ours:
            if not is_ours:
                raise UserError(f"{folder}: another run works in it; wait for it, or name another folder")
            yield
    finally:
        if is_new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
