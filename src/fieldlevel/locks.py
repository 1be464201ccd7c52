"""What one process works in at a time: locks that end with their process, and folders claimed by one run."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fieldlevel.errors import UserError
from fieldlevel.files import make_folder
from fieldlevel.lock_markers import Watch, beating, take_away

if TYPE_CHECKING:
    from filelock import BaseFileLock

SECONDS_BETWEEN_TRIES = 0.02
"""While a lock is waited for."""
SECONDS_BETWEEN_LOOKS = 1.0
"""At who holds it."""


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a lock against other processes; it ends with its process, however that dies.

    Where a file system has no locks (Lustre mounted without them), a file with the number of the process serves. That
    of a dead process is taken over: of this machine at once, of another one when there was no sign of life for ten
    minutes (`lock_markers`).

    Args:
        path: a file that exists while the lock is held.
        wait: until another process that holds the lock lets go.

    Yields:
        Whether the lock was got; always with `wait`.

    Raises:
        UserError: the file cannot be made there.
    """
    from filelock import FileLock  # noqa: PLC0415 (keeps `--help` fast)

    lock = FileLock(path, poll_interval=SECONDS_BETWEEN_TRIES)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "flock not supported")
            is_ours = _acquire(lock, path, wait=wait)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be written ({error.strerror}); name another folder") from None
    if not is_ours:
        yield False
        return
    held = _identity(path)
    try:
        with beating(path):
            yield True
    finally:
        if held is not None and held == _identity(path):
            path.unlink()
        lock.release()


def _acquire(lock: "BaseFileLock", path: Path, *, wait: bool) -> bool:
    """Get a lock, that of a dead holder too; whether it was got."""
    from filelock import Timeout  # noqa: PLC0415 (keeps `--help` fast)

    watch = Watch()
    while True:
        try:
            lock.acquire(timeout=SECONDS_BETWEEN_LOOKS if wait or watch.is_suspicious else 0)
        except Timeout:
            watch.look(path)
        else:
            return True
        if watch.is_over and watch.marker is not None:
            take_away(path, watch.marker)
        elif not wait and (watch.is_vain or not watch.is_suspicious):
            return False


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a lock file; None of one that is not there, or that the library takes away itself."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return None if status.st_size else (status.st_dev, status.st_ino)


@contextmanager
def claimed(folder: Path, ours: Mapping[str, Callable[[Path], bool]] | None = None) -> Iterator[None]:
    """Keep other processes that claim the same folder out of it; a claim ends with its process, however that dies.

    Args:
        folder: made if need be; one that was made and stayed empty, as the work was refused, is taken away again.
        ours: by name of a file that will be replaced, whether one that is there is of the same kind; others stay.

    Raises:
        UserError: another process works in it, it is a file, it may not be written, or it holds a file of somebody
            else's.
    """
    is_new = not folder.exists()
    make_folder(folder)
    try:
        with locked(folder / ".lock") as is_ours:
            if not is_ours:
                raise UserError(f"{folder}: another run works in it; wait for it, or name another folder")
            refuse_foreign(folder, ours or {})
            yield
    finally:
        if is_new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def refuse_foreign(folder: Path, ours: Mapping[str, Callable[[Path], bool]]) -> None:
    """Refuse to replace files that were not written by the same kind of work.

    Args:
        folder: that holds them.
        ours: by name of a file, whether one that is there may be replaced.

    Raises:
        UserError: with the file.
    """
    for name, is_ours in ours.items():
        path = folder / name
        if os.path.lexists(path) and not (path.is_file() and is_ours(path)):
            raise UserError(f"{path}: is there already and was not written by this command; name another folder")
